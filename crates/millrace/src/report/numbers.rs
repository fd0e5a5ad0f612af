//! The numbers of a report: the period it is about beside the day and the week before.
use jiff::{Span as Length, civil::Date};
use tokio::runtime::Runtime;

use super::Span;
use crate::{
    error::Error,
    metrics::{
        Catalogue, Definition, Metric, Unit,
        answer::{Answer, Row, Source},
        period::{self, Calendar, Range, Step},
        statement::Question,
    },
};

/// Where questions are asked.
pub(crate) struct Desk<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) source: &'a Source,
    pub(crate) tokio: &'a Runtime,
    /// Its present is the end of the report's period, or now while that is not over: a report says the same whenever
    /// it is made.
    pub(crate) calendar: Calendar,
    pub(crate) span: Span,
    /// The last day of the period.
    pub(crate) day: Date,
    pub(crate) app: Option<String>,
}

/// Which periods are compared, by their names in the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Periods {
    pub(crate) step: Step,
    pub(crate) range: Range,
    pub(crate) current: String,
    pub(crate) day_before: Option<String>,
    pub(crate) week_before: Option<String>,
}

/// A value and those it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Compared {
    pub(crate) key: Vec<String>,
    pub(crate) value: Option<f64>,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    pub(crate) day_before: Option<f64>,
    pub(crate) week_before: Option<f64>,
}

/// One metric, compared.
pub(crate) struct Comparison<'a> {
    pub(crate) metric: &'a Metric,
    pub(crate) definition: &'a Definition,
    pub(crate) periods: Periods,
    pub(crate) dimensions: Vec<String>,
    /// Those of the current period, the greatest first; none when nothing was counted in it.
    pub(crate) rows: Vec<Compared>,
}

impl<'a> Desk<'a> {
    /// What the report is called.
    pub(crate) fn title(&self) -> &'static str {
        match self.span {
            Span::Daily => "日报 Daily report",
            Span::Weekly => "周报 Weekly report",
        }
    }

    /// The first day of the period.
    pub(crate) fn first_day(&self) -> Result<Date, Error> {
        match self.span {
            Span::Daily => Ok(self.day),
            Span::Weekly => back(self.day, 6),
        }
    }

    /// The period in words.
    pub(crate) fn period(&self) -> String {
        match self.first_day() {
            Ok(first) if first != self.day => format!("{first} – {}", self.day),
            _ => self.day.to_string(),
        }
    }

    /// What a reader must know of a period that lasts: events arrive between one question and the next.
    pub(crate) fn warning(&self) -> String {
        if self.calendar.today() > self.day {
            return String::new();
        }
        let now = self.calendar.now.strftime("%Y-%m-%d %H:%M");
        format!(
            "截至 {now}，时段未结束；各数字先后查询，未必完全一致。 As of {now}, the period is not over; its numbers are \
             asked one after the other and need not agree."
        )
    }

    /// A metric and a definition by the name the plan uses.
    pub(crate) fn look_up(&self, name: &str) -> Result<(&'a Metric, &'a Definition), Error> {
        let (metric, definition) = match name.split_once(':') {
            Some((metric, definition)) => (metric, Some(definition)),
            None => (name, None),
        };
        let metric = self.catalogue.metric(metric).map_err(Error::Failed)?;
        Ok((metric, metric.definition(definition).map_err(Error::Failed)?))
    }

    /// Asks for a metric in the report's period and in those before. `lag` days earlier, for cohorts whose day is over
    /// only now.
    pub(crate) fn compare(&self, name: &str, by: &[&str], lag: i64) -> Result<Comparison<'a>, Error> {
        let (metric, definition) = self.look_up(name)?;
        let periods = self.periods(&definition.steps, back(self.day, lag)?)?;
        let answer = self.ask(metric, definition, by, &periods)?;
        let absent = if metric.kind.counts() { Some(0.0) } else { None };
        let rows = compared(&answer, &periods, absent);
        Ok(Comparison { metric, definition, periods, dimensions: answer.dimensions, rows })
    }

    /// Asks for a metric day by day, up to the end of the period.
    pub(crate) fn days(&self, name: &str, days: i64) -> Result<(&'a Metric, &'a Definition, Answer), Error> {
        let (metric, definition) = self.look_up(name)?;
        let range = self.calendar.days(back(self.day, days - 1)?, self.day).map_err(Error::Failed)?;
        let periods =
            Periods { step: Step::Day, range, current: String::new(), day_before: None, week_before: None };
        let answer = self.ask(metric, definition, &[], &periods)?;
        Ok((metric, definition, answer))
    }

    fn ask(
        &self,
        metric: &Metric,
        definition: &Definition,
        by: &[&str],
        periods: &Periods,
    ) -> Result<Answer, Error> {
        let question = Question {
            metric,
            definition,
            by: by.iter().map(|&name| name.to_owned()).collect(),
            step: periods.step,
            range: periods.range.clone(),
            app: self.app.clone(),
        };
        self.tokio.block_on(self.source.ask(&question, &self.calendar))
    }

    /// The periods around a day: of the report's own length where the metric has it, else of a length it has.
    fn periods(&self, steps: &[Step], day: Date) -> Result<Periods, Error> {
        let own = match self.span {
            Span::Daily => Step::Day,
            Span::Weekly => Step::Week,
        };
        let wanted = [own, Step::Day, Step::Week, Step::Month];
        let step = wanted.into_iter().find(|step| steps.contains(step)).unwrap_or(Step::Total);
        let unreal = |error: jiff::Error| Error::Usage(format!("the report leaves the calendar: {error}"));
        let midnight = day.to_zoned(self.calendar.now.time_zone().clone()).map_err(unreal)?;
        let begin = period::floor(&midnight, step).map_err(unreal)?;
        let end = period::next(&begin, step).map_err(unreal)?;
        let first = match step {
            Step::Day | Step::Week => back(begin.date(), 7)?,
            _ => begin.date(),
        };
        let range = self.calendar.days(first, back(end.date(), 1)?).map_err(Error::Failed)?;
        let current = if step == Step::Total { String::new() } else { begin.date().to_string() };
        // A period that is not over is compared with nothing: it would always seem to fall.
        let over = end <= self.calendar.now;
        let before = |days: i64| back(begin.date(), days).map(|day| day.to_string());
        Ok(Periods {
            step,
            range,
            current,
            day_before: if step == Step::Day && over { Some(before(1)?) } else { None },
            week_before: if matches!(step, Step::Day | Step::Week) && over { Some(before(7)?) } else { None },
        })
    }
}

