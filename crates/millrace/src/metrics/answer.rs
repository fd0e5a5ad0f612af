//! Asks ClickHouse and gives rows back.
use std::{collections::BTreeMap, time::Duration};

use aggregate::{Cubes, server};
use clickhouse::Client;
use runtime::config::Settings;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{
    Metric,
    cubes::{self, View},
    period::{Calendar, Step},
    statement::{Question, Statement},
};
use crate::error::Error;

/// A question over years may take a while; a server that is gone must not hold up a terminal.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// One value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    /// Begin of the period in the business time zone; '' for the whole range.
    pub(crate) time: String,
    /// The dimensions, in the answer's order.
    #[serde(skip)]
    pub(crate) key: Vec<String>,
    #[serde(flatten)]
    pub(crate) named: Map<String, Value>,
    /// None where it is not known.
    #[serde(serialize_with = "plain")]
    pub(crate) value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) high: Option<f64>,
}

/// A whole number without a point behind it.
fn plain<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        // Beyond it a number with a point cannot tell neighbours apart.
        Some(value) if value.fract() == 0.0 && value.abs() < 9e15 => serializer.serialize_i64(*value as i64),
        value => value.serialize(serializer),
    }
}

/// The rows of a question, by time and then by dimensions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) dimensions: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// ClickHouse and the cubes it has.
pub(crate) struct Source {
    client: Client,
    settings: Settings,
    pub(crate) views: BTreeMap<String, View>,
}

impl Source {
    pub(crate) fn new(settings: &Settings, cubes: &Cubes) -> Self {
        Self {
            client: server::client(settings).with_database(&settings.clickhouse.database),
            settings: settings.clone(),
            views: cubes::views(cubes),
        }
    }

    /// Asks one question.
    pub(crate) async fn ask(&self, question: &Question<'_>, calendar: &Calendar) -> Result<Answer, Error> {
        let statement = question.statement(&self.views, calendar).map_err(Error::Usage)?;
        let lines = tokio::time::timeout(ANSWER_TIMEOUT, self.fetch(&statement))
            .await
            .unwrap_or(Err(clickhouse::error::Error::TimedOut))
            .map_err(|answer| server::stop(&self.settings, &question.definition.cube, &answer))?;
        let mut rows = Vec::new();
        for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            rows.push(row(question.metric, &statement, line)?);
        }
        Ok(Answer { dimensions: statement.dimensions, rows })
    }

    async fn fetch(&self, statement: &Statement) -> Result<Vec<u8>, clickhouse::error::Error> {
        let mut query = self.client.query_raw(&statement.sql);
        for (name, value) in &statement.parameters {
            query = query.param(name, value);
        }
        // Numbers as numbers, whatever the server's habit.
        query = query.with_setting("output_format_json_quote_64bit_integers", "0");
        let mut cursor = query.fetch_bytes("JSONEachRow")?;
        let mut lines = Vec::new();
        while let Some(bytes) = cursor.next().await? {
            lines.extend_from_slice(&bytes);
        }
        Ok(lines)
    }
}

fn row(metric: &Metric, statement: &Statement, line: &[u8]) -> Result<Row, Error> {
    let unreadable = |problem: &str| {
        let said = String::from_utf8_lossy(line);
        Error::Failed(format!("metric `{}`: clickhouse answered {said}: {problem}", metric.name))
    };
    let fields: Map<String, Value> =
        serde_json::from_slice(line).map_err(|error| unreadable(&error.to_string()))?;
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let number = |name: &str| fields.get(name).and_then(Value::as_f64);
    if !fields.contains_key("value") {
        return Err(unreadable("it has no value"));
    }
    let mut key = Vec::with_capacity(statement.dimensions.len());
    let mut named = Map::new();
    for name in &statement.dimensions {
        key.push(text(name).ok_or_else(|| unreadable(&format!("it has no {name}")))?);
        named.insert(name.clone(), fields[name].clone());
    }
    Ok(Row {
        time: text("time").ok_or_else(|| unreadable("it has no time"))?,
        key,
        named,
        value: number("value"),
        low: number("low"),
        high: number("high"),
    })
}

/// The rows of each combination of dimensions, in the order of their times.
pub(crate) fn series(answer: &Answer) -> BTreeMap<&[String], Vec<&Row>> {
    let mut series: BTreeMap<&[String], Vec<&Row>> = BTreeMap::new();
    for row in &answer.rows {
        series.entry(&row.key).or_default().push(row);
    }
    series
}

/// The periods of a question as they stand in the rows, in order.
pub(crate) fn times(question: &Question<'_>) -> Result<Vec<String>, Error> {
    let step = question.step;
    let format = match step {
        Step::Total => return Ok(vec![String::new()]),
        Step::Minute => "%Y-%m-%d %H:%M",
        Step::Hour => "%Y-%m-%d %H:00",
        Step::Day | Step::Week | Step::Month => "%Y-%m-%d",
    };
    let mut times = Vec::new();
    let mut at = question.range.from.clone();
    while at < question.range.to {
        times.push(at.strftime(format).to_string());
        at = super::period::next(&at, step)
            .map_err(|error| Error::Usage(format!("the range leaves the calendar: {error}")))?;
    }
    Ok(times)
}
