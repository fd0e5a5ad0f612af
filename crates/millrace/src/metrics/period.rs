//! When: ranges and steps in the business time zone. A range is made of whole steps, so that no answer shows a part of
//! a day, week or month as if it were all of it.
use std::str::FromStr;

use jiff::{
    Span, Timestamp, Unit, Zoned, ZonedRound,
    civil::{Date, Weekday},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};

use super::catalogue::Clock;

/// How finely a range is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    Minute,
    Hour,
    Day,
    /// From Monday to Sunday.
    Week,
    Month,
    /// Not at all.
    Total,
}

impl Step {
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

    /// Every step that a clock can tell.
    pub(crate) fn of(clock: Clock) -> &'static [Self] {
        match clock {
            Clock::Bucket => &[Self::Total, Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month],
            Clock::CohortDay | Clock::PublishDay => &[Self::Total, Self::Day, Self::Week, Self::Month],
        }
    }
}

/// A number of units up to now, the one that is not over yet included: `7d`, `24h`, `30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Ago {
    count: i64,
    step: Step,
}

impl Ago {
    pub(crate) const fn days(count: i64) -> Self {
        Self { count, step: Step::Day }
    }
}

impl FromStr for Ago {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is no length of time such as 30m, 24h or 7d");
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(expected)?;
        let step = match unit {
            "m" => Step::Minute,
            "h" => Step::Hour,
            "d" => Step::Day,
            "w" => Step::Week,
            _ => return Err(expected()),
        };
        let count = number.parse().ok().filter(|count| (1..=100_000).contains(count)).ok_or_else(expected)?;
        Ok(Self { count, step })
    }
}

impl TryFrom<String> for Ago {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// One end of a range as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// A business day.
    Day(Date),
    /// So long ago.
    Ago(Ago),
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ago) = text.parse() {
            return Ok(Self::Ago(ago));
        }
        // Jiff also reads dates with a time behind them, whose time would be lost here.
        let date = if text.len() == 10 { text.parse().ok() } else { None };
        date.map(Self::Day).ok_or_else(|| {
            format!(
                "`{text}` is neither a day such as 2026-03-02 nor a length of time such as 7d, 24h or 30m"
            )
        })
    }
}

impl Bound {
    fn step(self) -> Step {
        match self {
            Self::Day(_) => Step::Day,
            Self::Ago(ago) => ago.step,
        }
    }
}

/// A range of time, its end not included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: Zoned,
    pub(crate) to: Zoned,
}

/// A calendar: a time zone and the moment that is taken for the present.
#[derive(Debug, Clone)]
pub(crate) struct Calendar {
    pub(crate) now: Zoned,
}

impl Calendar {
    /// The calendar of a zone at a moment; a sentence when there is no such zone.
    pub(crate) fn new(zone: &str, now: Timestamp) -> Result<Self, String> {
        let zone = TimeZone::get(zone).map_err(|error| format!("business_timezone {zone}: {error}"))?;
        Ok(Self { now: now.to_zoned(zone) })
    }

    /// The business day that is not over yet.
    pub(crate) fn today(&self) -> Date {
        self.now.date()
    }

    /// The days from `first` to `last`, both included.
    pub(crate) fn days(&self, first: Date, last: Date) -> Result<Range, String> {
        self.range(Some(Bound::Day(first)), Some(Bound::Day(last)), Ago::days(1), Step::Day)
    }

    /// The range between two bounds, made wide enough for whole steps. Without `from` it is the `usual` one, without
    /// `to` it goes on up to now. A day as `to` is included; `1d` as `to` leaves out the last day.
    pub(crate) fn range(
        &self,
        from: Option<Bound>,
        to: Option<Bound>,
        usual: Ago,
        whole: Step,
    ) -> Result<Range, String> {
        let from = from.unwrap_or(Bound::Ago(usual));
        let resolve = || {
            let start = self.begin(from)?;
            let end = match to {
                None => next(&floor(&self.now, from.step())?, from.step())?,
                Some(Bound::Day(day)) => next(&self.begin(Bound::Day(day))?, Step::Day)?,
                Some(ago) => self.begin(ago)?,
            };
            if whole == Step::Total {
                return Ok((start, end));
            }
            let last = floor(&end, whole)?;
            Ok((floor(&start, whole)?, if last == end { end } else { next(&last, whole)? }))
        };
        let (from, to) =
            resolve().map_err(|error: jiff::Error| format!("the range leaves the calendar: {error}"))?;
        if to <= from {
            return Err(format!(
                "the range is empty: it begins at {} and ends at {}",
                from.strftime("%Y-%m-%d %H:%M"),
                to.strftime("%Y-%m-%d %H:%M")
            ));
        }
        Ok(Range { from, to })
    }

