//! `millrace forget`: nothing about a person is left, the numbers stay, and a restart does not bring anything back.

use devstack::{pipeline::Pipeline, query};
use rdkafka::{
    ClientConfig, Message,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};
use system_tests::{
    WAIT, eventually, now_ms, pipeline_without_topics, stack, start, start_stages, topic, wait_until_ready,
};

const APP: &str = "web-main";

fn event(number: usize, device: &str, page: &str) -> Value {
    json!({
        "schema_version": "1-0-0", "event_id": format!("0199f0a0-7c1e-4abc-8def-{number:012x}"),
        "event_name": "page_view", "app_id": APP, "platform": "web", "anonymous_id": device,
        "user_id": format!("user-of-{device}"), "original_timestamp": now_ms(), "ip": "203.0.113.77",
        "page": {"url": page}, "library": {"name": "tests", "version": "1"},
    })
}

fn send(pipeline: &Pipeline, events: &[Value]) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", stack().brokers()).create().unwrap();
    for event in events {
        let (payload, key) = (event.to_string(), event["anonymous_id"].as_str().unwrap().to_owned());
        let raw = topic(pipeline, "raw-events");
        producer.send(BaseRecord::to(&raw).key(&key).payload(&payload)).map_err(|error| error.0).unwrap();
    }
    producer.flush(WAIT).unwrap();
}

fn answer(pipeline: &Pipeline, sql: &str) -> String {
    let sql = sql.replace("FROM ", &format!("FROM {}.", pipeline.name()));
    query(stack().clickhouse_url(), &sql).unwrap().trim_end().to_owned()
}

/// The numbers that must not change.
fn numbers(pipeline: &Pipeline) -> String {
    let cubes = "SELECT sum(events), sum(new_devices) FROM traffic WHERE pane = '60s'";
    let quality = "SELECT kind, sum(events) FROM quality WHERE pane = '60s' GROUP BY kind ORDER BY kind";
    [cubes, quality].map(|sql| answer(pipeline, sql)).join("\n")
}

/// The devices whose newest record of the changelog has a value.
fn remembered(pipeline: &Pipeline) -> usize {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stack().brokers())
        .set("group.id", format!("{}-changelog", pipeline.name()))
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let name = topic(pipeline, "enrich-state");
    let partitions = consumer.fetch_metadata(Some(&name), WAIT).unwrap().topics()[0].partitions().len();
    let mut list = rdkafka::TopicPartitionList::new();
    for partition in 0..partitions as i32 {
        list.add_partition_offset(&name, partition, rdkafka::Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut devices, mut ended) = (HashMap::new(), 0);
    while ended < partitions {
        match consumer.poll(Duration::from_secs(30)).unwrap() {
            Ok(record) => _ = devices.insert(record.key().unwrap().to_vec(), record.payload().is_some()),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ended += 1,
            Err(error) => panic!("{error}"),
        }
    }
    devices.values().filter(|has_value| **has_value).count()
}

