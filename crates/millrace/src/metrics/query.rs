//! A metric query and its SQL. Names come only from the catalogue and the cubes. Values are sent as query parameters.
use std::collections::BTreeMap;

use aggregate::cube::Pane;

use super::{
    catalogue::{Definition, Metric},
    period::{BusinessCalendar, PeriodColumn, TimeRange, TimeStep},
    views::CubeView,
};
use crate::nearest::nearest;

/// The dimension of every cube that has panes shorter than a day.
const HOUR: &str = "hour";

/// A metric, its dimensions and its range.
#[derive(Debug, Clone)]
pub(crate) struct MetricQuery<'a> {
    pub(crate) metric: &'a Metric,
    pub(crate) definition: &'a Definition,
    pub(crate) by: Vec<String>,
    pub(crate) step: TimeStep,
    pub(crate) range: TimeRange,
    pub(crate) app: Option<String>,
}

/// The SQL of a query, with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlStatement {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<(&'static str, String)>,
    /// The dimensions of the result, in order.
    pub(crate) dimensions: Vec<String>,
}

/// The dimensions that a definition can be split by, without those it is always split by.
pub(crate) fn dimensions(definition: &Definition, view: &CubeView) -> Vec<String> {
    let given = view.dimensions.iter().filter(|name| {
        !definition.without.contains(name)
            && !definition.each.contains(name)
            // The period itself.
            && definition.clock.column() != name.as_str()
    });
    let mut names: Vec<String> = given.cloned().collect();
    names.extend(definition.computed.keys().filter(|name| !view.dimensions.contains(name)).cloned());
    if definition.clock == PeriodColumn::Bucket
        && definition.steps != [TimeStep::Total]
        && view.panes.iter().any(|&pane| pane != Pane::Day)
    {
        names.push(HOUR.into());
    }
    names
}

/// The step of a query: the given one, else `total`, else the first step of the definition. The error lists the steps.
pub(crate) fn step(
    metric: &Metric,
    definition: &Definition,
    wanted: Option<TimeStep>,
) -> Result<TimeStep, String> {
    let steps = &definition.steps;
    match wanted {
        Some(step) if steps.contains(&step) => Ok(step),
        Some(step) => {
            let known: Vec<&str> = steps.iter().map(|step| step.as_str()).collect();
            Err(format!(
                "`{}` ({}) has no step {}, only {}",
                metric.name,
                definition.name,
                step.as_str(),
                known.join(", ")
            ))
        }
        None if steps.contains(&TimeStep::Total) => Ok(TimeStep::Total),
        None => Ok(steps[0]),
    }
}

/// The step that a range must consist of, so that no value stands for a part of its period.
pub(crate) fn whole(definition: &Definition, step: TimeStep) -> TimeStep {
    match (step, definition.clock) {
        (TimeStep::Total, PeriodColumn::CohortDay | PeriodColumn::PublishDay) => TimeStep::Day,
        (step, _) => step,
    }
}

