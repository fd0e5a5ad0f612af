//! Holds every cube cell and every dead letter against the simulator's truth.

use std::{collections::BTreeMap, time::Duration};

use devstack::{Totals, pipeline::Pipeline, query};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::Headers,
};
use simulator::{Truth, payload_hash};

use crate::{stack, topic};

/// Fails with the first few cells that differ.
pub fn assert_equal_to_truth(pipeline: &Pipeline, truth: &Truth) {
    let totals = Totals::read(stack().clickhouse_url(), pipeline.name()).unwrap();
    assert_eq!(totals.stored, truth.counts.accepted + truth.counts.tests, "stored events, {totals:?}");
    assert_eq!(totals.duplicates, truth.counts.duplicates, "duplicates");
    assert_eq!(totals.dead_letters, truth.counts.rejected, "dead letters in clickhouse");
    assert_eq!(totals.sum(), truth.counts.sent, "sent = stored + duplicates + dead letters");
    for pane in ["10s", "60s"] {
        assert_traffic(pipeline, truth, pane);
        assert_activity(pipeline, truth, pane);
        assert_quality(pipeline, truth, pane);
    }
    assert_dead_letters(pipeline, truth);
}

fn assert_traffic(pipeline: &Pipeline, truth: &Truth, pane: &str) {
    let key = "app_id, platform, event_name, channel_group";
    let cell = |c: &simulator::TrafficCell| row(&[&c.app_id, &c.platform, &c.event_name, &c.channel_group]);
    let expected = truth.traffic.iter().map(|c| (cell(c), c.events)).collect();
    assert_cells("traffic", pane, cells(pipeline, "traffic", key, "sum(events)", pane), expected);
    let devices = truth.traffic.iter().map(|c| (cell(c), c.devices)).collect();
    assert_estimates("traffic", cells(pipeline, "traffic", key, DEVICES, pane), &devices);
}

fn assert_activity(pipeline: &Pipeline, truth: &Truth, pane: &str) {
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
    let expected = truth.activity.iter().map(|c| (cell(c), c.events)).collect();
    assert_cells("activity", pane, cells(pipeline, "activity", key, "sum(events)", pane), expected);
    let devices = truth.activity.iter().map(|c| (cell(c), c.devices)).collect();
    assert_estimates("activity", cells(pipeline, "activity", key, DEVICES, pane), &devices);
}

fn assert_quality(pipeline: &Pipeline, truth: &Truth, pane: &str) {
    let key = "app_id, platform, library, library_version, time_source, kind";
    let expected = truth.quality.iter().map(|c| {
        let cell = row(&[&c.app_id, &c.platform, &c.library, &c.library_version, &c.time_source, &c.kind]);
        (cell, c.events)
    });
    let mut found = cells(pipeline, "quality", key, "sum(events)", pane);
    let is_dead_letter = |cell: &String| cell.ends_with("dead_letter");
    let dead_letters: u64 = found.iter().filter(|(cell, _)| is_dead_letter(cell)).map(|(_, n)| n).sum();
    assert_eq!(dead_letters, truth.counts.rejected, "dead letters in quality {pane}");
    found.retain(|cell, _| !is_dead_letter(cell));
    assert_cells("quality", pane, found, expected.collect());
    let by_code = cells(pipeline, "quality", "code", "sumIf(events, kind = 'dead_letter')", pane);
    for (code, &count) in &truth.rejected_by_code {
        assert_eq!(by_code.get(code.as_str()), Some(&count), "dead letters of {code:?} in quality {pane}");
    }
}

/// `traffic` minute by minute; only for truths whose every event keeps its client's time.
pub fn assert_minutes(pipeline: &Pipeline, truth: &Truth) {
    let key = "toUnixTimestamp(bucket), app_id, platform, event_name, channel_group";
    let expected = truth.traffic_minutes.iter().map(|c| {
        let bucket = c.bucket.to_string();
        (row(&[&bucket, &c.app_id, &c.platform, &c.event_name, &c.channel_group]), c.events)
    });
    assert_cells("traffic", "60s", cells(pipeline, "traffic", key, "sum(events)", "60s"), expected.collect());
}

