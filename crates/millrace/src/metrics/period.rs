//! Time ranges and steps in the business time zone. A range consists of whole steps, so that no value stands for a part of
//! a day, week or month.
use std::{ops::RangeInclusive, str::FromStr};

use event::calendar::{date_of, day_of, month_of, week_of};
use jiff::{Span, Timestamp, Unit, Zoned, ZonedRound, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// The length of the periods of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TimeStep {
    Minute,
    Hour,
    Day,
    /// From Monday to Sunday.
    Week,
    Month,
    /// The whole range.
    Total,
}

impl TimeStep {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// Every step that the column supports.
    pub(crate) fn of(clock: PeriodColumn) -> &'static [Self] {
        match clock {
            PeriodColumn::Bucket => {
                &[Self::Total, Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month]
            }
            PeriodColumn::CohortDay | PeriodColumn::PublishDay => {
                &[Self::Total, Self::Day, Self::Week, Self::Month]
            }
        }
    }
}

/// The column that decides the period of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PeriodColumn {
    /// The time of the event.
    #[default]
    Bucket,
    /// The first day of the device.
    CohortDay,
    /// The day the content was published.
    PublishDay,
}

impl PeriodColumn {
    pub(crate) fn column(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::CohortDay => "cohort_day",
            Self::PublishDay => "publish_day",
        }
    }
}

/// A number of periods that ends with the current one: `7d`, `24h`, `30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct LookBack {
    count: i64,
    step: TimeStep,
}

impl LookBack {
    pub(crate) const fn days(count: i64) -> Self {
        Self { count, step: TimeStep::Day }
    }
}

impl FromStr for LookBack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not a duration in one unit, such as 30m, 24h or 7d");
        let span: Span = text.parse().map_err(|_| expected())?;
        let units = [
            (span.get_minutes(), TimeStep::Minute),
            (span.get_hours().into(), TimeStep::Hour),
            (span.get_days().into(), TimeStep::Day),
            (span.get_weeks().into(), TimeStep::Week),
        ];
        // Exactly one unit: the rest of the span must be zero.
        let only = |(count, step): (i64, TimeStep)| {
            let same = span_of(count, step).is_ok_and(|whole| whole.fieldwise() == span);
            (same && (1..=100_000).contains(&count)).then_some(Self { count, step })
        };
        units.into_iter().find_map(only).ok_or_else(expected)
    }
}

impl TryFrom<String> for LookBack {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The start or the end of a range, as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangeEnd {
    /// A business day.
    Day(Date),
    /// A number of periods before now.
    LookBack(LookBack),
}

impl FromStr for RangeEnd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ago) = text.parse() {
            return Ok(Self::LookBack(ago));
        }
        // Jiff also parses a date with a time, and would drop the time here.
        let date = if text.len() == 10 { text.parse().ok() } else { None };
        date.map(Self::Day).ok_or_else(|| {
            format!("`{text}` is neither a day such as 2026-03-02 nor a duration such as 7d, 24h or 30m")
        })
    }
}

impl RangeEnd {
    fn step(self) -> TimeStep {
        match self {
            Self::Day(_) => TimeStep::Day,
            Self::LookBack(ago) => ago.step,
        }
    }
}

/// A time range. `to` is exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimeRange {
    pub(crate) from: Zoned,
    pub(crate) to: Zoned,
}

/// The current time in the business time zone.
#[derive(Debug, Clone)]
pub(crate) struct BusinessCalendar {
    pub(crate) now: Zoned,
}

impl BusinessCalendar {
    /// `zone` is the name of a time zone.
    pub(crate) fn new(zone: &str, now: Timestamp) -> Result<Self, String> {
        let zone = TimeZone::get(zone).map_err(|error| format!("business_timezone {zone}: {error}"))?;
        Ok(Self { now: now.to_zoned(zone) })
    }

    /// The current business day.
    pub(crate) fn today(&self) -> Date {
        self.now.date()
    }

    /// The days from `first` to `last`, both included.
    pub(crate) fn days(&self, first: Date, last: Date) -> Result<TimeRange, String> {
        self.range(Some(RangeEnd::Day(first)), Some(RangeEnd::Day(last)), LookBack::days(1), TimeStep::Day)
    }

    /// The range between two ends, extended to whole steps. Without `from` the range is `default`, without `to` it ends now.
    /// A day as `to` is included. A duration as `to` leaves out the last periods: `1d` leaves out the current day.
    pub(crate) fn range(
        &self,
        from: Option<RangeEnd>,
        to: Option<RangeEnd>,
        default: LookBack,
        whole: TimeStep,
    ) -> Result<TimeRange, String> {
        let from = from.unwrap_or(RangeEnd::LookBack(default));
        let resolve = || {
            let start = self.start(from)?;
            let end = match to {
                None => next(&floor(&self.now, from.step())?, from.step())?,
                Some(RangeEnd::Day(day)) => next(&self.start(RangeEnd::Day(day))?, TimeStep::Day)?,
                Some(ago) => self.start(ago)?,
            };
            if whole == TimeStep::Total {
                return Ok((start, end));
            }
            let last = floor(&end, whole)?;
            Ok((floor(&start, whole)?, if last == end { end } else { next(&last, whole)? }))
        };
        let (from, to) =
            resolve().map_err(|error: jiff::Error| format!("the range is outside the calendar: {error}"))?;
        if to <= from {
            return Err(format!(
                "the range is empty: it starts at {} and ends at {}",
                from.strftime("%Y-%m-%d %H:%M"),
                to.strftime("%Y-%m-%d %H:%M")
            ));
        }
        Ok(TimeRange { from, to })
    }

