//! Runs metric queries on ClickHouse.
use std::{collections::BTreeMap, time::Duration};

use aggregate::{Cubes, server};
use clickhouse::Client;
use runtime::config::Settings;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{
    catalogue::Metric,
    period::{BusinessCalendar, TimeStep},
    query::{MetricQuery, SqlStatement},
    views::{self, CubeView},
};
use crate::error::Error;

/// Enough for a query over years. Without it a frozen server blocks the terminal.
const QUERY_TIMEOUT: Duration = Duration::from_secs(120);

/// One value of a metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MetricRow {
    /// Start of the period in the business time zone; '' for the whole range.
    pub(crate) time: String,
    /// The values of the dimensions, in the order of [`MetricValues::dimensions`].
    #[serde(skip)]
    pub(crate) key: Vec<String>,
    #[serde(flatten)]
    pub(crate) named: Map<String, Value>,
    /// None when it is unknown.
    #[serde(serialize_with = "plain")]
    pub(crate) value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) high: Option<f64>,
}

/// Writes a whole number without a decimal point.
fn plain<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        // A larger f64 is not exact.
        Some(value) if value.fract() == 0.0 && value.abs() < 9e15 => serializer.serialize_i64(*value as i64),
        value => value.serialize(serializer),
    }
}

/// The result of a query, ordered by time and then by dimensions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MetricValues {
    pub(crate) dimensions: Vec<String>,
    pub(crate) rows: Vec<MetricRow>,
}

/// Runs queries. Holds the views that they can read.
pub(crate) struct MetricClient {
    client: Client,
    settings: Settings,
    pub(crate) views: BTreeMap<String, CubeView>,
}

impl MetricClient {
    pub(crate) fn new(settings: &Settings, cubes: &Cubes) -> Self {
        Self {
            client: server::client(settings).with_database(&settings.clickhouse.database),
            settings: settings.clone(),
            views: views::views(cubes),
        }
    }

    /// Runs one query.
    pub(crate) async fn run(
        &self,
        query: &MetricQuery<'_>,
        calendar: &BusinessCalendar,
    ) -> Result<MetricValues, Error> {
        let statement = query.statement(&self.views, calendar).map_err(Error::Usage)?;
        let lines = tokio::time::timeout(QUERY_TIMEOUT, self.fetch(&query.metric.name, &statement))
            .await
            .unwrap_or(Err(clickhouse::error::Error::TimedOut))
            .map_err(|error| server::failed(&self.settings, &query.definition.cube, &error))?;
        let mut rows = Vec::new();
        for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            rows.push(row(query.metric, &statement, line)?);
        }
        Ok(MetricValues { dimensions: statement.dimensions, rows })
    }

    async fn fetch(
        &self,
        metric: &str,
        statement: &SqlStatement,
    ) -> Result<Vec<u8>, clickhouse::error::Error> {
        // `millrace audit` shows it.
        let comment = format!("metric {metric}");
        let mut query = self.client.query_raw(&statement.sql).with_setting("log_comment", &comment);
        for (name, value) in &statement.parameters {
            query = query.param(name, value);
        }
        // 64-bit numbers as JSON numbers, whatever the server's default is.
        query = query.with_setting("output_format_json_quote_64bit_integers", "0");
        let mut cursor = query.fetch_bytes("JSONEachRow")?;
        let mut lines = Vec::new();
        while let Some(bytes) = cursor.next().await? {
            lines.extend_from_slice(&bytes);
        }
        Ok(lines)
    }
}

fn row(metric: &Metric, statement: &SqlStatement, line: &[u8]) -> Result<MetricRow, Error> {
    let unreadable = |problem: &str| {
        let text = String::from_utf8_lossy(line);
        Error::Failed(format!("metric `{}`: clickhouse returned {text}: {problem}", metric.name))
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
    Ok(MetricRow {
        time: text("time").ok_or_else(|| unreadable("it has no time"))?,
        key,
        named,
        value: number("value"),
        low: number("low"),
        high: number("high"),
    })
}

/// The rows of each combination of dimensions, in the order of their times.
pub(crate) fn series(values: &MetricValues) -> BTreeMap<&[String], Vec<&MetricRow>> {
    let mut series: BTreeMap<&[String], Vec<&MetricRow>> = BTreeMap::new();
    for row in &values.rows {
        series.entry(&row.key).or_default().push(row);
    }
    series
}

/// The periods of a query, as in [`MetricRow::time`], in order.
pub(crate) fn times(query: &MetricQuery<'_>) -> Result<Vec<String>, Error> {
    let step = query.step;
    let format = match step {
        TimeStep::Total => return Ok(vec![String::new()]),
        TimeStep::Minute => "%Y-%m-%d %H:%M",
        TimeStep::Hour => "%Y-%m-%d %H:00",
        TimeStep::Day | TimeStep::Week | TimeStep::Month => "%Y-%m-%d",
    };
    let mut times = Vec::new();
    let mut at = query.range.from.clone();
    while at < query.range.to {
        times.push(at.strftime(format).to_string());
        at = super::period::next(&at, step)
            .map_err(|error| Error::Usage(format!("the range is outside the calendar: {error}")))?;
    }
    Ok(times)
}
