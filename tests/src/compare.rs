//! Compares every cube cell and every dead letter with the simulator's truth.

use std::{collections::BTreeMap, fmt};

use devstack::{Totals, pipeline::Pipeline, query};
use rdkafka::{Message, message::Headers};
use simulator::{Truth, payload_hash};

use crate::{Error, hostile::APP, raw, result_source::ResultSource, stack};

/// A number that differs from the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Cube and pane, or what else is counted.
    pub what: String,
    /// Its dimensions, separated by tabs.
    pub cell: String,
    /// The number in the pipeline.
    pub found: u64,
    /// The number in the truth.
    pub expected: u64,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, cell, found, expected } = self;
        let cell = cell.replace('\t', " · ");
        write!(
            out,
            "{what} [{cell}]: found {found}, expected {expected} ({:+})",
            i128::from(*found) - i128::from(*expected)
        )
    }
}

/// Every number that differs from the truth, sums first.
///
/// # Errors
/// ClickHouse or Kafka does not respond.
pub fn differences(source: ResultSource<'_>, truth: &Truth) -> Result<Vec<Difference>, Error> {
    let mut all = ledger(source, truth)?;
    for pane in ["10s", "60s"] {
        all.extend(traffic(source, truth, pane)?);
        all.extend(activity(source, truth, pane)?);
        all.extend(quality(source, truth, pane)?);
    }
    all.extend(dead_letter_rows(source, truth)?);
    all.extend(dead_letter_messages(source, truth)?);
    Ok(all)
}

/// Fails with the first cells that differ.
pub fn assert_equal_to_truth(pipeline: &Pipeline, truth: &Truth) {
    for (cube, is_empty) in [("traffic", truth.traffic.is_empty()), ("activity", truth.activity.is_empty())] {
        assert!(!is_empty, "the truth of {cube} is empty, so nothing was compared");
    }
    assert_none(&differences(here(pipeline), truth).unwrap());
}

/// Compares `traffic` minute by minute. Only for events that all keep the time of their client.
pub fn assert_minutes(pipeline: &Pipeline, truth: &Truth) {
    let key = "toUnixTimestamp(bucket), app_id, platform, event_name, channel_group";
    let expected = truth.traffic_minutes.iter().map(|c| {
        let bucket = c.bucket.to_string();
        (row(&[&bucket, &c.app_id, &c.platform, &c.event_name, &c.channel_group]), c.events)
    });
    let expected: Cells = expected.collect();
    assert!(!expected.is_empty(), "the truth of minutes is empty, so nothing was compared");
    let found = cells(here(pipeline), "traffic", key, "sum(events)", "60s").unwrap();
    assert_none(&unequal("traffic by minute", &found, &expected));
}

/// Compares every dead letter in Kafka by code and bytes.
pub fn assert_dead_letters(pipeline: &Pipeline, truth: &Truth) {
    assert!(!truth.dead_letters.is_empty(), "the truth has no dead letters, so nothing was compared");
    assert_none(&dead_letter_messages(here(pipeline), truth).unwrap());
}

fn assert_none(differences: &[Difference]) {
    let first: Vec<String> = differences.iter().take(10).map(Difference::to_string).collect();
    assert!(
        differences.is_empty(),
        "{} numbers differ from the truth, such as:\n{}",
        differences.len(),
        first.join("\n")
    );
}

fn here(pipeline: &Pipeline) -> ResultSource<'_> {
    ResultSource {
        brokers: stack().brokers(),
        clickhouse_url: stack().clickhouse_url(),
        pipeline: pipeline.name(),
    }
}

type Cells = BTreeMap<String, u64>;

fn ledger(source: ResultSource<'_>, truth: &Truth) -> Result<Vec<Difference>, Error> {
    let totals = Totals::read(source.clickhouse_url, source.pipeline)?;
    let counts = &truth.counts;
    let lines = [
        ("sent", totals.sum(), counts.sent),
        ("stored", totals.stored, counts.accepted + counts.tests + counts.bots),
        ("duplicates", totals.duplicates, counts.duplicates),
        ("dead letters", totals.dead_letters, counts.rejected),
    ];
    let (found, expected): (Cells, Cells) = lines
        .iter()
        .map(|&(name, found, expected)| ((name.to_owned(), found), (name.to_owned(), expected)))
        .unzip();
    Ok(unequal("ledger", &found, &expected))
}

