//! The SQL of one question. Names come from the catalogue and the cubes and from nowhere else; values travel as
//! parameters of the query.
use std::collections::BTreeMap;

use aggregate::cube::Pane;

use super::{
    Definition, Metric,
    catalogue::{Clock, nearest},
    cubes::View,
    period::{Calendar, Range, Step},
};

/// The dimension every cube with panes below a day can be split by.
const HOUR: &str = "hour";

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question<'a> {
    pub(crate) metric: &'a Metric,
    pub(crate) definition: &'a Definition,
    pub(crate) by: Vec<String>,
    pub(crate) step: Step,
    pub(crate) range: Range,
    pub(crate) app: Option<String>,
}

/// A query with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<(&'static str, String)>,
    /// The dimensions of the answer, in order.
    pub(crate) dimensions: Vec<String>,
}

/// The dimensions a definition can be asked by, beside those it is always split by.
pub(crate) fn dimensions(definition: &Definition, view: &View) -> Vec<String> {
    let given = view.dimensions.iter().filter(|name| {
        !definition.without.contains(name)
            && !definition.each.contains(name)
            // The period itself.
            && definition.clock.column() != name.as_str()
    });
    let mut names: Vec<String> = given.cloned().collect();
    names.extend(definition.computed.keys().filter(|name| !view.dimensions.contains(name)).cloned());
    if definition.clock == Clock::Bucket
        && definition.steps != [Step::Total]
        && view.panes.iter().any(|&pane| pane != Pane::Day)
    {
        names.push(HOUR.into());
    }
    names
}

/// The step a definition is asked by: the wanted one, else the only one or none; a sentence when it cannot be.
pub(crate) fn step(metric: &Metric, definition: &Definition, wanted: Option<Step>) -> Result<Step, String> {
    let steps = &definition.steps;
    match wanted {
        Some(step) if steps.contains(&step) => Ok(step),
        Some(step) => {
            let known: Vec<&str> = steps.iter().map(|step| step.as_str()).collect();
            Err(format!(
                "`{}` ({}) cannot be asked by {}, only by {}",
                metric.name,
                definition.name,
                step.as_str(),
                known.join(", ")
            ))
        }
        None if steps.contains(&Step::Total) => Ok(Step::Total),
        None => Ok(steps[0]),
    }
}

/// What a range must be made of, so that no value stands for a part of its period only.
pub(crate) fn whole(definition: &Definition, step: Step) -> Step {
    match (step, definition.clock) {
        (Step::Total, Clock::CohortDay | Clock::PublishDay) => Step::Day,
        (step, _) => step,
    }
}

impl Question<'_> {
    /// The query; a sentence when the cubes cannot answer it.
    pub(crate) fn statement(
        &self,
        views: &BTreeMap<String, View>,
        calendar: &Calendar,
    ) -> Result<Statement, String> {
        let Self { metric, definition, step, range, .. } = self;
        let view = views.get(&definition.cube).ok_or_else(|| {
            format!("`{}` reads the cube `{}`, which there is not", metric.name, definition.cube)
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
        Ok(Statement { sql, parameters, dimensions })
    }

    /// The dimensions asked for, without those that are there anyway.
    fn by(&self, view: &View) -> Result<Vec<String>, String> {
        let known = dimensions(self.definition, view);
        let mut by: Vec<String> = Vec::new();
        for name in &self.by {
            if self.definition.each.contains(name) || by.contains(name) {
                continue;
            }
            if !known.contains(name) {
                return Err(format!(
                    "`{}` ({}) cannot be split by `{name}`, the nearest is `{}`; it can by {}",
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

    /// The widest pane that fits the range and the step: it has the fewest rows.
    fn pane(&self, view: &View, by_hour: bool) -> Result<Pane, String> {
        let begins = [&self.range.from, &self.range.to];
        let at_midnight = begins.iter().all(|at| at.start_of_day().is_ok_and(|midnight| midnight == **at));
        let fits = |pane: Pane| match pane.seconds() {
            None => at_midnight && !by_hour && !matches!(self.step, Step::Minute | Step::Hour),
            Some(seconds) => {
                let whole = begins.iter().all(|at| at.timestamp().as_second() % i64::from(seconds) == 0);
                whole && (self.step != Step::Minute || seconds <= 60)
            }
        };
        view.panes.iter().copied().find(|&pane| fits(pane)).ok_or_else(|| {
            let panes: Vec<&str> = view.panes.iter().map(|pane| pane.as_str()).collect();
            format!(
                "the cube `{}` has panes of {} only: choose a wider --step, or whole days for --from and --to",
                self.definition.cube,
                panes.join(", ")
            )
        })
    }

    fn range_condition(&self) -> String {
        let mut condition = match self.definition.clock {
            Clock::Bucket => "pane = {pane:String} AND bucket >= toDateTime({from:UInt32}, 'UTC') \
                              AND bucket < toDateTime({to:UInt32}, 'UTC')"
                .to_owned(),
            // A cohort has no events before its day.
            Clock::CohortDay => "pane = {pane:String} AND cohort_day >= {from_day:String} \
                                 AND cohort_day < {to_day:String} AND bucket >= toDateTime({from:UInt32}, 'UTC')"
                .to_owned(),
            Clock::PublishDay => "pane = {pane:String} AND publish_day >= {from_day:String} \
                                  AND publish_day < {to_day:String}"
                .to_owned(),
        };
        if self.app.is_some() {
            condition.push_str(" AND app_id = {app:String}");
        }
        condition
    }
}

/// The period a row belongs to, as text: its begin in the business time zone.
fn time(clock: Clock, step: Step) -> String {
    let column = clock.column();
    match (clock, step) {
        (_, Step::Total) => "''".into(),
        (Clock::Bucket, Step::Minute) => "formatDateTime(bucket, '%Y-%m-%d %H:%i', {timezone:String})".into(),
        (Clock::Bucket, Step::Hour) => "formatDateTime(bucket, '%Y-%m-%d %H:00', {timezone:String})".into(),
        (Clock::Bucket, Step::Day) => "toString(toDate(bucket, {timezone:String}))".into(),
        (Clock::Bucket, Step::Week) => "toString(toMonday(toDate(bucket, {timezone:String})))".into(),
        (Clock::Bucket, Step::Month) => "toString(toStartOfMonth(toDate(bucket, {timezone:String})))".into(),
        (_, Step::Week) => format!("toString(toMonday(toDateOrNull({column})))"),
        (_, Step::Month) => format!("toString(toStartOfMonth(toDateOrNull({column})))"),
        (_, Step::Minute | Step::Hour | Step::Day) => format!("toString({column})"),
    }
}

fn quoted(name: &str) -> String {
    aggregate::table::quoted(name)
}
