//! Compares every cell of every cube in ClickHouse with the reference, and formats the differences.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use crate::reference::{ReferenceEvent, cubes::MeasureTotal, cubes::ReferenceCube};
use crate::result_source::ResultSource;
use crate::{Error, reference};

/// Sketches are exact below this and then within [`SKETCH_ERROR`], a little more than three standard errors.
const EXACT_BELOW: i64 = 100;
const SKETCH_ERROR: f64 = 0.03;

/// A number of one cell that differs from the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellDifference {
    /// ReferenceCube, pane and measure.
    pub what: String,
    /// Bucket and dimensions.
    pub cell: String,
    /// The number in the pipeline.
    pub found: i64,
    /// The number in the reference.
    pub expected: i64,
    /// IDs of some of the events that the reference counts in the cell.
    pub events: Vec<String>,
}

impl fmt::Display for CellDifference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, cell, found, expected, events } = self;
        write!(out, "{what} [{cell}]: pipeline {found}, reference {expected}")?;
        if events.is_empty() { Ok(()) } else { write!(out, ", of events {}", events.join(", ")) }
    }
}

/// The differences of two tables of numbers. A missing number is 0.
pub fn differences<K: Ord + fmt::Debug>(
    what: &str,
    found: &BTreeMap<K, i64>,
    expected: &BTreeMap<K, i64>,
) -> Vec<CellDifference> {
    let keys: BTreeSet<&K> = found.keys().chain(expected.keys()).collect();
    let number = |of: &BTreeMap<K, i64>, key| of.get(key).copied().unwrap_or(0);
    keys.into_iter()
        .map(|key| (key, number(found, key), number(expected, key)))
        .filter(|(_, found, expected)| found != expected)
        .map(|(key, found, expected)| {
            let cell = format!("{key:?}");
            CellDifference { what: what.to_owned(), cell, found, expected, events: Vec::new() }
        })
        .collect()
}

/// Differences of one cube in one pane, and the number of cells compared.
///
/// # Errors
/// ClickHouse does not respond, or not with cells.
pub fn of_cube(
    source: ResultSource<'_>,
    cube: &ReferenceCube,
    pane: &str,
    events: &[ReferenceEvent],
) -> Result<(Vec<CellDifference>, usize), Error> {
    let expected = cube.cells(pane, events);
    let found = cells_of(source, cube, pane)?;
    let mut all = Vec::new();
    let nothing = vec![0; cube.measures.len()];
    let keys: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    for key in keys {
        let found = found.get(key).unwrap_or(&nothing);
        for (at, measure) in cube.measures.iter().enumerate() {
            let total = expected.get(key).map(|totals| &totals[at]);
            let number = total.map_or(0, MeasureTotal::value);
            if is_near(found[at], number, measure.ends_with('~')) {
                continue;
            }
            // The report shows only some differences.
            let events = if all.len() < 20 { events_of_cell(cube, pane, key, events) } else { Vec::new() };
            let what = format!("{} {pane} {measure}", cube.name);
            all.push(CellDifference {
                what,
                cell: readable(key),
                found: found[at],
                expected: number,
                events,
            });
        }
    }
    Ok((all, expected.len()))
}

fn is_near(found: i64, expected: i64, is_sketch: bool) -> bool {
    let allowed = if is_sketch && expected >= EXACT_BELOW { expected as f64 * SKETCH_ERROR } else { 0.0 };
    (found - expected).abs() as f64 <= allowed
}

fn events_of_cell(cube: &ReferenceCube, pane: &str, key: &str, events: &[ReferenceEvent]) -> Vec<String> {
    let events = cube.events_of_cell(pane, key, events).into_iter();
    events.take(3).map(|event| event.text("event_id").to_owned()).collect()
}

/// The bucket as a time, then the dimensions.
fn readable(key: &str) -> String {
    let (bucket, dimensions) = key.split_once('\t').unwrap_or((key, ""));
    let seconds = bucket.parse().ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let time = seconds.map_or_else(|| bucket.to_owned(), |time| time.to_string());
    format!("{time} · {}", dimensions.replace('\t', " · "))
}

fn cells_of(
    source: ResultSource<'_>,
    cube: &ReferenceCube,
    pane: &str,
) -> Result<BTreeMap<String, Vec<i64>>, Error> {
    let keys = format!("toUnixTimestamp(bucket), {}", cube.dimensions.join(", "));
    let measure = |name: &&str| match name.strip_suffix('~') {
        Some(name) => format!("uniqCombined64Merge(14)({name})"),
        None => format!("sum({name})"),
    };
    let measures = cube.measures.iter().map(measure).collect::<Vec<_>>().join(", ");
    // The cells of dead letters are split by code, which is not in the reference.
    let where_ = if cube.name == "quality" { "AND kind != 'dead_letter'" } else { "" };
    let sql = format!(
        "SELECT {keys}, {measures} FROM {}.{} WHERE pane = '{pane}' {where_} GROUP BY {keys} FORMAT TSVRaw",
        source.pipeline, cube.name
    );
    let mut cells = BTreeMap::new();
    rows(source, &sql, |line| {
        let wrong = || Error::Answer { what: line.to_owned(), wanted: "a cell and its numbers" };
        let mut columns: Vec<&str> = line.split('\t').collect();
        let split = columns.len().checked_sub(cube.measures.len()).ok_or_else(wrong)?;
        let numbers = columns.split_off(split).into_iter().map(str::parse);
        let numbers = numbers.collect::<Result<Vec<i64>, _>>().map_err(|_| wrong())?;
        cells.insert(columns.join("\t"), numbers);
        Ok(())
    })?;
    Ok(cells)
}