const DEVICES: &str = "uniqCombined64Merge(14)(devices)";

fn traffic(source: ResultSource<'_>, truth: &Truth, pane: &str) -> Result<Vec<Difference>, Error> {
    let key = "app_id, platform, event_name, channel_group";
    let cell = |c: &simulator::TrafficCell| row(&[&c.app_id, &c.platform, &c.event_name, &c.channel_group]);
    let expected: Cells = truth.traffic.iter().map(|c| (cell(c), c.events)).collect();
    let mut all =
        unequal(&format!("traffic {pane}"), &cells(source, "traffic", key, "sum(events)", pane)?, &expected);
    for (measure, of) in [
        ("sessions", (|c| c.sessions) as fn(&simulator::TrafficCell) -> u64),
        ("new_devices", |c| c.new_devices),
    ] {
        let expected: Cells = truth.traffic.iter().map(|c| (cell(c), of(c))).collect();
        let found = cells(source, "traffic", key, &format!("sum({measure})"), pane)?;
        all.extend(unequal(&format!("traffic {pane} {measure}"), &found, &expected));
    }
    let devices: Cells = truth.traffic.iter().map(|c| (cell(c), c.devices)).collect();
    let found = cells(source, "traffic", key, DEVICES, pane)?;
    all.extend(far_off(&format!("traffic {pane} devices"), &found, &devices));
    Ok(all)
}

fn activity(source: ResultSource<'_>, truth: &Truth, pane: &str) -> Result<Vec<Difference>, Error> {
    let key =
        "app_id, activity_id, activity_event_key, activity_type, activity_status, platform, channel_group";
    let cell = |c: &simulator::ActivityCell| {
        row(&[
            &c.app_id,
            &c.activity_id,
            &c.activity_event_key,
            &c.activity_type,
            &c.activity_status,
            &c.platform,
            &c.channel_group,
        ])
    };
    let expected: Cells = truth.activity.iter().map(|c| (cell(c), c.events)).collect();
    let mut all = unequal(
        &format!("activity {pane}"),
        &cells(source, "activity", key, "sum(events)", pane)?,
        &expected,
    );
    let devices: Cells = truth.activity.iter().map(|c| (cell(c), c.devices)).collect();
    let found = cells(source, "activity", key, DEVICES, pane)?;
    all.extend(far_off(&format!("activity {pane} devices"), &found, &devices));
    Ok(all)
}

fn quality(source: ResultSource<'_>, truth: &Truth, pane: &str) -> Result<Vec<Difference>, Error> {
    let key = "app_id, platform, library, library_version, time_source, kind";
    let expected = truth.quality.iter().map(|c| {
        let cell = row(&[&c.app_id, &c.platform, &c.library, &c.library_version, &c.time_source, &c.kind]);
        (cell, c.events)
    });
    let mut found = cells(source, "quality", key, "sum(events)", pane)?;
    // The truth has the number of rejected events, not their dimensions.
    found.retain(|cell, _| !cell.ends_with("dead_letter"));
    let mut all = unequal(&format!("quality {pane}"), &found, &expected.collect());
    // Dead letters of hostile clients are known too, by code.
    let sql = format!(
        "SELECT code, sum(events) FROM {}.quality WHERE pane = '{pane}' AND kind = 'dead_letter' GROUP BY code FORMAT TSVRaw",
        source.pipeline
    );
    let mut by_code = numbers_by_cell(source, &sql)?;
    by_code.retain(|_, &mut events| events > 0);
    all.extend(unequal(&format!("quality {pane} dead letters"), &by_code, &by_code_of(truth)));
    Ok(all)
}

fn by_code_of(truth: &Truth) -> Cells {
    truth.rejected_by_code.iter().map(|(code, &events)| (code.as_str().to_owned(), events)).collect()
}

fn dead_letter_rows(source: ResultSource<'_>, truth: &Truth) -> Result<Vec<Difference>, Error> {
    // What aggregate adds is a message that no client has sent.
    let rows = format!("{}.dead_letters WHERE stage != 'aggregate'", source.pipeline);
    let sql = format!("SELECT code, count() FROM {rows} GROUP BY code FORMAT TSVRaw");
    Ok(unequal("dead letters in clickhouse", &numbers_by_cell(source, &sql)?, &by_code_of(truth)))
}

