//! The calendar: business days of a time zone, ISO weeks and months.
//!
//! A day is a number: days since 1970-01-01. A business day begins at midnight of the business time zone, or at the
//! first moment after it where clocks skip midnight. Weeks begin on Monday.
use std::ops::RangeInclusive;

use hashbrown::HashMap;
use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};

const DAY_SECONDS: i64 = 86_400;
/// Days whose bounds are kept: those of the events in flight, a week of late ones included.
const KEPT_BOUNDS: usize = 32;
/// Days whose text is kept: those on which the devices of the present events were new.
const KEPT_TEXTS: usize = 4096;
const EPOCH: Date = Date::constant(1970, 1, 1);
/// From 0000-03-01 to 1970-01-01. Years that begin in March end with the leap day.
const DAYS_TO_EPOCH: i64 = 719_468;
/// 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;

/// A business day and its bounds in seconds since 1970, the end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusinessDay {
    /// Days since 1970-01-01.
    pub day: i32,
    /// Its first second.
    pub start: i64,
    /// The first second of the next day.
    pub end: i64,
}

/// The business days of one time zone. Every event needs the bounds of its day, so those of the latest days are kept
/// and the time zone is consulted once per day.
#[derive(Debug, Clone)]
pub struct BusinessDays {
    zone: TimeZone,
    bounds: Vec<BusinessDay>,
    texts: HashMap<i32, Box<str>>,
}

impl BusinessDays {
    /// The business days of a time zone by its IANA name.
    ///
    /// # Errors
    /// There is no time zone of this name.
    pub fn new(zone: &str) -> Result<Self, jiff::Error> {
        Ok(Self::in_zone(TimeZone::get(zone)?))
    }

    /// The business days of a time zone.
    pub fn in_zone(zone: TimeZone) -> Self {
        Self { zone, bounds: Vec::with_capacity(KEPT_BOUNDS), texts: HashMap::new() }
    }

    /// The business day of a moment in seconds since 1970.
    #[inline]
    pub fn of_second(&mut self, seconds: i64) -> BusinessDay {
        match self.bounds.first() {
            Some(day) if day.start <= seconds && seconds < day.end => *day,
            _ => self.look_up(seconds),
        }
    }

    /// The number of the business day of a moment in milliseconds since 1970.
    #[inline]
    pub fn day(&mut self, ms: i64) -> i32 {
        self.of_second(ms.div_euclid(1000)).day
    }

    /// A day as `2026-03-02`.
    pub fn text(&mut self, day: i32) -> &str {
        if self.texts.len() >= KEPT_TEXTS && !self.texts.contains_key(&day) {
            self.texts.clear();
        }
        self.texts.entry(day).or_insert_with(|| date_of(day).to_string().into_boxed_str())
    }

    /// Moves the day of the moment to the front: most events are of one day.
    fn look_up(&mut self, seconds: i64) -> BusinessDay {
        let is_in = |day: &BusinessDay| day.start <= seconds && seconds < day.end;
        let index = self.bounds.iter().position(is_in).unwrap_or_else(|| {
            if self.bounds.len() >= KEPT_BOUNDS {
                self.bounds.clear();
            }
            self.bounds.push(self.compute(seconds));
            self.bounds.len() - 1
        });
        self.bounds.swap(0, index);
        self.bounds[0]
    }

    fn compute(&self, seconds: i64) -> BusinessDay {
        self.in_calendar(seconds).unwrap_or_else(|_| {
            // Outside the years that the calendar covers there are no events, but every number needs a day.
            let day = seconds.div_euclid(DAY_SECONDS);
            let start = day.saturating_mul(DAY_SECONDS);
            BusinessDay { day: clamped(day), start, end: start.saturating_add(DAY_SECONDS) }
        })
    }

    fn in_calendar(&self, seconds: i64) -> Result<BusinessDay, jiff::Error> {
        let date = Timestamp::from_second(seconds)?.to_zoned(self.zone.clone()).date();
        let start =
            |date: Date| Ok::<_, jiff::Error>(date.to_zoned(self.zone.clone())?.timestamp().as_second());
        Ok(BusinessDay { day: day_of(date), start: start(date)?, end: start(date.tomorrow()?)? })
    }
}

/// The number of a date.
pub fn day_of(date: Date) -> i32 {
    EPOCH.until(date).map_or(0, |span| span.get_days())
}

/// The date of a day; the first or last date of the calendar for a day outside it.
pub fn date_of(day: i32) -> Date {
    let span = Span::new().try_days(day);
    let date = span.and_then(|span| EPOCH.checked_add(span));
    date.unwrap_or(if day < 0 { Date::MIN } else { Date::MAX })
}

/// The ISO week of a day: its Monday to its Sunday.
pub fn week_of(day: i32) -> RangeInclusive<i32> {
    // Day 0 is a Thursday.
    let monday = day.saturating_sub(day.saturating_add(3).rem_euclid(7));
    monday..=monday.saturating_add(6)
}

/// The calendar month of a day: its first to its last day. Pure arithmetic, because every row of the lane `events` and
/// every active device needs it (after Howard Hinnant's `civil_from_days`).
pub fn month_of(day: i32) -> RangeInclusive<i32> {
    let of_era = (i64::from(day) + DAYS_TO_EPOCH).rem_euclid(ERA_DAYS);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // 0 is March, 11 is February.
    let month = (5 * of_year + 2) / 153;
    let first = (153 * month + 2) / 5;
    let length = match month {
        11 => {
            let year = year + 1;
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            if is_leap { 29 } else { 28 }
        }
        month => (153 * (month + 1) + 2) / 5 - first,
    };
    let first = i64::from(day) - (of_year - first);
    clamped(first)..=clamped(first + length - 1)
}

