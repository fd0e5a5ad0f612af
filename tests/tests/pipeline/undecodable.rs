//! Kafka batches that cannot be decoded: one that is too large when decompressed, one with a wrong checksum. Each costs one
//! dead letter, and every event before, between and behind them is stored.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    time::Duration,
};

use devstack::{Process, Totals, pipeline::Pipeline};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use simulator::{Config, Truth};
use system_tests::{
    ResultSource, WAIT, assert_none_ended, eventually, get, http_address, pipeline, raw, send, simulator,
    stack, start, start_stages, topic, wait_until_ready,
};

/// Sends `count` records as one batch to a partition of `raw-events`.
fn send_batch(pipeline: &Pipeline, partition: i32, codec: &str, count: usize, value: &[u8]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", stack().brokers())
        .set("compression.codec", codec)
        .set("linger.ms", "60000")
        .set("batch.size", "900000000")
        .set("message.max.bytes", "900000000")
        .set("queue.buffering.max.kbytes", "2000000")
        .create()
        .unwrap();
    let topic = topic(pipeline, "raw-events");
    for _ in 0..count {
        let record = BaseRecord::<(), _>::to(&topic).partition(partition).payload(value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(WAIT).unwrap();
    assert_eq!(producer.in_flight_count(), 0);
}

/// 150 MiB of one letter, 7 KB as zstd: more than a client decompresses.
fn send_bomb(pipeline: &Pipeline, partition: i32) {
    send_batch(pipeline, partition, "zstd", 150, &vec![b'a'; 1024 * 1024]);
}

/// Changes one byte of the last record of the newest batch of a partition, on the broker's disk.
fn damage_the_newest_batch(pipeline: &Pipeline, partition: i32) {
    let directory =
        stack().kafka_data().unwrap().join(format!("{}-{partition}", topic(pipeline, "raw-events")));
    let segment = directory.join("00000000000000000000.log");
    let end = fs::metadata(&segment).unwrap().len();
    let file = OpenOptions::new().read(true).write(true).open(&segment).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, end - 10).unwrap();
    file.write_all_at(&[byte[0] ^ 1], end - 10).unwrap();
}

fn wait_for(pipeline: &Pipeline, stages: &mut [Process], truth: &Truth, dead_letters: u64) {
    let expected = truth.counts.sent + dead_letters;
    eventually("all accounted for", WAIT, || {
        assert_none_ended(stages);
        let totals = Totals::read(stack().clickhouse_url(), pipeline.name()).unwrap();
        (totals.sum() >= expected).then_some(())
    });
    std::thread::sleep(Duration::from_secs(1));
    let totals = Totals::read(stack().clickhouse_url(), pipeline.name()).unwrap();
    let counts = &truth.counts;
    assert_eq!(totals.stored, counts.accepted + counts.tests + counts.bots);
    assert_eq!(totals.duplicates, counts.duplicates);
    assert_eq!(totals.dead_letters, counts.rejected + dead_letters);
}

/// Partition, first and last offset of each dead letter `undecodable`.
fn ranges(pipeline: &Pipeline) -> Vec<(i32, i64, i64)> {
    use rdkafka::{Message, message::Headers};
    let source = ResultSource {
        brokers: stack().brokers(),
        clickhouse_url: stack().clickhouse_url(),
        pipeline: pipeline.name(),
    };
    let mut ranges = Vec::new();
    raw::messages(source, "dead-letters", |message| {
        let header = |name: &str| {
            let mut headers = message.headers().into_iter().flat_map(|headers| headers.iter());
            let value = headers.find(|header| header.key == name).and_then(|header| header.value);
            String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
        };
        if header("code") == "undecodable" {
            let number = |name| header(name).parse().unwrap();
            let partition = header("origin_partition").parse().unwrap();
            ranges.push((partition, number("origin_offset"), number("origin_last_offset")));
        }
        Ok(())
    })
    .unwrap();
    ranges.sort_unstable();
    ranges
}

#[test]
fn a_batch_that_cannot_be_decoded_is_one_dead_letter_and_every_honest_event_is_stored() {
    let pipeline = pipeline("undecodable");
    let mut simulator = simulator(&pipeline, Config { seed: 41, ..Config::default() });
    send(&pipeline, &mut simulator, 400, None);
    for codec in ["none", "lz4"] {
        send_batch(&pipeline, 1, codec, 20, br#"{"schema_version":"1-0-0"}"#);
        damage_the_newest_batch(&pipeline, 1);
        send(&pipeline, &mut simulator, 400, None);
    }
    // Neighbours that are found together cost one dead letter.
    send_bomb(&pipeline, 0);
    send_bomb(&pipeline, 0);
    send(&pipeline, &mut simulator, 400, None);
    let mut stages = start_stages(&pipeline);
    send_bomb(&pipeline, 0);
    send(&pipeline, &mut simulator, 400, None);
    // librdkafka decompresses this one, whatever its size.
    send_batch(&pipeline, 2, "gzip", 20, &vec![b'a'; 1024 * 1024]);
    send(&pipeline, &mut simulator, 400, None);

    wait_for(&pipeline, &mut stages, &simulator.truth(), 4 + 20);
    let lengths: Vec<(i32, i64)> =
        ranges(&pipeline).into_iter().map(|(partition, first, last)| (partition, last - first + 1)).collect();
    assert_eq!(lengths, [(0, 300), (0, 150), (1, 20), (1, 20)]);
    let report = pipeline.millrace(&["reconcile", "--json"]).unwrap();
    assert!(report.contains("\"difference\":0") || report.contains("\"difference\": 0"), "{report}");
    devstack::pipeline::stop(&mut stages).unwrap();
}

#[test]
fn with_halt_the_partition_waits_and_the_others_go_on() {
    let mut pipeline = pipeline("undecodable_halt");
    pipeline.set("MILLRACE__INGEST__UNDECODABLE", "halt");
    let mut simulator = simulator(&pipeline, Config { seed: 42, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    send_bomb(&pipeline, 0);
    let status = |stage| http_address(stage).map_or_else(String::new, |address| get(&address, "/status").1);
    eventually("waiting", WAIT, || {
        status(&stages[0]).contains("partitions [0] wait at a batch").then_some(())
    });
    send(&pipeline, &mut simulator, 400, None);
    eventually("others stored", WAIT, || {
        let totals = Totals::read(stack().clickhouse_url(), pipeline.name()).unwrap();
        (totals.sum() > simulator.truth().counts.sent / 2).then_some(())
    });
    assert!(
        Totals::read(stack().clickhouse_url(), pipeline.name()).unwrap().sum()
            < simulator.truth().counts.sent
    );

    pipeline.set("MILLRACE__INGEST__UNDECODABLE", "dead_letter");
    stages[0].terminate(WAIT).unwrap();
    stages[0] = start(&pipeline, "ingest", "0");
    wait_until_ready(&mut stages[0]);
    wait_for(&pipeline, &mut stages, &simulator.truth(), 1);
    devstack::pipeline::stop(&mut stages).unwrap();
}