/// The tables of the database in which a text column of a row has this text.
fn tables_with(pipeline: &Pipeline, text: &str) -> Vec<String> {
    let columns = query(
        stack().clickhouse_url(),
        &format!(
            "SELECT table, arrayStringConcat(groupArray(concat('toString(`', name, '`)')), ', ') FROM system.columns \
             WHERE database = '{}' AND type LIKE '%String%' AND type NOT LIKE 'AggregateFunction%' AND default_kind != 'EPHEMERAL' \
             AND table IN (SELECT name FROM system.tables WHERE database = '{}' AND engine LIKE '%MergeTree') \
             GROUP BY table FORMAT TSVRaw",
            pipeline.name(),
            pipeline.name()
        ),
    )
    .unwrap();
    assert!(columns.lines().count() >= 6, "{columns}");
    let has_text = |line: &&str| {
        let (table, columns) = line.split_once('\t').unwrap();
        let rows = format!("SELECT count() FROM {table} WHERE position(concat('', {columns}), '{text}') > 0");
        answer(pipeline, &rows) != "0"
    };
    columns.lines().filter(has_text).map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

/// What `millrace reconcile` says of the totals.
fn difference(pipeline: &Pipeline) -> Value {
    let printed: Value = serde_json::from_str(&pipeline.millrace(&["reconcile", "--json"]).unwrap()).unwrap();
    printed["difference"].clone()
}

#[test]
fn a_person_is_forgotten_and_the_numbers_stay() {
    let mut pipeline = pipeline_without_topics("forget");
    pipeline.set("MILLRACE__AGGREGATE__LANES", "live,report,dead_letters,events");
    pipeline.set("MILLRACE__KAFKA__SESSION_TIMEOUT", "6s");
    pipeline.set("MILLRACE__AGGREGATE__REPORT_FLUSH_INTERVAL", "1s");
    pipeline.create().unwrap();
    let mut stages = start_stages(&pipeline);
    let (page, bad) = ("https://www.example.tv/play/1", "");
    let mut events: Vec<Value> = (0..3).map(|number| event(number, "device-to-forget", page)).collect();
    events.extend((10..14).map(|number| event(number, "device-to-keep", page)));
    for (number, device) in [(20, "device-to-forget"), (21, "device-to-keep")] {
        let mut rejected = event(number, device, bad);
        rejected["platform"] = json!("toaster");
        events.push(rejected);
    }
    // Rejected, with an application that does not exist.
    let mut mislabeled = event(22, "device-to-forget", bad);
    (mislabeled["platform"], mislabeled["app_id"], mislabeled["ip"]) =
        (json!("toaster"), json!("web-mian"), json!(["203.0.113.77"]));
    events.push(mislabeled);
    send(&pipeline, &events);
    eventually("stored", WAIT, || {
        let stored = answer(&pipeline, "SELECT count() FROM events") == "7";
        let rejected = answer(&pipeline, "SELECT count() FROM dead_letters") == "3";
        let reported = answer(&pipeline, "SELECT sum(events) FROM traffic WHERE pane = '1d'") == "7";
        (stored && rejected && reported).then_some(())
    });
    let addresses = answer(&pipeline, "SELECT countIf(position(payload, '203.0.113') > 0) FROM dead_letters");
    assert_eq!(addresses, "0", "a payload in ClickHouse has the address of the client");
    let before = numbers(&pipeline);
    let mut stored_in = tables_with(&pipeline, "device-to-forget");
    stored_in.sort();
    assert_eq!(stored_in, ["dead_letters_local", "events_local"]);
    assert_eq!(difference(&pipeline), 0);
    assert_eq!(remembered(&pipeline), 2);

    let forget = ["forget", "--app", APP, "--user-id", "user-of-device-to-forget", "--by", "dora", "--json"];
    let mut other_secret = pipeline.clone();
    other_secret.set("MILLRACE__ENRICH__IDENTITY_SECRET", "another secret than that of enrich");
    let refused = other_secret.millrace(&forget).unwrap_err().to_string();
    assert!(refused.contains("the identity secret is not the one of enrich"), "{refused}");
    let refused = pipeline.millrace(&forget).unwrap_err().to_string();
    assert!(refused.contains("stop all processes of enrich"), "{refused}");
    let mut enrich = stages.remove(1);
    assert!(enrich.terminate(WAIT).unwrap().success());
    let printed: Value = serde_json::from_str(&pipeline.millrace(&forget).unwrap()).unwrap();
    assert_eq!(printed["tombstones"], 1, "{printed}");
    let tables = [("events_local", 3), ("dead_letters_local", 2)];
    for (found, (table, rows)) in printed["tables"].as_array().unwrap().iter().zip(tables) {
        assert_eq!((found["table"].as_str(), found["rows"].as_u64()), (Some(table), Some(rows)), "{printed}");
        assert_eq!(found["masked"], true, "{printed}");
    }

    let nothing_is_left = || {
        for (sql, expected) in [
            ("SELECT count() FROM events WHERE anonymous_id = 'device-to-forget'", "0"),
            ("SELECT count() FROM events WHERE anonymous_id = 'device-to-keep'", "4"),
            (
                "SELECT countIf(position(concat(payload, key, message), 'to-forget') > 0) FROM dead_letters",
                "0",
            ),
            ("SELECT countIf(position(payload, 'to-keep') > 0) FROM dead_letters", "1"),
            ("SELECT sum(erased_rows), any(who) FROM erasures", "5\tdora"),
        ] {
            assert_eq!(answer(&pipeline, sql), expected, "{sql}");
        }
        assert_eq!(tables_with(&pipeline, "to-forget"), [""; 0]);
        assert_eq!(remembered(&pipeline), 1);
        assert_eq!(numbers(&pipeline), before);
        assert_eq!(difference(&pipeline), 0);
    };
    nothing_is_left();
    stages.push(start(&pipeline, "enrich", "0"));
    wait_until_ready(stages.last_mut().unwrap());
    nothing_is_left();
    // A restart remembers the other device, and the person is a new one if it comes back.
    send(&pipeline, &[event(30, "device-to-keep", page), event(31, "device-to-forget", page)]);
    eventually("stored", WAIT, || (answer(&pipeline, "SELECT count() FROM events") == "6").then_some(()));
    let new = answer(
        &pipeline,
        "SELECT groupArray(anonymous_id) FROM events WHERE is_new_device = 1 AND anonymous_id = 'device-to-forget'",
    );
    assert_eq!(new, "['device-to-forget']");
    assert_eq!(difference(&pipeline), 0);
    devstack::pipeline::stop(&mut stages).unwrap();
}
