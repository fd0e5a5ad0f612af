//! Messages of another program in the topics of enrich: each in `clean-events` is a dead letter with its origin, each in a
//! topic that is restored is skipped with its place, and enrich goes on.

use rdkafka::{
    ClientConfig, Message,
    message::Headers,
    producer::{BaseProducer, BaseRecord, Producer},
};
use simulator::Config;
use system_tests::{
    ResultSource, WAIT, eventually, metric, pipeline, raw, send, simulator, stack, start, topic,
    wait_until_ready,
};

const PARTITION: i32 = 1;

/// Writes to a topic. Without a value it is a tombstone.
fn write(topic: &str, key: &[u8], value: Option<&[u8]>) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", stack().brokers()).create().unwrap();
    let partition = if topic.ends_with("activities") { 0 } else { PARTITION };
    let record = BaseRecord::to(topic).partition(partition).key(key);
    let record = match value {
        Some(value) => record.payload(value),
        None => record,
    };
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(WAIT).unwrap();
}

#[test]
fn enrich_goes_on_behind_messages_that_it_cannot_read() {
    let pipeline = pipeline("foreign_clean");
    let mut simulator = simulator(&pipeline, Config { seed: 17, ..Config::default() });
    let mut stages = ["ingest", "enrich"].map(|stage| start(&pipeline, stage, "0"));
    stages.iter_mut().for_each(wait_until_ready);
    send(&pipeline, &mut simulator, 2_000, None);
    let clean = topic(&pipeline, "clean-events");
    let foreign: [Option<&[u8]>; 4] =
        [None, Some(b""), Some(b"{\"event_id\":\"1\"}"), Some(b"\x08\x2a\x12\x03abc")];
    for value in foreign {
        write(&clean, b"another program", value);
    }
    write(&topic(&pipeline, "enrich-state"), b"no device key", Some(b"x"));
    write(&topic(&pipeline, "enrich-state"), &[7; 8], Some(b"no device"));
    write(&topic(&pipeline, "enriched-events"), b"", Some(b""));
    write(&topic(&pipeline, "activities"), b"spring", Some(b"{\"id\":7}"));

    let source = ResultSource {
        brokers: stack().brokers(),
        clickhouse_url: stack().clickhouse_url(),
        pipeline: pipeline.name(),
    };
    let letters = || {
        let mut letters = Vec::new();
        raw::messages(source, "dead-letters", |message| {
            let headers = message.headers().unwrap();
            let header = |name: &str| {
                let found = headers.iter().find(|header| header.key == name).and_then(|header| header.value);
                String::from_utf8_lossy(found.unwrap_or_default()).into_owned()
            };
            if header("stage") == "enrich" {
                assert_eq!(
                    (header("code").as_str(), header("origin_topic")),
                    ("enrichment_error", clean.clone())
                );
                assert_eq!(header("origin_partition"), PARTITION.to_string());
                letters.push((
                    header("origin_offset").parse::<i64>().unwrap(),
                    message.payload().map(<[u8]>::to_vec),
                ));
            }
            Ok(())
        })
        .unwrap();
        (letters.len() >= foreign.len()).then_some(letters)
    };
    let letters = eventually("in dead-letters", WAIT, letters);
    let kept: Vec<&[u8]> = letters.iter().map(|(_, value)| value.as_deref().unwrap_or_default()).collect();
    assert_eq!(kept, foreign.map(Option::unwrap_or_default));
    assert!(letters.is_sorted(), "{letters:?}");

    stages[1].kill().unwrap();
    stages[1] = start(&pipeline, "enrich", "0");
    wait_until_ready(&mut stages[1]);
    let log = stages[1].log_tail(usize::MAX);
    for place in ["enrich-state", "enriched-events", "activities"] {
        let topic = topic(&pipeline, place);
        let is_named = |line: &str| {
            line.contains(&topic) && line.contains("\"offset\":") && line.contains("find the program")
                || line.contains(&topic) && line.contains("write it again with `millrace activity`")
        };
        assert!(log.lines().any(is_named), "{place} is not named in {log}");
    }
    assert_eq!(metric(&stages[1], "millrace_enrich_restore_skipped_total"), 3.0);
    send(&pipeline, &mut simulator, 500, None);
    let counts = simulator.truth().counts;
    let accepted = counts.accepted + counts.tests + counts.bots + counts.duplicates;
    eventually("every event enriched", WAIT, || {
        let events = pipeline.millrace(&["cat", "enriched-events"]).ok()?;
        (events.lines().count() as u64 >= accepted).then_some(())
    });
    devstack::pipeline::stop(&mut stages).unwrap();
}