    fn begin(&self, bound: Bound) -> Result<Zoned, jiff::Error> {
        match bound {
            Bound::Day(day) => day.to_zoned(self.now.time_zone().clone()),
            Bound::Ago(Ago { count, step }) => {
                let back = count - 1;
                floor(&self.now, step)?.checked_sub(match step {
                    Step::Minute => Span::new().try_minutes(back)?,
                    Step::Hour => Span::new().try_hours(back)?,
                    Step::Week => Span::new().try_weeks(back)?,
                    _ => Span::new().try_days(back)?,
                })
            }
        }
    }
}

/// The begin of the step a moment lies in.
pub(crate) fn floor(at: &Zoned, step: Step) -> Result<Zoned, jiff::Error> {
    match step {
        Step::Minute => at.round(ZonedRound::new().smallest(Unit::Minute).mode(jiff::RoundMode::Floor)),
        Step::Hour => at.round(ZonedRound::new().smallest(Unit::Hour).mode(jiff::RoundMode::Floor)),
        Step::Day | Step::Total => at.start_of_day(),
        Step::Week => {
            let since_monday = i64::from(at.weekday().since(Weekday::Monday));
            at.date().checked_sub(Span::new().try_days(since_monday)?)?.to_zoned(at.time_zone().clone())
        }
        Step::Month => at.date().first_of_month().to_zoned(at.time_zone().clone()),
    }
}

/// The begin of the step after the one that begins at `at`.
pub(crate) fn next(at: &Zoned, step: Step) -> Result<Zoned, jiff::Error> {
    match step {
        Step::Minute => at.checked_add(Span::new().minutes(1)),
        Step::Hour => at.checked_add(Span::new().hours(1)),
        Step::Day | Step::Total => at.date().tomorrow()?.to_zoned(at.time_zone().clone()),
        Step::Week => at.date().checked_add(Span::new().weeks(1))?.to_zoned(at.time_zone().clone()),
        Step::Month => at.date().checked_add(Span::new().months(1))?.to_zoned(at.time_zone().clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-11 was a Wednesday.
    fn calendar() -> Calendar {
        Calendar::new("Asia/Shanghai", "2026-03-11T02:34:56Z".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_range_is_made_of_whole_steps_in_the_business_zone() {
        for (from, to, whole, expected) in [
            ("7d", "", Step::Total, "2026-03-05 00:00 2026-03-12 00:00"),
            ("7d", "1d", Step::Total, "2026-03-05 00:00 2026-03-11 00:00"),
            ("1d", "", Step::Day, "2026-03-11 00:00 2026-03-12 00:00"),
            ("24h", "", Step::Hour, "2026-03-10 11:00 2026-03-11 11:00"),
            ("30m", "", Step::Total, "2026-03-11 10:05 2026-03-11 10:35"),
            ("24h", "", Step::Day, "2026-03-10 00:00 2026-03-12 00:00"),
            ("2026-03-02", "2026-03-03", Step::Total, "2026-03-02 00:00 2026-03-04 00:00"),
            ("2026-03-02", "2026-03-02", Step::Week, "2026-03-02 00:00 2026-03-09 00:00"),
            ("2026-03-01", "2026-03-02", Step::Week, "2026-02-23 00:00 2026-03-09 00:00"),
            ("2026-03-02", "2026-03-02", Step::Month, "2026-03-01 00:00 2026-04-01 00:00"),
            ("2w", "", Step::Week, "2026-03-02 00:00 2026-03-16 00:00"),
            ("", "", Step::Day, "2026-03-09 00:00 2026-03-12 00:00"),
        ] {
            let bound = |text: &str| (!text.is_empty()).then(|| text.parse::<Bound>().unwrap());
            let range = calendar().range(bound(from), bound(to), Ago::days(3), whole).unwrap();
            let shown = [range.from, range.to].map(|at| at.strftime("%Y-%m-%d %H:%M").to_string()).join(" ");
            assert_eq!(shown, expected, "{from} {to} {whole:?}");
        }
    }

    #[test]
    fn an_empty_range_and_a_bound_that_is_none_are_refused() {
        let day = |text: &str| Some(text.parse::<Bound>().unwrap());
        let empty = calendar().range(day("2026-03-03"), day("2026-03-02"), Ago::days(1), Step::Total);
        assert!(empty.unwrap_err().contains("the range is empty"));
        for text in ["", "d", "7", "0d", "-1d", "7y", "2026-3-2", "2026-03-02T10:00", "1 OR 1=1", "日"] {
            assert!(text.parse::<Bound>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_day_with_a_clock_change_is_still_one_day() {
        let calendar = Calendar::new("Europe/Berlin", "2026-03-30T10:00:00Z".parse().unwrap()).unwrap();
        let day = "2026-03-29".parse().unwrap();
        let range = calendar.days(day, day).unwrap();
        assert_eq!(range.to.timestamp().as_second() - range.from.timestamp().as_second(), 23 * 3600);
    }
}