/// A table of integers: the last column by the others.
///
/// # Errors
/// ClickHouse does not respond, or not with numbers.
pub fn numbers(source: ResultSource<'_>, sql: &str) -> Result<BTreeMap<Vec<i64>, i64>, Error> {
    let mut found = BTreeMap::new();
    rows(source, &format!("{sql} FORMAT TSVRaw"), |line| {
        let numbers = line.split('\t').map(str::parse).collect::<Result<Vec<i64>, _>>();
        let mut key = numbers.map_err(|_| Error::Answer { what: line.to_owned(), wanted: "numbers" })?;
        let number = key.pop().unwrap_or_default();
        if number != 0 {
            found.insert(key, number);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Reads a result line by line: it may be hundreds of megabytes.
fn rows(
    source: ResultSource<'_>,
    sql: &str,
    mut each: impl FnMut(&str) -> Result<(), Error>,
) -> Result<(), Error> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(180)))
        .build();
    let sent = ureq::Agent::from(config).post(source.clickhouse_url).send(sql);
    let mut response =
        sent.map_err(|error| Error::Answer { what: error.to_string(), wanted: "a response" })?;
    let is_success = response.status().is_success();
    let mut reader = BufReader::new(response.body_mut().as_reader());
    let mut line = String::new();
    let failed = |source| Error::System { doing: "reading clickhouse's response", source };
    while reader.read_line(&mut line).map_err(failed)? > 0 {
        if !is_success {
            return Err(Error::Answer { what: format!("{}: {sql}", line.trim()), wanted: "a result" });
        }
        each(line.trim_end_matches('\n'))?;
        line.clear();
    }
    Ok(())
}

/// The number of differences by cube, pane and measure, and twenty of them.
pub fn report(differences: &[CellDifference]) -> String {
    let mut by_what: BTreeMap<&str, Vec<&CellDifference>> = BTreeMap::new();
    differences.iter().for_each(|difference| by_what.entry(&difference.what).or_default().push(difference));
    let counts: Vec<String> =
        by_what.iter().map(|(what, all)| format!("  {} of {what}", all.len())).collect();
    let few = 20_usize.div_ceil(by_what.len().max(1));
    let first = by_what.values().flat_map(|all| all.iter().take(few)).take(20);
    let first: Vec<String> = first.map(|difference| format!("  {difference}")).collect();
    format!("{} numbers differ:\n{}\nsuch as\n{}", differences.len(), counts.join("\n"), first.join("\n"))
}

/// The business day of a bucket, as the reference counts days.
pub const DAY: &str = "toInt64(toDate(toTimeZone(bucket, 'Asia/Shanghai')))";

/// Differences of active devices, new devices and retention, for every definition.
///
/// # Errors
/// ClickHouse does not respond.
pub fn of_devices(
    source: ResultSource<'_>,
    reference: &reference::Reference,
) -> Result<Vec<CellDifference>, Error> {
    let one =
        |of: BTreeMap<i64, u64>| of.into_iter().map(|(key, number)| (vec![key], number as i64)).collect();
    let database = source.pipeline;
    let mut all = Vec::new();
    let sql = format!(
        "SELECT {DAY} AS day, sum(new_devices) FROM {database}.audience WHERE pane = '1d' GROUP BY day"
    );
    all.extend(differences("new devices", &numbers(source, &sql)?, &one(reference.new_devices())));
    for definition in ["any", "login", "core_flow"] {
        for (name, measure, key, period) in [
            ("daily", "active_day_devices", "d", (|day| day) as fn(i64) -> i64),
            ("weekly", "active_week_devices", "intDiv(d + 3, 7)", reference::day::week_of),
            (
                "monthly",
                "active_month_devices",
                "toYear(toDate(d)) * 12 + toMonth(toDate(d)) - 1",
                reference::day::month_of,
            ),
        ] {
            let sql = format!(
                "WITH {DAY} AS d SELECT {key} AS period, sum({measure}) FROM {database}.audience \
                 WHERE pane = '1d' AND active_definition = '{definition}' GROUP BY period"
            );
            let expected = one(reference.active_devices(definition, period));
            all.extend(differences(
                &format!("{name} active devices ({definition})"),
                &numbers(source, &sql)?,
                &expected,
            ));
        }
        let sql = format!(
            "SELECT toInt64(toDate(cohort_day)) AS cohort, {DAY} AS day, sum(active_devices) FROM {database}.retention \
             WHERE pane = '1d' AND active_definition = '{definition}' GROUP BY cohort, day"
        );
        let expected = reference.retained(definition).into_iter();
        let expected = expected.map(|((cohort, day), number)| (vec![cohort, day], number as i64)).collect();
        all.extend(differences(&format!("retention ({definition})"), &numbers(source, &sql)?, &expected));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_must_be_exact_and_a_sketch_near() {
        for (found, expected, is_sketch, near) in [
            (100, 100, false, true),
            (101, 100, false, false),
            (99, 98, true, false),
            (103, 100, true, true),
            (104, 100, true, false),
        ] {
            assert_eq!(is_near(found, expected, is_sketch), near, "{found} {expected}");
        }
    }

    #[test]
    fn a_difference_has_its_cell_and_both_numbers() {
        let table = |of: &[(i64, i64)]| of.iter().copied().collect::<BTreeMap<_, _>>();
        let found = differences("days", &table(&[(1, 2), (2, 2)]), &table(&[(2, 2), (3, -1)]));
        let texts: Vec<String> = found.iter().map(CellDifference::to_string).collect();
        assert_eq!(texts, ["days [1]: pipeline 2, reference 0", "days [3]: pipeline 0, reference -1"]);
        assert_eq!(readable("1772380800\ta\tb"), "2026-03-01T16:00:00Z · a · b");
    }
}
