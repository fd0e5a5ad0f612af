//! How fast state comes back, on one core and without Kafka: records of the changelog decoded and inserted, and events
//! of the last window decoded and replayed. `cargo run --release -p enrich --example restore_rate`.
#![expect(clippy::print_stdout, reason = "an example prints what it measured")]

use enrich::{
    activity::Activities,
    business_day::BusinessDays,
    channel::{BUILT_IN, ChannelRules},
    dedupe::WindowLimits,
    device::{Device, Event},
    devices::DeviceLimits,
    partition::{Partition, PartitionLimits},
    stamp::Stamper,
};
use event::{Batch, BatchBuilder, Field, IdentityKey};
use std::{error::Error, time::Instant};

const DEVICES: u64 = 1_000_000;
const EVENTS: u64 = 2_000_000;
const BATCH: u64 = 250;

fn main() -> Result<(), Box<dyn Error>> {
    let limits = PartitionLimits {
        window: WindowLimits { length_ms: 3_600_000, max_entries: usize::MAX },
        devices: DeviceLimits { ttl_days: 400, max_devices: usize::MAX },
    };
    let mut partition = Partition::new(limits);
    let identity = IdentityKey::new("secret");

    let changelog: Vec<([u8; 8], Vec<u8>)> = (0..DEVICES).map(|number| record(&identity, number)).collect();
    let started = Instant::now();
    for (key, value) in &changelog {
        partition.restore_state(key, Some(value))?;
    }
    tell("devices restored", DEVICES, started);
    println!("{:.0} bytes of memory per device", partition.devices.memory_bytes() as f64 / DEVICES as f64);

    let written = window(&identity, limits)?;
    let started = Instant::now();
    for message in &written {
        partition.replay(message, &identity)?;
    }
    tell("events replayed", EVENTS, started);
    println!("{} events are recognised now", partition.window.len());
    Ok(())
}

fn record(identity: &IdentityKey, number: u64) -> ([u8; 8], Vec<u8>) {
    let key = identity.hash("app-main", &device_id(number)) as u64;
    let session = Some(key.rotate_left(7));
    let event = Event { day: 20_000, time_ms: 1_728_000_000_000, session, own_session: 1 };
    let mut value = Vec::new();
    Device::new(&event).0.encode(&mut value);
    (key.to_be_bytes(), value)
}

/// Messages as enrich writes them.
fn window(identity: &IdentityKey, limits: PartitionLimits) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let rules = ChannelRules::parse(BUILT_IN, &[])?;
    let mut days = BusinessDays::new("Asia/Shanghai")?;
    let mut writer = Partition::new(limits);
    let stamper = Stamper { identity, rules: &rules, activities: &Activities::default() };
    let mut messages = Vec::new();
    for batch in 0..EVENTS / BATCH {
        let mut builder = BatchBuilder::default();
        for row in 0..BATCH {
            let number = batch * BATCH + row;
            let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            builder.text(Field::AppId, "app-main");
            builder.text(Field::Platform, "android");
            builder
                .text(Field::EventName, ["page_view", "content_view", "playback_ping"][number as usize % 3]);
            builder.unique_text(Field::AnonymousId, &device_id(mixed % DEVICES));
            builder.uuid(Field::EventId, u128::from(number) << 64 | u128::from(mixed));
            builder.text(Field::Kind, "event");
            builder.unique_text(Field::SessionId, &format!("s{}", mixed % DEVICES));
            builder.text(Field::Library, "android-sdk");
            builder.text(Field::LibraryVersion, "4.1.0");
            builder.number(Field::EventTime, 1_728_000_000_000 + number as i64);
            builder.number(Field::ReceivedAt, 1_728_000_000_000 + number as i64);
            builder.end_row();
        }
        let (message, _) = stamper.stamp(Batch::decode(&builder.finish())?, &mut writer, &mut days);
        writer.commit();
        messages.push(message);
    }
    Ok(messages)
}

fn device_id(number: u64) -> String {
    format!("{number:016x}")
}

fn tell(what: &str, count: u64, started: Instant) {
    let rate = count as f64 / started.elapsed().as_secs_f64();
    println!("{:.0} {what} per second", rate);
}