    fn start(&self, bound: RangeEnd) -> Result<Zoned, jiff::Error> {
        match bound {
            RangeEnd::Day(day) => day.to_zoned(self.now.time_zone().clone()),
            RangeEnd::LookBack(LookBack { count, step }) => {
                floor(&self.now, step)?.checked_sub(span_of(count - 1, step)?)
            }
        }
    }
}

fn span_of(count: i64, step: TimeStep) -> Result<Span, jiff::Error> {
    match step {
        TimeStep::Minute => Span::new().try_minutes(count),
        TimeStep::Hour => Span::new().try_hours(count),
        TimeStep::Week => Span::new().try_weeks(count),
        _ => Span::new().try_days(count),
    }
}

/// The start of the step that contains a time.
pub(crate) fn floor(at: &Zoned, step: TimeStep) -> Result<Zoned, jiff::Error> {
    match step {
        TimeStep::Minute => at.round(ZonedRound::new().smallest(Unit::Minute).mode(jiff::RoundMode::Floor)),
        TimeStep::Hour => at.round(ZonedRound::new().smallest(Unit::Hour).mode(jiff::RoundMode::Floor)),
        step => date_of(*days_of(at.date(), step).start()).to_zoned(at.time_zone().clone()),
    }
}

/// The start of the next step; `at` is the start of a step.
pub(crate) fn next(at: &Zoned, step: TimeStep) -> Result<Zoned, jiff::Error> {
    match step {
        TimeStep::Minute => at.checked_add(Span::new().minutes(1)),
        TimeStep::Hour => at.checked_add(Span::new().hours(1)),
        step => date_of(*days_of(at.date(), step).end()).tomorrow()?.to_zoned(at.time_zone().clone()),
    }
}

/// The days of the step of a date: its day, ISO week or month.
fn days_of(date: Date, step: TimeStep) -> RangeInclusive<i32> {
    let day = day_of(date);
    match step {
        TimeStep::Week => week_of(day),
        TimeStep::Month => month_of(day),
        _ => day..=day,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-11 was a Wednesday.
    fn calendar() -> BusinessCalendar {
        BusinessCalendar::new("Asia/Shanghai", "2026-03-11T02:34:56Z".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_range_is_made_of_whole_steps_in_the_business_zone() {
        for (from, to, whole, expected) in [
            ("7d", "", TimeStep::Total, "2026-03-05 00:00 2026-03-12 00:00"),
            ("7d", "1d", TimeStep::Total, "2026-03-05 00:00 2026-03-11 00:00"),
            ("1d", "", TimeStep::Day, "2026-03-11 00:00 2026-03-12 00:00"),
            ("24h", "", TimeStep::Hour, "2026-03-10 11:00 2026-03-11 11:00"),
            ("30m", "", TimeStep::Total, "2026-03-11 10:05 2026-03-11 10:35"),
            ("24h", "", TimeStep::Day, "2026-03-10 00:00 2026-03-12 00:00"),
            ("2026-03-02", "2026-03-03", TimeStep::Total, "2026-03-02 00:00 2026-03-04 00:00"),
            ("2026-03-02", "2026-03-02", TimeStep::Week, "2026-03-02 00:00 2026-03-09 00:00"),
            ("2026-03-01", "2026-03-02", TimeStep::Week, "2026-02-23 00:00 2026-03-09 00:00"),
            ("2026-03-02", "2026-03-02", TimeStep::Month, "2026-03-01 00:00 2026-04-01 00:00"),
            ("2w", "", TimeStep::Week, "2026-03-02 00:00 2026-03-16 00:00"),
            ("", "", TimeStep::Day, "2026-03-09 00:00 2026-03-12 00:00"),
        ] {
            let bound = |text: &str| (!text.is_empty()).then(|| text.parse::<RangeEnd>().unwrap());
            let range = calendar().range(bound(from), bound(to), LookBack::days(3), whole).unwrap();
            let shown = [range.from, range.to].map(|at| at.strftime("%Y-%m-%d %H:%M").to_string()).join(" ");
            assert_eq!(shown, expected, "{from} {to} {whole:?}");
        }
    }

    #[test]
    fn an_empty_range_and_an_invalid_end_are_rejected() {
        let day = |text: &str| Some(text.parse::<RangeEnd>().unwrap());
        let empty =
            calendar().range(day("2026-03-03"), day("2026-03-02"), LookBack::days(1), TimeStep::Total);
        assert!(empty.unwrap_err().contains("the range is empty"));
        for text in ["", "d", "7", "0d", "-1d", "7y", "2026-3-2", "2026-03-02T10:00", "1 OR 1=1", "日"] {
            assert!(text.parse::<RangeEnd>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_day_with_a_clock_change_is_still_one_day() {
        let calendar =
            BusinessCalendar::new("Europe/Berlin", "2026-03-30T10:00:00Z".parse().unwrap()).unwrap();
        let day = "2026-03-29".parse().unwrap();
        let range = calendar.days(day, day).unwrap();
        assert_eq!(range.to.timestamp().as_second() - range.from.timestamp().as_second(), 23 * 3600);
    }
}
