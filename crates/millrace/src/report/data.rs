//! The numbers of a report: its period, the day before and the week before.
use jiff::{Span as Length, civil::Date};
use tokio::runtime::Runtime;

use super::length::ReportLength;
use crate::{
    error::Error,
    metrics::{
        catalogue::{Definition, Metric, MetricCatalogue, MetricUnit},
        clickhouse::{MetricClient, MetricRow, MetricValues},
        period::{self, BusinessCalendar, TimeRange, TimeStep},
        query::MetricQuery,
    },
};

/// Runs the queries of one report.
pub(crate) struct ReportData<'a> {
    pub(crate) catalogue: &'a MetricCatalogue,
    pub(crate) client: &'a MetricClient,
    pub(crate) tokio: &'a Runtime,
    /// Its current time is the end of the period, or now if the period is not over, so that a report of a past period is
    /// always the same.
    pub(crate) calendar: BusinessCalendar,
    pub(crate) length: ReportLength,
    /// The last day of the period.
    pub(crate) day: Date,
    pub(crate) app: Option<String>,
}

/// The periods that are compared, as in [`MetricRow::time`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComparedPeriods {
    pub(crate) step: TimeStep,
    pub(crate) range: TimeRange,
    pub(crate) current: String,
    pub(crate) day_before: Option<String>,
    pub(crate) week_before: Option<String>,
}

/// A value and the values of earlier periods.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ComparedValue {
    pub(crate) key: Vec<String>,
    pub(crate) value: Option<f64>,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    pub(crate) day_before: Option<f64>,
    pub(crate) week_before: Option<f64>,
}

/// A metric in the compared periods.
pub(crate) struct MetricComparison<'a> {
    pub(crate) metric: &'a Metric,
    pub(crate) definition: &'a Definition,
    pub(crate) periods: ComparedPeriods,
    pub(crate) dimensions: Vec<String>,
    /// The rows of the current period, the largest value first.
    pub(crate) rows: Vec<ComparedValue>,
}

impl<'a> ReportData<'a> {
    /// The title of the report.
    pub(crate) fn title(&self) -> &'static str {
        match self.length {
            ReportLength::Daily => "日报 Daily report",
            ReportLength::Weekly => "周报 Weekly report",
        }
    }

    /// The first day of the period.
    pub(crate) fn first_day(&self) -> Result<Date, Error> {
        match self.length {
            ReportLength::Daily => Ok(self.day),
            ReportLength::Weekly => back(self.day, 6),
        }
    }

    /// The period as text.
    pub(crate) fn period(&self) -> String {
        match self.first_day() {
            Ok(first) if first != self.day => format!("{first} – {}", self.day),
            _ => self.day.to_string(),
        }
    }

    /// A warning if the period is not over: events arrive between two queries. '' otherwise.
    pub(crate) fn warning(&self) -> String {
        if self.calendar.today() > self.day {
            return String::new();
        }
        let now = self.calendar.now.strftime("%Y-%m-%d %H:%M");
        format!(
            "截至 {now}，时段未结束；各数字先后查询，未必完全一致。 As of {now}, the period is not over; its numbers were \
             queried one after the other and may not agree."
        )
    }

    /// The text of a section without data.
    pub(crate) fn no_data(&self) -> String {
        format!("{} 没有数据 · no data in this period", self.period())
    }

    /// A metric and a definition by their name in [`sheets`](super::sheets).
    pub(crate) fn look_up(&self, name: &str) -> Result<(&'a Metric, &'a Definition), Error> {
        let (metric, definition) = match name.split_once(':') {
            Some((metric, definition)) => (metric, Some(definition)),
            None => (name, None),
        };
        let metric = self.catalogue.metric(metric).map_err(Error::Failed)?;
        Ok((metric, metric.definition(definition).map_err(Error::Failed)?))
    }

    /// Queries a metric in the period of the report and in the periods before. `lag` moves all of them back by that many
    /// days, for cohorts.
    pub(crate) fn compare(&self, name: &str, by: &[&str], lag: i64) -> Result<MetricComparison<'a>, Error> {
        let (metric, definition) = self.look_up(name)?;
        let periods = self.periods(&definition.steps, back(self.day, lag)?)?;
        let values = self.query(metric, definition, by, &periods)?;
        let absent = if metric.kind.is_count() { Some(0.0) } else { None };
        let rows = compared(&values, &periods, absent);
        Ok(MetricComparison { metric, definition, periods, dimensions: values.dimensions, rows })
    }

    /// Queries a metric by day, up to the end of the period.
    pub(crate) fn days(
        &self,
        name: &str,
        days: i64,
    ) -> Result<(&'a Metric, &'a Definition, MetricValues), Error> {
        let (metric, definition) = self.look_up(name)?;
        let range = self.calendar.days(back(self.day, days - 1)?, self.day).map_err(Error::Failed)?;
        let periods = ComparedPeriods {
            step: TimeStep::Day,
            range,
            current: String::new(),
            day_before: None,
            week_before: None,
        };
        let values = self.query(metric, definition, &[], &periods)?;
        Ok((metric, definition, values))
    }

    fn query(
        &self,
        metric: &Metric,
        definition: &Definition,
        by: &[&str],
        periods: &ComparedPeriods,
    ) -> Result<MetricValues, Error> {
        let query = MetricQuery {
            metric,
            definition,
            by: by.iter().map(|&name| name.to_owned()).collect(),
            step: periods.step,
            range: periods.range.clone(),
            app: self.app.clone(),
        };
        self.tokio.block_on(self.client.run(&query, &self.calendar))
    }

    /// The periods around a day. Their step is that of the report, or another one if the metric does not have it.
    fn periods(&self, steps: &[TimeStep], day: Date) -> Result<ComparedPeriods, Error> {
        let wanted = [self.length.step(), TimeStep::Day, TimeStep::Week, TimeStep::Month];
        let step = wanted.into_iter().find(|step| steps.contains(step)).unwrap_or(TimeStep::Total);
        let out_of_range =
            |error: jiff::Error| Error::Usage(format!("the report is outside the calendar: {error}"));
        let midnight = day.to_zoned(self.calendar.now.time_zone().clone()).map_err(out_of_range)?;
        let begin = period::floor(&midnight, step).map_err(out_of_range)?;
        let end = period::next(&begin, step).map_err(out_of_range)?;
        let first = match step {
            TimeStep::Day | TimeStep::Week => back(begin.date(), 7)?,
            _ => begin.date(),
        };
        let range = self.calendar.days(first, back(end.date(), 1)?).map_err(Error::Failed)?;
        let current = if step == TimeStep::Total { String::new() } else { begin.date().to_string() };
        // A period that is not over is not compared, because its value is always lower.
        let over = end <= self.calendar.now;
        let before = |days: i64| back(begin.date(), days).map(|day| day.to_string());
        Ok(ComparedPeriods {
            step,
            range,
            current,
            day_before: if step == TimeStep::Day && over { Some(before(1)?) } else { None },
            week_before: if matches!(step, TimeStep::Day | TimeStep::Week) && over {
                Some(before(7)?)
            } else {
                None
            },
        })
    }
}

