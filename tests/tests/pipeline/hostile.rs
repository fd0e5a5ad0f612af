//! Records that are made to stop the pipeline cost their own dead letters and nothing else.

use devstack::{Process, pipeline::Pipeline, wait_for_events};
use rdkafka::{
    ClientConfig, Message,
    message::{BorrowedMessage, Headers},
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::Value;
use simulator::Config;
use std::collections::BTreeMap;
use system_tests::{ResultSource, WAIT, pipeline, raw, send, simulator, stack, start_stages, topic};

/// Sends a record that is small when compressed.
fn produce(pipeline: &Pipeline, codec: &str, key: &[u8], value: &[u8]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stack().brokers()).set("compression.type", codec);
    config.set("message.max.bytes", "100000000");
    let producer: BaseProducer = config.create().unwrap();
    let topic = topic(pipeline, "raw-events");
    let record = BaseRecord::to(&topic).key(key).payload(value);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(WAIT).unwrap();
}

/// Length of key and value, and the headers, of a dead letter.
#[derive(Debug)]
struct DeadLetter {
    key: usize,
    value: usize,
    headers: BTreeMap<String, String>,
}

impl DeadLetter {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        Self {
            key: message.key().map_or(0, <[u8]>::len),
            value: message.payload().map_or(0, <[u8]>::len),
            headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// The dead letters of which something was cut.
fn cut_dead_letters(pipeline: &Pipeline) -> Vec<DeadLetter> {
    let source = ResultSource {
        brokers: stack().brokers(),
        clickhouse_url: stack().clickhouse_url(),
        pipeline: pipeline.name(),
    };
    let mut letters = Vec::new();
    raw::messages(source, "dead-letters", |message| {
        letters.push(DeadLetter::of(message));
        Ok(())
    })
    .unwrap();
    letters
        .retain(|letter| !letter.header("value_bytes").is_empty() || !letter.header("key_bytes").is_empty());
    letters
}

fn assert_running(stages: &mut [Process]) {
    for process in stages {
        let ended = process.exit_status().unwrap();
        assert!(ended.is_none(), "{} ended:\n{}", process.name(), process.log_tail(5));
    }
}

#[test]
fn records_of_megabytes_that_are_small_when_compressed_cost_only_their_dead_letters() {
    let pipeline = pipeline("hostile_sizes");
    let mut simulator = simulator(&pipeline, Config { seed: 91, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    send(&pipeline, &mut simulator, 2_000, None);
    let letter = vec![b'a'; 20 << 20];
    produce(&pipeline, "zstd", b"k", &letter);
    produce(&pipeline, "lz4", b"k", &letter);
    let bad_elements = format!("[{}]", ["{\"app_id\":\"x\"}"; 500].join(","));
    produce(&pipeline, "zstd", &vec![b'k'; 8 << 20], bad_elements.as_bytes());
    send(&pipeline, &mut simulator, 2_000, None);
    let counts = simulator.truth().counts;
    let sent = counts.sent + 502;
    wait_for_events(stack().clickhouse_url(), pipeline.name(), sent, |_| ())
        .unwrap_or_else(|error| panic!("{error}\n{}", stages[0].log_tail(5)));
    assert_running(&mut stages);

    let letters = cut_dead_letters(&pipeline);
    assert_eq!(letters.len(), 502);
    for letter in letters {
        if letter.header("code") == "too_large" {
            assert_eq!((letter.key, letter.value, letter.header("value_bytes")), (1, 65_536, "20971520"));
            assert_eq!((letter.header("value_sha256").len(), letter.header("value_truncated")), (64, "1"));
        } else {
            assert_eq!((letter.key, letter.value, letter.header("key_bytes")), (1024, 14, "8388608"));
        }
    }
    let report = pipeline.millrace(&["reconcile", "--json"]).unwrap_or_else(|error| panic!("{error}"));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["difference"], 0, "{report:#}");
    assert_eq!(report["dead_letters"].as_u64(), Some(counts.rejected + 502), "{report:#}");
    devstack::pipeline::stop(&mut stages).unwrap_or_else(|error| panic!("{error}"));
}
