//! What the stage sends for records, as a recorder in place of Kafka sees it.
mod fields;

use super::*;
use event::{Batch, Field, header};
use runtime::stage::{Recorder, Sent};
use std::time::Duration;

const RECEIVED_AT: i64 = 1_772_452_800_000; // 2026-03-02T12:00:00Z

fn ingest() -> Ingest {
    let topics = IngestTopics {
        raw: "t.raw-events".into(),
        clean: "t.clean-events".into(),
        clean_partitions: 8,
        dead_letters: "t.dead-letters".into(),
        dead_letter_partitions: 2,
    };
    Ingest::new(topics, EventPolicy::new([], false, Duration::from_secs(7 * 86_400)))
}

fn process(records: &[Record<'_>]) -> (Vec<Sent>, Vec<Sent>) {
    let mut ingest = ingest();
    let mut recorder = Recorder::default();
    ingest.process(records, &mut recorder).unwrap();
    recorder.sent.into_iter().partition(|sent| sent.topic == "t.clean-events")
}

fn record(partition: i32, offset: i64, value: &str) -> Record<'_> {
    let value = Some(value.as_bytes());
    Record { partition, offset, timestamp_ms: RECEIVED_AT, key: Some(b"key"), value }
}

fn event(device: &str, rest: &str) -> String {
    format!(
        r#"{{"schema_version":"1-0-0","event_id":"01957B6E-5a3c-7d21-9c40-3f6a1b2c4d5e","event_name":"login","app_id":"app-1",
        "platform":"android","app_version":"1.0","original_timestamp":"2026-03-02T11:59:00Z","sent_at":"2026-03-02T11:58:30.5Z",
        "anonymous_id":"{device}","user_id":"u1","library":{{"name":"lib","version":"2"}}{rest}}}"#
    )
}

#[test]
fn the_ledger_counts_every_event_under_the_partition_it_was_read_from() {
    let (good, array) = (event("a", ""), format!("[{},7,{}]", event("b", ""), event("c", "")));
    let mut ingest = ingest();
    let mut recorder = Recorder::default();
    let records = [record(0, 1, &good), record(3, 5, &array), record(0, 2, "no event"), record(3, 6, &good)];
    ingest.process(&records, &mut recorder).unwrap();
    let counts =
        |events, emitted, rejected| LedgerCounts { events, emitted, rejected, ..LedgerCounts::default() };
    assert_eq!(recorder.counts, [(0, counts(2, 1, 1)), (3, counts(4, 3, 1))].into());
}

#[test]
fn a_device_keeps_its_partition_and_its_order() {
    let events: Vec<String> =
        (0..2000).map(|i| event(&format!("d{}", i % 50), &format!(r#","event_index":{i}"#))).collect();
    let array = format!("[{}]", events[1000..1400].join(","));
    let mut records: Vec<_> = events[..1000].iter().zip(0..).map(|(json, at)| record(0, at, json)).collect();
    records.push(record(0, 1000, &array));
    records.extend(events[1400..].iter().zip(1001..).map(|(json, at)| record(0, at, json)));
    let (clean, dead) = process(&records);
    assert!(dead.is_empty());
    let mut rows = 0;
    let mut last = std::collections::BTreeMap::new();
    for sent in &clean {
        assert_eq!((sent.key.as_deref(), sent.headers.len()), (None, 0));
        let batch = Batch::decode(&sent.value).unwrap();
        rows += batch.rows();
        for row in 0..batch.rows() {
            let device = batch.text(Field::AnonymousId, row).to_owned();
            assert_eq!(event::partition_for(format!("app-1:{device}").as_bytes(), 8), sent.partition as u32);
            let number = batch.number(Field::EventNumber, row);
            assert!(last.insert(device, number).is_none_or(|before| before < number));
        }
    }
    assert_eq!((rows, last.len()), (2000, 50));
    assert!(clean.len() <= 16, "{} messages: events travel in batches", clean.len());
}

#[test]
fn a_server_without_a_device_is_spread_by_event_id_in_any_case() {
    let server = |id: &str| {
        event("x", "")
            .replace("android", "server")
            .replace("\"anonymous_id\":\"x\",", "")
            .replace("01957B6E-5a3c-7d21-9c40-3f6a1b2c4d5e", id)
    };
    let id = "0a957b6e-5a3c-7d21-9c40-3f6a1b2c4d5e";
    let (lower, upper) = (server(id), server(&id.to_uppercase()));
    let (clean, dead) = process(&[record(0, 0, &lower), record(0, 1, &upper)]);
    assert!(dead.is_empty());
    assert_eq!(clean.len(), 1);
    assert_eq!(clean[0].partition as u32, event::partition_for(id.as_bytes(), 8));
}

#[test]
fn a_dead_letter_keeps_key_and_bytes_and_names_reason_and_origin() {
    let bad = event("null", "");
    let array = format!("[{}, {bad} ]", event("d", ""));
    let tombstone = Record { partition: 4, offset: 8, timestamp_ms: RECEIVED_AT, key: None, value: None };
    let (clean, dead) = process(&[record(7, 99, &array), tombstone]);
    assert_eq!((clean.len(), dead.len()), (1, 2));
    assert_eq!((dead[0].partition, dead[1].partition), (1, 0));
    assert_eq!((dead[0].key.as_deref(), dead[0].value.as_slice()), (Some(b"key".as_slice()), bad.as_bytes()));
    assert_eq!((dead[1].key.as_deref(), dead[1].value.as_slice()), (None, b"".as_slice()));
    let header = |sent: &Sent, name: &str| {
        let found = sent.headers.iter().find(|header| header.0 == name);
        found.map(|header| header.1.clone()).unwrap()
    };
    let received = RECEIVED_AT.to_string();
    for (name, expected) in [
        (header::CODE, "forbidden_id"),
        (header::POINTER, "/anonymous_id"),
        (header::ORIGIN_TOPIC, "t.raw-events"),
        (header::ORIGIN_PARTITION, "7"),
        (header::ORIGIN_OFFSET, "99"),
        (header::ORIGIN_INDEX, "1"),
        (header::STAGE, "ingest"),
        (header::VERSION, env!("CARGO_PKG_VERSION")),
        (header::APP_ID, "app-1"),
        (header::PLATFORM, "android"),
        (header::LIBRARY, "lib"),
        (header::RECEIVED_AT, &received),
    ] {
        assert_eq!(header(&dead[0], name), expected, "{name}");
    }
    assert!(header(&dead[0], header::MESSAGE).contains("placeholder"));
    assert_eq!(
        (header(&dead[1], header::CODE).as_str(), header(&dead[1], header::APP_ID).as_str()),
        ("malformed_json", "")
    );
}

#[test]
fn a_record_of_megabytes_becomes_one_dead_letter_of_the_same_bytes() {
    let large = "x".repeat(3_000_000);
    let (clean, dead) = process(&[record(0, 0, &large)]);
    assert!(clean.is_empty());
    assert_eq!(dead[0].value, large.as_bytes());
}

#[test]
fn an_aborted_transaction_counts_nothing() {
    let mut ingest = ingest();
    ingest.process(&[record(3, 7, "no event")], &mut Recorder::default()).unwrap();
    assert_eq!(ingest.counts.records(), [(3, true)]);
    ingest.aborted();
    assert!(ingest.counts.records().is_empty());
    assert!(ingest.counts.rejected_by_code().all(|(_, count)| count == 0));
}
