//! Messages between the stages that no stage wrote cost one dead letter each: no process ends, and every honest event before
//! and after them counts.

use std::time::Duration;

use devstack::{pipeline::Pipeline, query};
use event::{BatchBuilder, Field};
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use simulator::Config;
use system_tests::{
    WAIT, compare::assert_equal_to_truth, eventually, metric, pipeline, send, settle, simulator, stack,
    start_stages, topic,
};

/// Messages that are no batch and no dead letter.
fn foreign() -> Vec<Option<Vec<u8>>> {
    let mut batch = BatchBuilder::default();
    for _ in 0..3 {
        batch.text(Field::EventName, "page_view");
        batch.number(Field::EventTime, 1_772_409_600_000);
        batch.end_row();
    }
    let batch = batch.finish();
    let mut of_older_version = batch.clone();
    assert_eq!(of_older_version[..2], [8, 2], "the format is the first field");
    of_older_version[1] = 1;
    let truncated = batch[..batch.len() / 2].to_vec();
    let random = (0..5_000_u32).map(|nth| (nth.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let wrong_protobuf = b"\x0a\x05hello\x10\x96\x01".to_vec();
    [vec![], random, truncated, wrong_protobuf, of_older_version, b"{\"event\":\"json\"}".to_vec()]
        .into_iter()
        .map(Some)
        .chain([None])
        .collect()
}

/// Sends every foreign message to every partition, with keys and headers that no stage writes; returns how many.
fn send_foreign(pipeline: &Pipeline, name: &str) -> u64 {
    const PARTITIONS: i32 = 4;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stack().brokers()).set("message.max.bytes", "16000000");
    let producer: BaseProducer = config.create().unwrap();
    let (topic, huge_key) = (topic(pipeline, name), "k".repeat(900_000));
    let foreign = foreign();
    for partition in 0..PARTITIONS {
        for (nth, value) in foreign.iter().enumerate() {
            let headers = [("origin_offset", b"\xff\xfe".as_slice()), ("code", b""), ("x", &[0xc3; 3000])];
            let mut all = OwnedHeaders::new();
            for (key, value) in headers.into_iter().take(nth) {
                all = all.insert(Header { key, value: Some(value) });
            }
            let mut record = BaseRecord::to(&topic).partition(partition).headers(all);
            if nth == 1 {
                record = record.key(huge_key.as_str());
            }
            if let Some(value) = value {
                record = record.payload(value);
            }
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    PARTITIONS as u64 * foreign.len() as u64
}

#[test]
fn foreign_messages_before_aggregate_cost_a_dead_letter_each_and_no_event() {
    let pipeline = pipeline("foreign");
    let mut simulator = simulator(&pipeline, Config { seed: 41, bad: 0.01, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    send(&pipeline, &mut simulator, 5_000, None);
    let sent = ["enriched-events", "dead-letters"].map(|topic| send_foreign(&pipeline, topic));
    send(&pipeline, &mut simulator, 5_000, None);

    let database = pipeline.name();
    let kept = |condition: &str| {
        let sql =
            format!("SELECT count() FROM {database}.dead_letters WHERE stage = 'aggregate' AND {condition}");
        query(stack().clickhouse_url(), &sql).unwrap().trim().parse::<u64>().unwrap()
    };
    let all: u64 = sent.iter().sum();
    eventually("every foreign message is a dead letter", WAIT, || (kept("1") >= all).then_some(()));
    // Lanes live and report both skip what is no batch.
    let skipped = || metric(&stages[2], "millrace_aggregate_foreign_messages_total");
    eventually("every lane has skipped them", WAIT, || {
        (skipped() >= (2 * sent[0] + sent[1]) as f64).then_some(())
    });
    for stage in &mut stages {
        assert_eq!(stage.exit_status().unwrap(), None, "{}", stage.log_tail(5));
    }
    let truth = simulator.truth();
    settle(&pipeline, &truth, stages);
    assert_equal_to_truth(&pipeline, &truth);
    for (topic, sent) in ["enriched-events", "dead-letters"].iter().zip(sent) {
        let of_topic = format!("code = 'undecodable' AND endsWith(origin_topic, '.{topic}')");
        assert_eq!(kept(&of_topic), sent, "{topic}");
        assert_eq!(kept(&format!("{of_topic} AND payload = '{{\"event\":\"json\"}}'")), 4, "{topic}");
        assert_eq!(kept(&format!("{of_topic} AND length(key) = 1024")), 4, "{topic}");
    }
    let report = pipeline.millrace(&["reconcile", "--json"]).unwrap();
    assert!(report.contains("\"difference\":0"), "{report}");
}
