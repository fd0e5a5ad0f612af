//! What enrich holds and writes is bounded by itself, whatever passes ingest: the batches here are written to `clean-events`
//! as no ingest would write them.

use devstack::pipeline::Pipeline;
use event::{BatchBuilder, Field, StageLimits};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use system_tests::{
    ResultSource, WAIT, eventually, metric, now_ms, pipeline, raw, stack, start, topic, wait_until_ready,
};

/// A batch of one event for each of these devices, with a campaign of this many bytes.
fn batch(devices: std::ops::Range<u64>, event: u64, campaign: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for device in devices {
        for (field, text) in [
            (Field::AppId, "web-main"),
            (Field::Platform, "web"),
            (Field::Kind, "event"),
            (Field::EventName, "page_view"),
        ] {
            builder.text(field, text);
        }
        builder.unique_text(Field::AnonymousId, &format!("device-{device}"));
        builder.unique_text(Field::CampaignName, &format!("{device:010}").repeat(campaign / 10));
        builder.uuid(Field::EventId, u128::from(event) << 64 | u128::from(device));
        builder.number(Field::EventTime, now_ms());
        builder.number(Field::ReceivedAt, now_ms());
        builder.end_row();
    }
    builder.finish()
}

/// Writes batches to the partitions of `clean-events` in turn.
fn write(pipeline: &Pipeline, batches: impl Iterator<Item = Vec<u8>>) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", stack().brokers())
        .set("message.max.bytes", "8000000")
        .set("compression.type", "lz4")
        .create()
        .unwrap();
    let clean = topic(pipeline, "clean-events");
    for (number, value) in batches.enumerate() {
        let mut record = BaseRecord::<[u8], [u8]>::to(&clean).partition(number as i32 % 4).payload(&value);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(std::time::Duration::from_millis(10));
        }
    }
    producer.flush(WAIT).unwrap();
}

/// 31 KB of plain events became 24 MB: each got the campaign of its session.
#[test]
fn plain_events_of_visitors_with_huge_campaigns_cost_little() {
    let pipeline = pipeline("campaigns");
    let mut enrich = start(&pipeline, "enrich", "0");
    wait_until_ready(&mut enrich);
    // Four visitors a batch, each batch to the partition of its visitors.
    write(&pipeline, (0..25).map(|number| batch(4 * number..4 * number + 4, 1, 240_000)));
    let plain = batch(0..100, 2, 0);
    write(&pipeline, (0..4).map(|_| plain.clone()));
    eventually("every event enriched", WAIT, || {
        let all = metric(&enrich, "millrace_enrich_events_total");
        assert!(enrich.exit_status().unwrap().is_none(), "{}", enrich.log_tail(20));
        (all >= 500.0).then_some(())
    });
    let source = ResultSource {
        brokers: stack().brokers(),
        clickhouse_url: stack().clickhouse_url(),
        pipeline: pipeline.name(),
    };
    let mut sizes = Vec::new();
    raw::messages(source, "enriched-events", |message| {
        sizes.push(message.payload_len());
        Ok(())
    })
    .unwrap();
    assert!(sizes.iter().all(|&bytes| bytes <= StageLimits::MESSAGE_BYTES), "{sizes:?}");
    // Their own events carry 24 MB; what the plain events get is small.
    let small: usize = sizes.iter().filter(|&&bytes| bytes < 200_000).sum();
    assert!(small < 400_000, "{sizes:?}");
    enrich.terminate(WAIT).unwrap();
}

#[test]
fn a_flood_of_invented_devices_stays_below_the_memory_limit() {
    const DEVICES: u64 = 240_000;
    const ROWS: u64 = 400;
    const LIMIT: u64 = 256 * 1024 * 1024;
    let mut pipeline = pipeline("invented");
    pipeline.set("MILLRACE__MEMORY_LIMIT", "256MiB");
    let mut enrich = start(&pipeline, "enrich", "0");
    wait_until_ready(&mut enrich);
    write(&pipeline, (0..DEVICES / ROWS).map(|number| batch(ROWS * number..ROWS * (number + 1), 1, 250)));
    eventually("every event enriched", WAIT, || {
        assert!(enrich.exit_status().unwrap().is_none(), "{}", enrich.log_tail(20));
        (metric(&enrich, "millrace_enrich_events_total") >= DEVICES as f64).then_some(())
    });
    let peak = enrich.peak_rss_bytes().unwrap();
    let (bytes, most) = (
        metric(&enrich, "millrace_enrich_state_bytes"),
        metric(&enrich, "millrace_enrich_state_limit_bytes"),
    );
    let devices = metric(&enrich, "millrace_enrich_devices");
    assert!(peak <= LIMIT / 4 * 5, "{peak} bytes at most, {bytes} of {most} counted, {devices} devices");
    assert!(bytes <= most && devices > 10_000.0, "{bytes} of {most}, {devices} devices");
    assert!(metric(&enrich, "millrace_enrich_device_horizon_days") < 1.0, "some devices are forgotten");
    // A restart restores what fits.
    enrich.kill().unwrap();
    enrich = start(&pipeline, "enrich", "0");
    wait_until_ready(&mut enrich);
    let peak = enrich.peak_rss_bytes().unwrap();
    assert!(peak <= LIMIT / 4 * 5, "{peak} bytes after a restart");
    enrich.terminate(WAIT).unwrap();
}