fn compared(answer: &Answer, periods: &Periods, absent: Option<f64>) -> Vec<Compared> {
    let at = |time: &Option<String>, key: &[String]| {
        let time = time.as_ref()?;
        answer.rows.iter().find(|row| row.time == *time && row.key == key).map_or(absent, |row| row.value)
    };
    let current: Vec<&Row> = answer.rows.iter().filter(|row| row.time == periods.current).collect();
    let mut rows: Vec<Compared> = current
        .into_iter()
        .map(|row| Compared {
            value: row.value,
            low: row.low,
            high: row.high,
            day_before: at(&periods.day_before, &row.key),
            week_before: at(&periods.week_before, &row.key),
            key: row.key.clone(),
        })
        .collect();
    // Stable: where values agree, the order of the dimensions stays.
    rows.sort_by(|a, b| {
        let value = |row: &Compared| row.value.unwrap_or(f64::NEG_INFINITY);
        value(b).total_cmp(&value(a))
    });
    rows
}

/// How a value changed: for shares the difference in percentage points, else the relative change.
pub(crate) fn change(unit: Unit, value: Option<f64>, before: Option<f64>) -> Option<f64> {
    let (value, before) = (value?, before?);
    match unit {
        Unit::Share => Some((value - before) * 100.0),
        _ if before == 0.0 => None,
        _ => Some(value / before - 1.0),
    }
}

/// The day so many days before.
pub(crate) fn back(day: Date, days: i64) -> Result<Date, Error> {
    let length = Length::new().try_days(days);
    length
        .and_then(|length| day.checked_sub(length))
        .map_err(|error| Error::Usage(format!("the report leaves the calendar: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_changes_in_points_and_a_count_in_percent() {
        for (unit, value, before, expected) in [
            (Unit::Devices, Some(150.0), Some(100.0), Some(0.5)),
            (Unit::Devices, Some(150.0), Some(0.0), None),
            (Unit::Devices, Some(0.0), Some(4.0), Some(-1.0)),
            (Unit::Share, Some(0.75), Some(0.5), Some(25.0)),
            (Unit::Share, Some(0.75), None, None),
            (Unit::Share, None, Some(0.5), None),
        ] {
            assert_eq!(change(unit, value, before), expected, "{unit:?} {value:?} {before:?}");
        }
    }
}
