//! Reads dimensions and measures of a cube.
use event::{
    FieldKind,
    predicate::{self, PropertyPath, Where, described},
};
use serde::Deserialize;

use super::definition::{AggregateFunction, Dimension, Explode, Filter, Measure, ValueSource};
use super::problem::noted;
use super::{check, filter};

/// Reads a dimension: `"platform"`, or `{ name = "cohort_day", field = "first_seen_day" }`.
pub(super) fn dimension(written: &toml::Value, explode: Option<&Explode>) -> Result<Dimension, String> {
    const SHAPE: &str = "is neither the name of a field nor { name = \"column\", field = \"field\" }";
    let (name, field) = match written {
        toml::Value::String(field) => (None, field.as_str()),
        toml::Value::Table(table) => {
            let text = |key: &str| table.get(key).and_then(toml::Value::as_str);
            match (text("name"), text("field")) {
                (Some(name), Some(field)) if table.len() == 2 => (Some(name), field),
                _ => return Err(format!("dimension {written} {SHAPE}")),
            }
        }
        _ => return Err(format!("dimension {written} {SHAPE}")),
    };
    let dimension = match explode.and_then(|explode| explode.half(field)) {
        Some(half) => Dimension { name: name.unwrap_or(field).to_owned(), source: ValueSource::Entry(half) },
        None => {
            let source = source(field)?;
            if let ValueSource::Field(field) = source
                && field.kind() != FieldKind::Text
            {
                let kind = described(field.kind());
                let explode = match field.kind() {
                    FieldKind::List | FieldKind::Map => "; `explode` counts its entries one by one",
                    _ => "",
                };
                return Err(format!("dimension `{}` is {kind}, dimensions are texts{explode}", field.name()));
            }
            Dimension { name: name.map_or_else(|| column_of(field), str::to_owned), source }
        }
    };
    check::name("dimension", &dimension.name).map_err(|problem| {
        if name.is_some() {
            problem
        } else {
            format!("{problem}; write {{ name = \"column\", field = \"{field}\" }}")
        }
    })?;
    Ok(dimension)
}

/// The column of `properties.a.b` is `properties_a_b`.
fn column_of(field: &str) -> String {
    field.replace('.', "_")
}

fn source(name: &str) -> Result<ValueSource, String> {
    match PropertyPath::parse(name) {
        Some(path) => path.map(ValueSource::Property),
        None => predicate::field_called(name).map(ValueSource::Field),
    }
}

/// Keys of functions that cannot be computed from partial sums, and what to write instead.
const NOT_ADDITIVE: &[(&[&str], &str)] = &[
    (
        &["avg", "average", "mean", "ratio", "rate", "share", "percent"],
        "cannot be added up over rows: write the sum and the count as two measures and divide in the query",
    ),
    (
        &["median", "percentile", "quantile", "p95", "p99", "stddev", "variance"],
        "cannot be added up over rows: count the events of each range with a `where` such as { gte = 100, lt = 200 }",
    ),
    (
        &["min", "max", "first", "last", "any"],
        "is not a sum: make the value a dimension, or query the lane `events`, which keeps every event",
    ),
    (
        &["distinct", "count_distinct", "uniq_exact", "unique"],
        "cannot be added up over rows: write uniq = \"field\", a sketch that can be merged",
    ),
];
const MEASURE_KEYS: &[&str] = &["name", "count", "sum", "uniq", "where"];

/// Reads a measure.
pub(super) fn measure(
    written: &toml::Table,
    explode: Option<&Explode>,
    problems: &mut Vec<String>,
) -> Option<Measure> {
    let text = |key: &str| written.get(key).and_then(toml::Value::as_str);
    let shown = text("name").or(text("sum")).or(text("uniq")).unwrap_or_default().to_owned();
    let before = problems.len();
    let in_context = |problem: String| format!("measure `{shown}`: {problem}");
    for key in written.keys().filter(|key| !MEASURE_KEYS.contains(&key.as_str())) {
        problems.push(in_context(unknown_key(key)));
    }
    let function = if problems.len() > before {
        None
    } else {
        noted(function(written, explode).map_err(in_context), problems)
    };
    let name = text("name").map(str::to_owned).or_else(|| text("sum").map(column_of));
    match &name {
        Some(name) => {
            noted(check::name("the measure", name), problems);
        }
        None => problems.push(in_context("it needs a `name`".into())),
    }
    let mut found = Vec::new();
    let filter = match written.get("where").map(|value| Where::deserialize(value.clone())) {
        None => Filter::default(),
        Some(Ok(written)) => filter::filter(&written, explode, &mut found),
        Some(Err(_)) => {
            found.push("`where` is a table such as { platform = \"web\" }".into());
            Filter::default()
        }
    };
    problems.extend(found.into_iter().map(in_context));
    Some(Measure { name: name?, function: function?, filter })
}

fn unknown_key(key: &str) -> String {
    if let Some((_, advice)) = NOT_ADDITIVE.iter().find(|(names, _)| names.contains(&key)) {
        return format!("`{key}` {advice}");
    }
    let near = |one: &&&str| (strsim::jaro_winkler(one, key) * 1e6) as i64;
    let nearest = MEASURE_KEYS.iter().max_by_key(near).copied().unwrap_or_default();
    format!("there is no key `{key}`, the nearest is `{nearest}`")
}

fn function(written: &toml::Table, explode: Option<&Explode>) -> Result<AggregateFunction, String> {
    const SHAPE: &str = "it takes exactly one of count = true, sum = \"field\", uniq = \"field\"";
    let functions = ["count", "sum", "uniq"].map(|key| written.get(key));
    match functions {
        [Some(toml::Value::Boolean(true)), None, None] => Ok(AggregateFunction::Count),
        [None, Some(toml::Value::String(name)), None] => {
            source_of_kind(name, &[FieldKind::Number], "sum", explode).map(AggregateFunction::Sum)
        }
        [None, None, Some(toml::Value::String(name))] => {
            source_of_kind(name, &[FieldKind::Key, FieldKind::Text], "uniq", explode)
                .map(AggregateFunction::Uniq)
        }
        _ => Err(SHAPE.into()),
    }
}

fn source_of_kind(
    name: &str,
    kinds: &[FieldKind],
    verb: &str,
    explode: Option<&Explode>,
) -> Result<ValueSource, String> {
    if explode.is_some_and(|explode| explode.half(name).is_some()) {
        return Err(format!(
            "`{name}` is exploded: each of its values has rows of its own, so `{verb}` over it has no meaning; use `count`, or \
             leave `explode` out"
        ));
    }
    let source = source(name)?;
    let ValueSource::Field(field) = source else { return Ok(source) };
    if kinds.contains(&field.kind()) {
        return Ok(source);
    }
    let wanted: Vec<&str> = kinds.iter().map(|&kind| described(kind)).collect();
    Err(format!("`{name}` is {}, `{verb}` takes {}", described(field.kind()), wanted.join(" or ")))
}
