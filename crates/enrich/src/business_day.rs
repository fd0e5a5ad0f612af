//! Business days: the day, week and month of the business time zone that a moment is in.
//!
//! A day is a number of days since 1970-01-01. Every event needs its day, so the bounds of a day are looked up in the time
//! zone once and then kept.
use hashbrown::HashMap;
use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};
use std::ops::RangeInclusive;

const DAY_MS: i64 = 86_400_000;
/// Most days whose bounds are kept: the current days and a week of late events.
const KEPT_BOUNDS: usize = 32;
/// Most days whose text is kept: the first days of the devices that send events.
const KEPT_TEXTS: usize = 4096;
const EPOCH: Date = Date::constant(1970, 1, 1);

/// The calendar of one time zone, with the days that were used last.
#[derive(Debug, Clone)]
pub struct BusinessDays {
    zone: TimeZone,
    bounds: Vec<Bounds>,
    texts: HashMap<i32, Box<str>>,
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    start_ms: i64,
    end_ms: i64,
    day: i32,
}

impl BusinessDays {
    /// The calendar of a time zone by its IANA name.
    ///
    /// # Errors
    /// There is no time zone of this name.
    pub fn new(zone: &str) -> Result<Self, jiff::Error> {
        Ok(Self { zone: TimeZone::get(zone)?, bounds: Vec::new(), texts: HashMap::new() })
    }

    /// The day of a moment in epoch milliseconds.
    pub fn day(&mut self, ms: i64) -> i32 {
        let holds = |bounds: &Bounds| bounds.start_ms <= ms && ms < bounds.end_ms;
        match self.bounds.iter().position(holds) {
            Some(0) => self.bounds[0].day,
            Some(place) => {
                // Most events are of one day, so that day comes first.
                self.bounds.swap(0, place);
                self.bounds[0].day
            }
            None => {
                let found = self.find(ms);
                if self.bounds.len() >= KEPT_BOUNDS {
                    self.bounds.clear();
                }
                self.bounds.push(found);
                found.day
            }
        }
    }

    /// The day as `2026-03-02`.
    pub fn text(&mut self, day: i32) -> &str {
        if self.texts.len() >= KEPT_TEXTS && !self.texts.contains_key(&day) {
            self.texts.clear();
        }
        self.texts.entry(day).or_insert_with(|| date_of(day).to_string().into_boxed_str())
    }

    fn find(&self, ms: i64) -> Bounds {
        self.find_in_zone(ms).unwrap_or_else(|_| {
            // Beyond the years of the calendar: no event is there, but every number needs a day.
            let day = ms.div_euclid(DAY_MS);
            let start_ms = day.saturating_mul(DAY_MS);
            let day = day.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
            Bounds { start_ms, end_ms: start_ms.saturating_add(DAY_MS), day }
        })
    }

    fn find_in_zone(&self, ms: i64) -> Result<Bounds, jiff::Error> {
        let date = Timestamp::from_millisecond(ms)?.to_zoned(self.zone.clone()).date();
        let start =
            |date: Date| Ok::<_, jiff::Error>(date.to_zoned(self.zone.clone())?.timestamp().as_millisecond());
        let day = EPOCH.until(date)?.get_days();
        Ok(Bounds { start_ms: start(date)?, end_ms: start(date.tomorrow()?)?, day })
    }
}

/// The ISO week of a day: its Monday to its Sunday.
pub(crate) fn week_of(day: i32) -> RangeInclusive<i32> {
    // Day 0 was a Thursday.
    let monday = day.saturating_sub(day.saturating_add(3).rem_euclid(7));
    monday..=monday.saturating_add(6)
}

/// The calendar month of a day: its first to its last day.
pub(crate) fn month_of(day: i32) -> RangeInclusive<i32> {
    let date = date_of(day);
    let first = day.saturating_sub(i32::from(date.day()) - 1);
    first..=first.saturating_add(i32::from(date.days_in_month()) - 1)
}

fn date_of(day: i32) -> Date {
    let span = Span::new().try_days(day);
    let date = span.and_then(|span| EPOCH.checked_add(span));
    date.unwrap_or(if day < 0 { Date::MIN } else { Date::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday_and_months_differ_in_length() {
        let mut days = BusinessDays::new("UTC").unwrap();
        let mut text = |day: i32| days.text(day).to_owned();
        for (day, monday, sunday, first, last) in [
            (0, "1969-12-29", "1970-01-04", "1970-01-01", "1970-01-31"),
            (20_513, "2026-02-23", "2026-03-01", "2026-03-01", "2026-03-31"),
            (20_514, "2026-03-02", "2026-03-08", "2026-03-01", "2026-03-31"),
            (20_512, "2026-02-23", "2026-03-01", "2026-02-01", "2026-02-28"),
            (19_782, "2024-02-26", "2024-03-03", "2024-02-01", "2024-02-29"),
            (-1, "1969-12-29", "1970-01-04", "1969-12-01", "1969-12-31"),
        ] {
            let (week, month) = (week_of(day), month_of(day));
            let found = [*week.start(), *week.end(), *month.start(), *month.end()].map(&mut text);
            assert_eq!(found, [monday, sunday, first, last], "{}", text(day));
        }
        for day in [i32::MIN, i32::MAX] {
            assert!(week_of(day).contains(&day) && month_of(day).contains(&day));
        }
    }

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn a_day_begins_at_midnight_of_the_business_time_zone() {
        let mut days = BusinessDays::new("Asia/Shanghai").unwrap();
        for (moment, expected) in [
            ("2026-03-01T15:59:59.999Z", "2026-03-01"),
            ("2026-03-01T16:00:00Z", "2026-03-02"),
            ("2026-03-02T15:59:59.999Z", "2026-03-02"),
            ("1969-12-31T16:00:00Z", "1970-01-01"),
            ("1969-12-31T15:59:59Z", "1969-12-31"),
        ] {
            let day = days.day(ms(moment));
            assert_eq!(days.text(day), expected, "{moment}");
        }
        assert_eq!(days.day(ms("1969-12-31T16:00:00Z")), 0);
    }

    #[test]
    fn days_may_have_23_or_25_hours() {
        let mut days = BusinessDays::new("Europe/Berlin").unwrap();
        let spring = days.day(ms("2026-03-28T23:00:00Z"));
        assert_eq!(days.day(ms("2026-03-29T21:59:59Z")), spring);
        assert_eq!(days.day(ms("2026-03-29T22:00:00Z")), spring + 1);
        let autumn = days.day(ms("2026-10-24T22:00:00Z"));
        assert_eq!(days.day(ms("2026-10-25T22:59:59Z")), autumn);
        assert_eq!(days.day(ms("2026-10-25T23:00:00Z")), autumn + 1);
    }

    #[test]
    fn every_number_has_a_day_and_the_caches_stay_bounded() {
        let mut days = BusinessDays::new("Asia/Shanghai").unwrap();
        for moment in [i64::MIN, i64::MAX, 0] {
            let day = days.day(moment);
            assert!(!days.text(day).is_empty());
        }
        for day in 0..10_000 {
            assert_eq!(days.day(i64::from(day) * DAY_MS), day);
            days.text(day);
        }
        assert!(days.bounds.len() <= KEPT_BOUNDS && days.texts.len() <= KEPT_TEXTS);
    }
}
