//! What the stage sends for records, as a recorder in place of Kafka sees it.
mod fields;

use super::*;
use crate::contract::CONTRACT_FIELDS;
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
    let header = |sent: &Sent, name: &str| header(sent, name).unwrap().to_owned();
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

/// Bytes of a message as the producer counts them, with some room for what Kafka adds.
fn bytes(sent: &Sent) -> usize {
    let headers: usize = sent.headers.iter().map(|(name, value)| name.len() + value.len() + 16).sum();
    headers + sent.key.as_ref().map_or(0, Vec::len) + sent.value.len()
}

fn header<'s>(sent: &'s Sent, name: &str) -> Option<&'s str> {
    sent.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
}

#[test]
fn a_dead_letter_keeps_a_value_of_one_mebibyte_and_the_start_of_a_larger_one() {
    for (length, kept) in [(1 << 20, 1 << 20), ((1 << 20) + 1, 65_536), (20_000_000, 65_536)] {
        let large = "x".repeat(length);
        let (clean, dead) = process(&[record(0, 17, &large)]);
        assert!(clean.is_empty());
        assert_eq!((dead.len(), dead[0].value.as_slice()), (1, &large.as_bytes()[..kept]));
        assert_eq!(header(&dead[0], header::CODE), Some("too_large"));
        assert_eq!(header(&dead[0], header::ORIGIN_OFFSET), Some("17"));
        let whole_length = length.to_string();
        let expected = (length > kept).then_some((whole_length.as_str(), "1", 64));
        let found = header(&dead[0], header::VALUE_BYTES)
            .zip(header(&dead[0], header::VALUE_TRUNCATED))
            .zip(header(&dead[0], header::VALUE_SHA256))
            .map(|((bytes, truncated), hash)| (bytes, truncated, hash.len()));
        assert_eq!(found, expected);
    }
}

#[test]
fn a_large_key_is_not_copied_into_the_dead_letters_of_an_array() {
    let key = vec![b'k'; 8 << 20];
    let array = format!("[{}]", ["7"; 500].join(","));
    let (clean, dead) = process(&[Record { key: Some(&key), ..record(2, 5, &array) }]);
    assert!(clean.is_empty());
    assert_eq!(dead.len(), 500);
    for letter in &dead {
        assert_eq!((letter.key.as_deref(), letter.value.as_slice()), (Some(&key[..1024]), b"7".as_slice()));
        assert_eq!(header(letter, header::KEY_BYTES), Some("8388608"));
    }
    assert!(dead.iter().map(bytes).sum::<usize>() < 2 << 20);
    let small = process(&[record(2, 5, "7")]).1;
    assert_eq!(header(&small[0], header::KEY_BYTES), None);
}

#[test]
fn no_record_makes_a_message_or_a_transaction_above_its_limit() {
    let (key, long) = (vec![b'k'; 8 << 20], "x".repeat(1_400_000));
    let elements = |element: &str, count| format!("[{}]", vec![element; count].join(","));
    for (value, letters) in [
        (elements(&format!("\"{long}\""), 2), 2),
        (elements(&format!("\"{long}\""), 500), 1),
        (elements(&format!("{{\"{}\":1}}", "\u{10ffff}".repeat(2000)), 500), 500),
        ("x".repeat(60_000_000), 1),
        (elements("[", 4000), 1),
    ] {
        let (clean, dead) = process(&[Record { key: Some(&key), ..record(2, 5, &value) }]);
        assert_eq!((clean.len(), dead.len()), (0, letters));
        let largest = dead.iter().map(bytes).max().unwrap();
        assert!(largest < (1 << 20) + 4096, "{largest}");
        let sum = dead.iter().map(bytes).sum::<usize>();
        assert!(sum < event::StageLimits::TRANSACTION_BYTES, "{sum}");
    }
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

#[test]
fn texts_that_were_cut_are_counted_by_field() {
    let long = "x".repeat(5000);
    let page = format!(r#","user_agent":"{long}","page":{{"url":"{long}","title":"t"}}"#);
    let mut ingest = ingest();
    let (accepted, rejected) = (event("a", &page), event("null", &page));
    ingest.process(&[record(0, 1, &accepted), record(0, 2, &rejected)], &mut Recorder::default()).unwrap();
    let fields: Vec<_> = ingest
        .counts
        .cut_texts_by_place()
        .map(|(place, count)| (CONTRACT_FIELDS[place].name(), count))
        .collect();
    assert_eq!(fields, [("page.url".to_owned(), 1), ("user_agent".to_owned(), 1)]);
}
