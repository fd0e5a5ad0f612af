//! Lane `events` has every event once, also after kills. `millrace trace` shows everything about one event, from its rows
//! or from the topics.

use devstack::{pipeline::Pipeline, query, wait_for_events};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::{Value, json};
use simulator::Config;
use system_tests::{
    WAIT, eventually, now_ms, pipeline, send, simulator, stack, start, start_stages, topic, wait_until_ready,
};

fn number(sql: &str) -> u64 {
    query(stack().clickhouse_url(), sql).unwrap().trim().parse().unwrap()
}

fn pipeline_with_events(test: &str) -> Pipeline {
    let mut pipeline = pipeline(test);
    pipeline.set("MILLRACE__AGGREGATE__LANES", "live,dead_letters,events");
    pipeline.set("MILLRACE__AGGREGATE__EVENTS_FLUSH_INTERVAL", "300ms");
    pipeline.millrace(&["migrate"]).unwrap_or_else(|error| panic!("{error}"));
    pipeline
}

#[test]
fn lane_events_has_every_event_once_although_aggregate_is_killed_repeatedly() {
    let pipeline = pipeline_with_events("trace_rows");
    let mut simulator = simulator(&pipeline, Config { seed: 41, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    for _ in 0..3 {
        send(&pipeline, &mut simulator, 4_000, Some(10_000.0));
        let aggregate = stages.last_mut().unwrap();
        aggregate.kill().unwrap();
        *aggregate = start(&pipeline, "aggregate", "0");
        wait_until_ready(aggregate);
    }
    let counts = simulator.truth().counts;
    wait_for_events(stack().clickhouse_url(), pipeline.name(), counts.sent, |_| ())
        .unwrap_or_else(|error| panic!("{error}"));
    let view = format!("{}.events", pipeline.name());
    let accepted = counts.sent - counts.rejected;
    eventually("every event in the table", WAIT, || {
        (number(&format!("SELECT count() FROM {view}")) >= accepted).then_some(())
    });
    devstack::pipeline::stop(&mut stages).unwrap_or_else(|error| panic!("{error}"));

    for (what, expected) in [
        ("count()", accepted),
        ("uniqExact(enriched_partition, enriched_offset, enriched_row)", accepted),
        ("uniqExact(origin_partition, origin_offset, origin_index)", accepted),
        ("countIf(kind = 'duplicate')", counts.duplicates),
    ] {
        assert_eq!(number(&format!("SELECT {what} FROM {view}")), expected, "{what}");
    }
    let ledger = format!("SELECT sum(ledger_events) FROM {view}_local WHERE startsWith(src, '1/')");
    assert_eq!(number(&ledger), accepted, "the ledger of the lane");
    let report = pipeline.millrace(&["reconcile"]).unwrap_or_else(|error| panic!("{error}"));
    assert!(report.contains("lane events") && report.contains("difference 0"), "{report}");
}

/// Sends the records to `raw-events` in this order, and waits until the broker has them.
fn produce(pipeline: &Pipeline, records: &[Value]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stack().brokers());
    let producer: BaseProducer = config.create().unwrap();
    let topic = topic(pipeline, "raw-events");
    for record in records {
        let payload = record.to_string();
        // One partition, so that the order of the records is that of their processing.
        let record = BaseRecord::<(), _>::to(&topic).partition(1).payload(&payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(WAIT).unwrap();
}

fn page_view(id: &str, device: &str) -> Value {
    json!({
        "schema_version": "1-0-0", "event_id": id, "event_name": "page_view", "app_id": simulator::APP_IDS[0],
        "platform": "web", "anonymous_id": device, "original_timestamp": now_ms() - 95_000,
        "sent_at": now_ms() - 90_000, "session_id": "s-1", "event_index": 4,
        "page": {"url": "https://www.example.tv/vip?utm_source=baidu&utm_medium=cpc"},
        "experiments": {"home": "B", "player": "A"}, "properties": {"price": 1.10},
        "content": {"id": "v-1", "tags": ["music", "直播"], "published_at": "2026-01-02T00:00:00Z"},
        "library": {"name": "tests", "version": "1"},
    })
}

fn with(mut event: Value, field: &str, value: Value) -> Value {
    event[field] = value;
    event
}

fn traced(pipeline: &Pipeline, args: &[&str]) -> Value {
    let said = pipeline.millrace(&[&["trace", "--json"], args].concat());
    let said = said.unwrap_or_else(|error| panic!("{args:?}: {error}"));
    serde_json::from_str(&said).unwrap()
}

fn printed(pipeline: &Pipeline, args: &[&str]) -> String {
    match pipeline.millrace(&[&["trace"], args].concat()) {
        Ok(said) => said,
        Err(error) => error.to_string(),
    }
}

#[test]
fn trace_shows_the_same_from_the_tables_and_from_the_topics() {
    const SHARED: &str = "0199f0a0-7c1e-7abc-8def-0123456789ab";
    const REJECTED: &str = "0199f0a0-7c1e-7abc-8def-0123456789ac";
    const TESTED: &str = "0199f0a0-7c1e-7abc-8def-0123456789ad";
    const WAITING: &str = "0199f0a0-7c1e-7abc-8def-0123456789ae";
    let pipeline = pipeline_with_events("trace");
    let mut stages = start_stages(&pipeline);
    let first = page_view(SHARED, "browser-1");
    produce(
        &pipeline,
        &[
            first.clone(),
            json!([page_view(SHARED, "browser-2"), first]),
            with(page_view(REJECTED, "browser-1"), "platform", json!("fridge")),
            with(page_view(TESTED, "browser-1"), "is_test", json!(true)),
        ],
    );
    wait_for_events(stack().clickhouse_url(), pipeline.name(), 5, |_| ())
        .unwrap_or_else(|error| panic!("{error}"));
    eventually("every event in the table", WAIT, || {
        (number(&format!("SELECT count() FROM {}.events", pipeline.name())) == 4).then_some(())
    });

    let from_tables = traced(&pipeline, &[SHARED]);
    let from_topics = traced(&pipeline, &[SHARED, "--scan", "--since", "10min"]);
    assert_eq!((&from_tables["source"], &from_topics["source"]), (&json!("tables"), &json!("topics")));
    assert_eq!(from_tables["events"], from_topics["events"]);
    let events = from_tables["events"].as_array().unwrap();
    let of = |device: &str, kind: &str| {
        events
            .iter()
            .find(|event| event["anonymous_id"] == device && event["verdict"]["value"] == kind)
            .unwrap_or_else(|| panic!("no {kind} of {device} in {from_tables:#}"))
    };
    assert_eq!(events.len(), 3);
    let (event, other, duplicate) =
        (of("browser-1", "event"), of("browser-2", "event"), of("browser-1", "duplicate"));
    assert_eq!((&event["raw"]["partition"], &event["raw"]["index"]), (&json!(1), &json!(0)));
    assert_eq!((&other["raw"]["index"], &duplicate["raw"]["index"]), (&json!(0), &json!(1)));
    assert!(duplicate["verdict"]["reason"].as_str().unwrap().contains("the same device sent it before"));
    assert_eq!(event["time"]["source"], "corrected");
    assert_eq!(event["fields"]["experiments"], json!({"home": "B", "player": "A"}));
    assert_eq!(event["fields"]["tags"], json!(["music", "直播"]));
    assert_eq!(event["fields"]["event_id"], SHARED);
    for stamp in ["device_key", "first_seen_day", "session", "channel"] {
        let stamps = event["stamps"].as_array().unwrap();
        assert!(stamps.iter().any(|found| found["stamp"] == stamp), "no {stamp} in {event:#}");
    }
    let cubes = |event: &Value| -> Vec<String> {
        let cubes = event["cubes"].as_array().unwrap().iter();
        cubes.map(|touched| touched["cube"].as_str().unwrap().to_owned()).collect()
    };
    assert!(["traffic", "tags", "quality"].iter().all(|cube| cubes(event).contains(&(*cube).to_owned())));
    assert_eq!(cubes(duplicate), ["quality"]);
    // The table has what trace says was added.
    let traffic =
        event["cubes"].as_array().unwrap().iter().find(|touched| touched["cube"] == "traffic").unwrap();
    assert_eq!(traffic["measures"]["events"], 1);
    let bucket = traffic["buckets"]["60s"].as_str().unwrap();
    let counted = format!(
        "SELECT sum(events) FROM {}.traffic WHERE pane = '60s' AND bucket = parseDateTimeBestEffort('{bucket}')",
        pipeline.name()
    );
    assert!(number(&counted) >= 1, "{counted}");

    for args in [&[REJECTED][..], &[REJECTED, "--scan"]] {
        let rejected = traced(&pipeline, args);
        let letter = &rejected["dead_letters"][0];
        assert_eq!((&letter["code"], &letter["pointer"]), (&json!("invalid_value"), &json!("/platform")));
        assert_eq!((&letter["anonymous_id"], &letter["is_its_own"]), (&json!("browser-1"), &json!(true)));
        assert_eq!(letter["raw"]["offset"], 2);
    }
    assert_eq!(cubes(&traced(&pipeline, &[TESTED])["events"][0]), ["quality"]);

    let text = printed(&pipeline, &[SHARED]);
    for expected in [
        "3 events of 2 devices, 0 dead letters",
        "partition 1, offset 0",
        "partition 1, offset 1, element 1",
        "corrected, moved by",
        "a new device",
        "s-1 starts here",
        "paid_search / baidu / cpc",
        "not counted again",
    ] {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }

    let unknown = "0199f0a0-7c1e-7abc-8def-000000000000";
    assert!(printed(&pipeline, &[unknown]).contains("look further back with --since"));
    devstack::pipeline::stop(&mut stages).unwrap_or_else(|error| panic!("{error}"));
    produce(&pipeline, &[page_view(WAITING, "browser-1")]);
    let waiting = printed(&pipeline, &[WAITING]);
    assert!(waiting.contains("partition 1, offset 4") && waiting.contains("millrace status"), "{waiting}");
}