fn compared(values: &MetricValues, periods: &ComparedPeriods, absent: Option<f64>) -> Vec<ComparedValue> {
    let at = |time: &Option<String>, key: &[String]| {
        let time = time.as_ref()?;
        values.rows.iter().find(|row| row.time == *time && row.key == key).map_or(absent, |row| row.value)
    };
    let current: Vec<&MetricRow> = values.rows.iter().filter(|row| row.time == periods.current).collect();
    let mut rows: Vec<ComparedValue> = current
        .into_iter()
        .map(|row| ComparedValue {
            value: row.value,
            low: row.low,
            high: row.high,
            day_before: at(&periods.day_before, &row.key),
            week_before: at(&periods.week_before, &row.key),
            key: row.key.clone(),
        })
        .collect();
    // A stable sort: equal values keep the order of their dimensions.
    rows.sort_by(|a, b| {
        let value = |row: &ComparedValue| row.value.unwrap_or(f64::NEG_INFINITY);
        value(b).total_cmp(&value(a))
    });
    rows
}

/// The change of a value: the difference in percentage points for a share, else the relative change.
pub(crate) fn change(unit: MetricUnit, value: Option<f64>, before: Option<f64>) -> Option<f64> {
    let (value, before) = (value?, before?);
    match unit {
        MetricUnit::Share => Some((value - before) * 100.0),
        _ if before == 0.0 => None,
        _ => Some(value / before - 1.0),
    }
}

/// The day this many days before.
pub(crate) fn back(day: Date, days: i64) -> Result<Date, Error> {
    let length = Length::new().try_days(days);
    length
        .and_then(|length| day.checked_sub(length))
        .map_err(|error| Error::Usage(format!("the report is outside the calendar: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_changes_in_points_and_a_count_in_percent() {
        for (unit, value, before, expected) in [
            (MetricUnit::Devices, Some(150.0), Some(100.0), Some(0.5)),
            (MetricUnit::Devices, Some(150.0), Some(0.0), None),
            (MetricUnit::Devices, Some(0.0), Some(4.0), Some(-1.0)),
            (MetricUnit::Share, Some(0.75), Some(0.5), Some(25.0)),
            (MetricUnit::Share, Some(0.75), None, None),
            (MetricUnit::Share, None, Some(0.5), None),
        ] {
            assert_eq!(change(unit, value, before), expected, "{unit:?} {value:?} {before:?}");
        }
    }
}