impl MetricQuery<'_> {
    /// The SQL. Fails when the cube does not have what the query needs.
    pub(crate) fn statement(
        &self,
        views: &BTreeMap<String, CubeView>,
        calendar: &BusinessCalendar,
    ) -> Result<SqlStatement, String> {
        let Self { metric, definition, step, range, .. } = self;
        let view = views.get(&definition.cube).ok_or_else(|| {
            format!("`{}` reads the cube `{}`, which does not exist", metric.name, definition.cube)
        })?;
        let by = self.by(view)?;
        let pane = self.pane(view, by.iter().any(|name| name == HOUR))?;
        let (mut selected, mut names) = (String::new(), String::new());
        for name in &by {
            let column = quoted(name);
            match definition.computed.get(name).map(String::as_str) {
                Some(sql) => selected.push_str(&format!(", {sql} AS {column}")),
                None if name == HOUR => {
                    selected.push_str(", formatDateTime(bucket, '%H', {timezone:String}) AS hour");
                }
                None => selected.push_str(&format!(", {column}")),
            }
            names.push_str(&format!(", {column}"));
        }
        let sql = definition
            .sql
            .replace("{time}", &time(definition.clock, *step))
            .replace("{by}", &selected)
            .replace("{names}", &names)
            .replace("{range}", &self.range_condition());
        let now_ms = calendar.now.timestamp().as_millisecond();
        let mut parameters = vec![
            ("pane", pane.as_str().to_owned()),
            ("from", range.from.timestamp().as_second().to_string()),
            ("to", range.to.timestamp().as_second().to_string()),
            ("from_day", range.from.date().to_string()),
            ("to_day", range.to.date().to_string()),
            ("definition", definition.name.clone()),
            ("timezone", calendar.now.time_zone().iana_name().unwrap_or("UTC").to_owned()),
            ("today", calendar.today().to_string()),
            ("now", now_ms.to_string()),
        ];
        if let Some(app) = &self.app {
            parameters.push(("app", app.clone()));
        }
        let dimensions: Vec<String> = definition.each.iter().chain(&by).cloned().collect();
        let order: Vec<String> =
            std::iter::once("time").chain(dimensions.iter().map(String::as_str)).map(quoted).collect();
        let sql = format!("SELECT * FROM (\n{sql}\n) ORDER BY {}", order.join(", "));
        Ok(SqlStatement { sql, parameters, dimensions })
    }

    /// The dimensions of the query, without those that the definition is always split by.
    fn by(&self, view: &CubeView) -> Result<Vec<String>, String> {
        let known = dimensions(self.definition, view);
        let mut by: Vec<String> = Vec::new();
        for name in &self.by {
            if self.definition.each.contains(name) || by.contains(name) {
                continue;
            }
            if !known.contains(name) {
                return Err(format!(
                    "`{}` ({}) has no dimension `{name}`; the nearest is `{}`; it has {}",
                    self.metric.name,
                    self.definition.name,
                    nearest(name, known.iter().map(String::as_str)),
                    known.join(", ")
                ));
            }
            by.push(name.clone());
        }
        Ok(by)
    }

    /// The widest pane that fits the range and the step, because it has the fewest rows.
    fn pane(&self, view: &CubeView, by_hour: bool) -> Result<Pane, String> {
        let begins = [&self.range.from, &self.range.to];
        let at_midnight = begins.iter().all(|at| at.start_of_day().is_ok_and(|midnight| midnight == **at));
        let fits = |pane: Pane| match pane.seconds() {
            None => at_midnight && !by_hour && !matches!(self.step, TimeStep::Minute | TimeStep::Hour),
            Some(seconds) => {
                let whole = begins.iter().all(|at| at.timestamp().as_second() % i64::from(seconds) == 0);
                whole && (self.step != TimeStep::Minute || seconds <= 60)
            }
        };
        view.panes.iter().copied().find(|&pane| fits(pane)).ok_or_else(|| {
            let panes: Vec<&str> = view.panes.iter().map(|pane| pane.as_str()).collect();
            format!(
                "the cube `{}` has only the panes {}: use a longer --step, or whole days for --from and --to",
                self.definition.cube,
                panes.join(", ")
            )
        })
    }

    fn range_condition(&self) -> String {
        let mut condition = match self.definition.clock {
            PeriodColumn::Bucket => "pane = {pane:String} AND bucket >= toDateTime({from:UInt32}, 'UTC') \
                              AND bucket < toDateTime({to:UInt32}, 'UTC')"
                .to_owned(),
            // A cohort has no events before its day, so the range of buckets has a start and no end.
            PeriodColumn::CohortDay => "pane = {pane:String} AND cohort_day >= {from_day:String} \
                                 AND cohort_day < {to_day:String} AND bucket >= toDateTime({from:UInt32}, 'UTC')"
                .to_owned(),
            PeriodColumn::PublishDay => "pane = {pane:String} AND publish_day >= {from_day:String} \
                                  AND publish_day < {to_day:String}"
                .to_owned(),
        };
        if self.app.is_some() {
            condition.push_str(" AND app_id = {app:String}");
        }
        condition
    }
}

/// SQL for the period of a row: its start in the business time zone, as text.
fn time(clock: PeriodColumn, step: TimeStep) -> String {
    let column = clock.column();
    match (clock, step) {
        (_, TimeStep::Total) => "''".into(),
        (PeriodColumn::Bucket, TimeStep::Minute) => {
            "formatDateTime(bucket, '%Y-%m-%d %H:%i', {timezone:String})".into()
        }
        (PeriodColumn::Bucket, TimeStep::Hour) => {
            "formatDateTime(bucket, '%Y-%m-%d %H:00', {timezone:String})".into()
        }
        (PeriodColumn::Bucket, TimeStep::Day) => "toString(toDate(bucket, {timezone:String}))".into(),
        (PeriodColumn::Bucket, TimeStep::Week) => {
            "toString(toMonday(toDate(bucket, {timezone:String})))".into()
        }
        (PeriodColumn::Bucket, TimeStep::Month) => {
            "toString(toStartOfMonth(toDate(bucket, {timezone:String})))".into()
        }
        (_, TimeStep::Week) => format!("toString(toMonday(toDateOrNull({column})))"),
        (_, TimeStep::Month) => format!("toString(toStartOfMonth(toDateOrNull({column})))"),
        (_, TimeStep::Minute | TimeStep::Hour | TimeStep::Day) => format!("toString({column})"),
    }
}

fn quoted(name: &str) -> String {
    aggregate::table::quoted(name)
}