const DEVICES: &str = "uniqCombined64Merge(14)(devices)";

fn row(parts: &[&str]) -> String {
    parts.join("\t")
}

fn cells(pipeline: &Pipeline, view: &str, key: &str, measure: &str, pane: &str) -> BTreeMap<String, u64> {
    let database = pipeline.name();
    let sql = format!(
        "SELECT {key}, {measure} AS measure_ FROM {database}.{view} WHERE pane = '{pane}' GROUP BY {key} FORMAT TSVRaw"
    );
    let answer = query(stack().clickhouse_url(), &sql).unwrap();
    let cell = |line: &str| {
        let (key, value) = line.rsplit_once('\t').unwrap();
        (key.to_owned(), value.parse().unwrap())
    };
    answer.lines().map(cell).collect()
}

fn assert_cells(cube: &str, pane: &str, found: BTreeMap<String, u64>, expected: BTreeMap<String, u64>) {
    assert!(!expected.is_empty(), "the truth of {cube} is empty, so nothing was tested");
    let wrong = difference(&found, &expected);
    let first = wrong.iter().take(10).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(
        wrong.is_empty(),
        "{cube} {pane} differs from the truth in {} cells, such as:\n{first}",
        wrong.len()
    );
}

fn difference(found: &BTreeMap<String, u64>, expected: &BTreeMap<String, u64>) -> Vec<String> {
    let mut keys: Vec<&String> = found.keys().chain(expected.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let events = |cells: &BTreeMap<String, u64>, key: &str| cells.get(key).copied().unwrap_or(0);
    let differ = |key: &&&String| events(found, key) != events(expected, key);
    let show =
        |key: &String| format!("{key}: found {}, expected {}", events(found, key), events(expected, key));
    keys.iter().filter(differ).map(|key| show(key)).collect()
}

/// Sketches: exact while small, then within three standard errors (0.8 %) and a little.
fn assert_estimates(cube: &str, found: BTreeMap<String, u64>, expected: &BTreeMap<String, u64>) {
    for (cell, &devices) in expected {
        let estimate = found.get(cell).copied().unwrap_or(0);
        let allowed = if devices < 100 { 0.0 } else { devices as f64 * 0.03 };
        assert!(
            (estimate as f64 - devices as f64).abs() <= allowed,
            "{cube} devices of {cell}: {estimate}, expected {devices}"
        );
    }
}

/// Every dead letter, byte for byte, by its code.
pub fn assert_dead_letters(pipeline: &Pipeline, truth: &Truth) {
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for (code, payload) in read_dead_letters(&topic(pipeline, "dead-letters")) {
        *found.entry(format!("{code} {:016x}", payload_hash(&payload))).or_default() += 1;
    }
    let expected = truth.dead_letters.iter().flat_map(|(code, letters)| {
        letters.iter().map(move |(hash, &count)| (format!("{} {hash}", code.as_str()), count))
    });
    assert_cells("dead letters", "", found, expected.collect());
}

fn read_dead_letters(topic: &str) -> Vec<(String, Vec<u8>)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stack().brokers())
        .set("group.id", "millrace-tests")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).unwrap();
    let mut assignment = TopicPartitionList::new();
    let mut open: Vec<i32> =
        metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect();
    for &partition in &open {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut letters = Vec::new();
    while !open.is_empty() {
        match consumer.poll(Duration::from_secs(10)) {
            Some(Ok(message)) => {
                let headers = message.headers().unwrap();
                let code = headers.iter().find(|header| header.key == event::header::CODE).unwrap();
                let code = String::from_utf8(code.value.unwrap().to_vec()).unwrap();
                letters.push((code, message.payload().unwrap_or_default().to_vec()));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => open.retain(|&p| p != partition),
            Some(Err(error)) => panic!("{error}"),
            None => panic!("no answer from {topic}"),
        }
    }
    letters
}