fn clamped(day: i64) -> i32 {
    day.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday_and_months_have_their_own_length() {
        for (day, monday, sunday, first, last) in [
            (0, "1969-12-29", "1970-01-04", "1970-01-01", "1970-01-31"),
            (20_513, "2026-02-23", "2026-03-01", "2026-03-01", "2026-03-31"),
            (20_514, "2026-03-02", "2026-03-08", "2026-03-01", "2026-03-31"),
            (20_512, "2026-02-23", "2026-03-01", "2026-02-01", "2026-02-28"),
            (19_782, "2024-02-26", "2024-03-03", "2024-02-01", "2024-02-29"),
            (-1, "1969-12-29", "1970-01-04", "1969-12-01", "1969-12-31"),
        ] {
            let (week, month) = (week_of(day), month_of(day));
            let found = [week.start(), week.end(), month.start(), month.end()];
            let found = found.map(|&day| date_of(day).to_string());
            assert_eq!(found, [monday, sunday, first, last], "{}", date_of(day));
        }
        for day in [i32::MIN, i32::MAX] {
            assert!(week_of(day).contains(&day) && month_of(day).contains(&day));
        }
    }

    #[test]
    fn months_are_those_of_the_gregorian_calendar() {
        // From 1833 to 2242, the leap-year exceptions 1900, 2000, 2100 and 2200 included.
        for day in -50_000..100_000 {
            let date = date_of(day);
            let expected = day_of(date.first_of_month())..=day_of(date.last_of_month());
            assert_eq!(month_of(day), expected, "{date}");
        }
    }

    #[test]
    fn a_day_and_its_date_correspond() {
        for (day, text) in [(0, "1970-01-01"), (20_514, "2026-03-02"), (-1, "1969-12-31")] {
            assert_eq!((date_of(day).to_string().as_str(), day_of(date_of(day))), (text, day));
        }
        assert_eq!((date_of(i32::MIN), date_of(i32::MAX)), (Date::MIN, Date::MAX));
    }

    fn second(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn a_business_day_begins_at_midnight_of_its_zone_also_where_clocks_change() {
        for (zone, moment, start, date) in [
            ("Asia/Shanghai", "2026-03-01T15:59:59Z", "2026-02-28T16:00:00Z", "2026-03-01"),
            ("Asia/Shanghai", "2026-03-01T16:00:00Z", "2026-03-01T16:00:00Z", "2026-03-02"),
            ("Asia/Shanghai", "1969-12-31T16:00:00Z", "1969-12-31T16:00:00Z", "1970-01-01"),
            ("Asia/Shanghai", "1969-12-31T15:59:59Z", "1969-12-30T16:00:00Z", "1969-12-31"),
            ("Asia/Kolkata", "2026-03-01T18:29:59Z", "2026-02-28T18:30:00Z", "2026-03-01"),
            ("Asia/Kolkata", "2026-03-01T18:30:00Z", "2026-03-01T18:30:00Z", "2026-03-02"),
            // 23 hours on 29 March, 25 on 25 October.
            ("Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29"),
            ("Europe/Berlin", "2026-03-29T21:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29"),
            ("Europe/Berlin", "2026-03-29T22:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30"),
            ("Europe/Berlin", "2026-10-25T22:59:59Z", "2026-10-24T22:00:00Z", "2026-10-25"),
            ("Europe/Berlin", "2026-10-25T23:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26"),
            // The day begins at 01:00, because midnight is skipped.
            ("Africa/Cairo", "2026-04-24T12:00:00Z", "2026-04-23T22:00:00Z", "2026-04-24"),
            // Midnight comes twice; the first one counts.
            ("America/Havana", "2026-11-01T04:30:00Z", "2026-11-01T04:00:00Z", "2026-11-01"),
            ("America/Havana", "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z", "2026-11-01"),
            ("UTC", "2026-03-01T23:59:59Z", "2026-03-01T00:00:00Z", "2026-03-01"),
        ] {
            let mut days = BusinessDays::new(zone).unwrap();
            for _ in 0..2 {
                let found = days.of_second(second(moment));
                let text = days.text(found.day).to_owned();
                assert_eq!((found.start, text.as_str()), (second(start), date), "{moment} in {zone}");
            }
        }
    }

    #[test]
    fn a_millisecond_belongs_to_the_day_of_its_second() {
        let mut days = BusinessDays::new("Asia/Shanghai").unwrap();
        let midnight = second("2026-03-01T16:00:00Z") * 1000;
        assert_eq!([midnight - 1, midnight].map(|ms| days.day(ms)), [20_513, 20_514]);
        assert_eq!([-1, 0].map(|ms| BusinessDays::new("UTC").unwrap().day(ms)), [-1, 0]);
    }

    #[test]
    fn every_number_has_a_day_and_memory_stays_bounded() {
        let mut days = BusinessDays::new("Asia/Shanghai").unwrap();
        for moment in [i64::MIN, i64::MAX, 0] {
            let day = days.day(moment);
            assert!(!days.text(day).is_empty());
        }
        for day in 0..10_000 {
            assert_eq!(days.day(i64::from(day) * DAY_SECONDS * 1000), day);
            days.text(day);
        }
        assert!(days.bounds.len() <= KEPT_BOUNDS && days.texts.len() <= KEPT_TEXTS);
    }
}
