//! Aggregate stays below its memory limit while it catches up with events of long texts that are all in groups of their own.

use std::time::Duration;

use devstack::query;
use event::{BatchBuilder, FIELDS, Field, FieldKind};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use system_tests::{WAIT, eventually, now_ms, pipeline, stack, start, topic, wait_until_ready};

const BATCHES: usize = 160;
const EVENTS: usize = 250;
const LIMIT: u64 = 256 * 1024 * 1024;

fn batch(nth: usize, now_ms: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for row in 0..EVENTS {
        let number = nth * EVENTS + row;
        for &field in FIELDS {
            if field.kind() == FieldKind::Text && field != Field::Properties {
                builder.text(field, &format!("{number:08}").repeat(25));
            }
        }
        builder.text(Field::Kind, "event");
        builder.text(Field::EventName, "page_view");
        builder.number(Field::EventTime, now_ms);
        builder.number(Field::ReceivedAt, now_ms);
        builder.key(Field::DeviceKey, number as u64 + 1);
        builder.end_row();
    }
    builder.finish()
}

#[test]
fn a_flood_of_long_texts_in_millions_of_cells_stays_below_the_memory_limit() {
    let mut pipeline = pipeline("flood");
    pipeline.set("MILLRACE__MEMORY_LIMIT", "256MiB");
    pipeline.set("MILLRACE__AGGREGATE__LANES", "live,report,dead_letters");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stack().brokers()).set("compression.type", "lz4");
    let producer: BaseProducer = config.set("message.max.bytes", "16000000").create().unwrap();
    let (topic, now) = (topic(&pipeline, "enriched-events"), now_ms());
    for nth in 0..BATCHES {
        let value = batch(nth, now);
        let mut record = BaseRecord::<str, [u8]>::to(&topic).partition(nth as i32 % 4).payload(&value);
        while let Err((_, refused)) = producer.send(record) {
            producer.poll(Duration::from_millis(50));
            record = refused;
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();

    let mut process = start(&pipeline, "aggregate", "0");
    wait_until_ready(&mut process);
    let database = pipeline.name();
    let written = |lane: &str| {
        let sql = format!(
            "SELECT sum(ledger_events) FROM {database}.{lane}_local WHERE NOT startsWith(src, 'probe')"
        );
        query(stack().clickhouse_url(), &sql).unwrap().trim().parse::<usize>().unwrap()
    };
    for lane in ["live", "report"] {
        eventually("everything is written", WAIT, || {
            assert_eq!(process.exit_status().unwrap(), None, "{}", process.log_tail(5));
            (written(lane) == BATCHES * EVENTS).then_some(())
        });
    }
    let peak = process.peak_rss_bytes().unwrap();
    assert!(peak <= LIMIT / 4 * 5, "peak {} MiB, limit {} MiB", peak >> 20, LIMIT >> 20);
    assert!(process.terminate(WAIT).unwrap().success());
}