fn dead_letter_messages(source: ResultSource<'_>, truth: &Truth) -> Result<Vec<Difference>, Error> {
    let mut found = Cells::new();
    for (code, payload) in read_dead_letters(source)? {
        *found.entry(format!("{code}\t{:016x}", payload_hash(&payload))).or_default() += 1;
    }
    let expected = truth.dead_letters.iter().flat_map(|(code, letters)| {
        letters.iter().map(move |(hash, &count)| (format!("{}\t{hash}", code.as_str()), count))
    });
    Ok(unequal("dead letters in kafka", &found, &expected.collect()))
}

fn row(parts: &[&str]) -> String {
    parts.join("\t")
}

fn cells(source: ResultSource<'_>, view: &str, key: &str, measure: &str, pane: &str) -> Result<Cells, Error> {
    let database = source.pipeline;
    let sql = format!(
        "SELECT {key}, {measure} AS measure_ FROM {database}.{view} WHERE pane = '{pane}' AND app_id != '{APP}' GROUP BY {key} FORMAT TSVRaw"
    );
    numbers_by_cell(source, &sql)
}

/// Rows whose last column is a number.
fn numbers_by_cell(source: ResultSource<'_>, sql: &str) -> Result<Cells, Error> {
    let cell = |line: &str| {
        let (key, value) = line.rsplit_once('\t')?;
        Some((key.to_owned(), value.parse().ok()?))
    };
    let answer = query(source.clickhouse_url, sql)?;
    let wrong = |line: &str| Error::Answer { what: line.to_owned(), wanted: "a cell and its number" };
    answer.lines().map(|line| cell(line).ok_or_else(|| wrong(line))).collect()
}

fn unequal(what: &str, found: &Cells, expected: &Cells) -> Vec<Difference> {
    let mut keys: Vec<&String> = found.keys().chain(expected.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let number = |cells: &Cells, key: &str| cells.get(key).copied().unwrap_or(0);
    let difference = |cell: &&String| Difference {
        what: what.to_owned(),
        cell: (*cell).clone(),
        found: number(found, cell),
        expected: number(expected, cell),
    };
    keys.iter().map(difference).filter(|difference| difference.found != difference.expected).collect()
}

/// Sketches: exact below 100, then within 3 % (three standard errors are 2.4 %).
fn far_off(what: &str, found: &Cells, expected: &Cells) -> Vec<Difference> {
    let mut all = unequal(what, found, expected);
    all.retain(|difference| {
        let allowed = if difference.expected < 100 { 0.0 } else { difference.expected as f64 * 0.03 };
        (difference.found as f64 - difference.expected as f64).abs() > allowed
    });
    all
}

fn read_dead_letters(source: ResultSource<'_>) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut letters = Vec::new();
    raw::messages(source, "dead-letters", |message| {
        let code = message.headers().and_then(|headers| {
            let code = headers.iter().find(|header| header.key == event::header::CODE)?;
            Some(String::from_utf8_lossy(code.value?).into_owned())
        });
        // A message without a code is foreign: no stage wrote it.
        letters.extend(
            code.filter(|code| !code.is_empty())
                .map(|code| (code, message.payload().unwrap_or_default().to_vec())),
        );
        Ok(())
    })?;
    Ok(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(of: &[(&str, u64)]) -> Cells {
        of.iter().map(|&(cell, number)| (cell.to_owned(), number)).collect()
    }

    #[test]
    fn a_cell_that_is_missing_on_either_side_is_a_difference() {
        let found = cells(&[("a", 1), ("b", 2), ("d", 4)]);
        let expected = cells(&[("a", 1), ("b", 3), ("c", 1)]);
        let said: Vec<String> = unequal("x", &found, &expected).iter().map(Difference::to_string).collect();
        assert_eq!(
            said,
            [
                "x [b]: found 2, expected 3 (-1)",
                "x [c]: found 0, expected 1 (-1)",
                "x [d]: found 4, expected 0 (+4)"
            ]
        );
    }

    #[test]
    fn estimates_may_be_off_by_three_percent_but_not_where_they_are_exact() {
        let off = |found, expected| far_off("x", &cells(&[("a", found)]), &cells(&[("a", expected)])).len();
        assert_eq!([off(99, 99), off(98, 99), off(1030, 1000), off(1031, 1000)], [0, 1, 0, 1]);
    }
}
