//! Queries every metric with `millrace metrics` and compares each answer with the reference.

use std::collections::{BTreeMap, BTreeSet};

use devstack::pipeline::Pipeline;
use serde_json::Value as Json;

use crate::Error;
use crate::reference::{
    Reference, day,
    metric_query::{MetricAnswer, MetricQuery, MetricValue, Period},
    metrics::answer,
};

/// Largest relative error of an estimate; ratios of two estimates have twice as much.
const SKETCH_ERROR: f64 = 0.03;
/// Rounding error of sums of fractions.
const ROUNDING: f64 = 1e-9;

/// Name and definition of a metric.
pub type Name = (String, String);

/// Every metric of `millrace metrics list`, in each of its definitions.
///
/// # Errors
/// The command fails, or does not print what is expected.
pub fn list(pipeline: &Pipeline) -> Result<Vec<Name>, Error> {
    let printed = json(&pipeline.millrace(&["metrics", "list", "--json"])?)?;
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let names = |metric: &Json| {
        let definitions = metric["definitions"].as_array().cloned().unwrap_or_default();
        let named: Vec<Name> =
            definitions.iter().map(|definition| (text(&metric["name"]), text(definition))).collect();
        named
    };
    Ok(printed.as_array().into_iter().flatten().flat_map(names).collect())
}

/// The differences between one answer and the reference, as sentences, and the number of values compared.
///
/// # Errors
/// The command fails, or does not print what is expected.
pub fn differences(
    pipeline: &Pipeline,
    (name, definition): &Name,
    step: Option<&str>,
    reference: &Reference,
    query: &MetricQuery,
) -> Result<(Vec<String>, usize), Error> {
    let now = jiff::Timestamp::from_millisecond(query.now).unwrap_or_default().to_string();
    let (from, to) = (day::written(query.from), day::written(query.to));
    let mut args = vec!["metrics", "query", name, "--definition", definition, "--json"];
    args.extend(["--from", &from, "--to", &to, "--at", &now]);
    args.extend(step.into_iter().flat_map(|step| ["--step", step]));
    let printed = json(&pipeline.millrace(&args)?)?;
    let step = match printed["step"].as_str() {
        Some("day") => Period::Day,
        Some("week") => Period::Week,
        Some("month") => Period::Month,
        _ => Period::Total,
    };
    let what = format!("{name} ({definition}) by {step:?}");
    let Some(expected) = answer(reference, name, definition, &MetricQuery { step, ..*query }) else {
        return Ok((vec![format!("{what}: the reference does not have this metric")], 0));
    };
    let differ = unequal(&what, &rows(&printed), &expected);
    Ok((differ, expected.rows.len()))
}

type Rows = BTreeMap<(String, Vec<String>), MetricValue>;

fn unequal(what: &str, found: &Rows, expected: &MetricAnswer) -> Vec<String> {
    let keys: BTreeSet<_> = found.keys().chain(expected.rows.keys()).collect();
    let differs = |key: &&(String, Vec<String>)| {
        let [found, expected_value] = [found, &expected.rows].map(|rows| rows.get(*key));
        !are_near(found, expected_value, expected)
    };
    let describe = |key: &(String, Vec<String>)| {
        format!("{what} {key:?}: pipeline {:?}, reference {:?}", found.get(key), expected.rows.get(key))
    };
    keys.into_iter().filter(differs).map(describe).collect()
}

fn are_near(found: Option<&MetricValue>, expected: Option<&MetricValue>, answer: &MetricAnswer) -> bool {
    let (found, expected) = match (found, expected) {
        (Some(found), Some(expected)) => (found, expected),
        // A period with events, of which none counts: the pipeline has a row of 0, the reference none. The first and the
        // last day are such periods when a run begins shortly before or after midnight.
        (Some(only), None) | (None, Some(only)) => return only.value == Some(0.0) && only.interval.is_none(),
        (None, None) => return true,
    };
    // A lift is a ratio minus one; the sketches estimate the ratio.
    let shift = if expected.interval.is_some() { 1.0 } else { 0.0 };
    let near = |found: f64, expected: f64| {
        let (found, expected) = (found + shift, expected + shift);
        let allowed = if answer.estimate { 2.0 * SKETCH_ERROR } else { ROUNDING };
        // A share is a ratio of two estimates: its absolute error does not shrink with the share.
        let size = if expected.abs() < 1.0 && answer.estimate { 1.0 } else { expected.abs().max(ROUNDING) };
        (found - expected).abs() <= allowed * size
    };
    let values = match (found.value, expected.value) {
        (Some(found), Some(expected)) => near(found, expected),
        (found, expected) => found == expected,
    };
    let intervals = match (found.interval, expected.interval) {
        (Some(found), Some(expected)) => near(found.0, expected.0) && near(found.1, expected.1),
        (found, expected) => found == expected,
    };
    values && intervals
}

fn rows(printed: &Json) -> Rows {
    let dimensions: Vec<&str> =
        printed["by"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let row = |row: &Json| {
        let key = dimensions.iter().map(|name| text(&row[*name])).collect();
        let interval = row["low"].as_f64().zip(row["high"].as_f64());
        ((text(&row["time"]), key), MetricValue { value: row["value"].as_f64(), interval })
    };
    printed["rows"].as_array().into_iter().flatten().map(row).collect()
}

fn json(text: &str) -> Result<Json, Error> {
    serde_json::from_str(text).map_err(|_| Error::Answer { what: text.to_owned(), wanted: "JSON" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(estimate: bool, value: Option<f64>) -> MetricAnswer {
        let value = MetricValue { value, interval: None };
        MetricAnswer { estimate, rows: BTreeMap::from([((String::new(), vec!["CNY".to_owned()]), value)]) }
    }

    #[test]
    fn an_answer_differs_by_its_number_its_null_or_its_key() {
        let printed = |rows: Json| serde_json::json!({"by": ["currency"], "rows": rows});
        let row = |currency: &str, value: Json| serde_json::json!([{"time": "", "currency": currency, "value": value}]);
        for (rows_printed, estimate, value, differ) in [
            (row("CNY", 7.into()), false, Some(7.0), 0),
            (row("CNY", 8.into()), false, Some(7.0), 1),
            (row("CNY", Json::Null), false, Some(7.0), 1),
            (row("CNY", 0.into()), false, None, 1),
            (row("CNY", Json::Null), false, None, 0),
            (row("USD", 7.into()), false, Some(7.0), 2),
            (row("CNY", 103.into()), true, Some(100.0), 0),
            (row("CNY", 107.into()), true, Some(100.0), 1),
            (serde_json::json!([]), false, Some(7.0), 1),
        ] {
            let found = rows(&printed(rows_printed.clone()));
            assert_eq!(unequal("x", &found, &expected(estimate, value)).len(), differ, "{rows_printed}");
        }
    }
}
