//! Measures the CPU time of enrich without Kafka: stamping events, restoring devices from the changelog and restoring the
//! events of a window. Linux only. `cargo run --release -p enrich --example restore_rate`.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example prints what it measures and reads CPU time"
)]

use enrich::{
    activity::Activities,
    channel::{BUILT_IN, ChannelRules},
    device::active::Definitions,
    partition::{Partition, PartitionLimits, dedupe::DedupeLimits, devices::DeviceLimits},
    stamp::Stamper,
    user_agent::{Parser, UserAgents},
};
use event::{Batch, BatchBuilder, Field, IdentityKey, calendar::BusinessDays};
use std::{collections::HashMap, error::Error, sync::Arc, time::Duration};

/// The allocator of the process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DEVICES: u64 = 50_000;
const EVENTS: u64 = 2_000_000;
const BATCH: u64 = 250;
const TRANSACTION: u64 = 40;
const START_MS: i64 = 1_772_452_800_000;

fn main() -> Result<(), Box<dyn Error>> {
    let window = DedupeLimits { length_ms: 3_600_000, max_entries: usize::MAX, max_bytes: usize::MAX };
    let devices = DeviceLimits {
        ttl_days: 400,
        max_devices: usize::MAX,
        max_bytes: usize::MAX,
        window_ms: window.length_ms,
    };
    let limits = PartitionLimits { window, devices };
    let identity = IdentityKey::new("secret");
    let rules = ChannelRules::parse(BUILT_IN, &["www.example.tv".to_owned()])?;
    let settings = runtime::config::load_from(None, [])?.enrich;
    let mut stamper = Stamper {
        identity: &identity,
        rules: &rules,
        activities: &Activities::default(),
        definitions: &Definitions::parse(&settings.active)?,
        conversion_events: &settings.conversion_events,
        days: &mut BusinessDays::new("Asia/Shanghai")?,
        agents: &mut UserAgents::new(Arc::new(Parser::new()?)),
    };

    let mut partition = Partition::new(limits);
    let mut changelog: HashMap<[u8; 8], Vec<u8>> = HashMap::new();
    // Written in advance, so that page faults of this buffer are not measured.
    let (mut written, mut ends) = (vec![1; EVENTS as usize * 400], Vec::new());
    written.clear();
    let (mut records, mut bytes) = (0_u64, 0);
    let (mut passing, mut stamping, mut writing) = (0.0, 0.0, 0.0);
    for batch in 0..EVENTS / BATCH {
        let clean = clean(batch)?;
        let started = cpu_time();
        let mut copy = BatchBuilder::stamping(Batch::decode(&clean)?);
        (0..BATCH).for_each(|_| copy.end_row());
        drop(copy.finish());
        let passed = cpu_time();
        let (messages, _) = stamper.stamp(Batch::decode(&clean)?, &mut partition);
        stamping += (cpu_time() - passed).as_secs_f64();
        passing += (passed - started).as_secs_f64();
        for message in messages {
            written.extend_from_slice(&message);
            ends.push(written.len());
        }
        if batch % TRANSACTION == TRANSACTION - 1 {
            let started = cpu_time();
            let mut value = Vec::new();
            let mut changes = Vec::new();
            for (key, device) in partition.devices.changes() {
                if let Some(device) = device {
                    device.encode(&mut value);
                    changes.push((key.to_be_bytes(), value.clone()));
                }
            }
            partition.commit();
            writing += (cpu_time() - started).as_secs_f64();
            records += changes.len() as u64;
            bytes += changes.iter().map(|(_, value)| value.len() as u64).sum::<u64>();
            changelog.extend(changes);
        }
    }
    let events = EVENTS as f64;
    println!("{:.0} ns per event to decode and encode it", passing / events * 1e9);
    println!("{:.0} ns per event to decode, stamp and encode it", stamping / events * 1e9);
    println!("{:.0} ns per event to find and encode what changed", writing / events * 1e9);
    println!(
        "{:.3} records of the changelog per event, {} bytes each",
        records as f64 / events,
        bytes / records
    );

    let mut restored = Partition::new(limits);
    // One behind the other, as a fetch delivers them.
    let records: Vec<u8> = changelog.values().flatten().copied().collect();
    let mut from = 0;
    let started = cpu_time();
    for (key, value) in &changelog {
        let to = from + value.len();
        restored.restore_record(key, Some(&records[from..to]))?;
        from = to;
    }
    print_rate("devices restored", changelog.len() as u64, started);
    let devices = restored.devices.len() as f64;
    println!("{:.0} bytes of memory per device", restored.devices.memory_bytes() as f64 / devices);

    let started = cpu_time();
    let mut from = 0;
    for to in ends {
        restored.restore_batch(&written[from..to], &identity, &rules)?;
        from = to;
    }
    restored.restored(&mut BusinessDays::new("Asia/Shanghai")?);
    print_rate("events restored", EVENTS, started);
    println!("{} events in the de-duplication window", restored.window.len());
    Ok(())
}

/// A clean batch as ingest writes it: devices in any order, one event in fifteen starts a session.
fn clean(batch: u64) -> Result<Vec<u8>, Box<dyn Error>> {
    const NAMES: [&str; 10] = [
        "page_view",
        "playback_ping",
        "playback_ping",
        "content_view",
        "playback_ping",
        "app_open",
        "playback_ping",
        "click",
        "login",
        "vip_page_viewed",
    ];
    const REFERRERS: [&str; 4] =
        ["", "https://www.baidu.com/link?url=x", "https://www.example.tv/home", "https://weibo.com/"];
    const AGENTS: [&str; 3] = [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 MicroMessenger/8.0.47",
        "Mozilla/5.0 (Linux; Android 14; V2309A) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/87.0 Mobile Safari/537.36",
    ];
    let mut builder = BatchBuilder::default();
    for row in 0..BATCH {
        let number = batch * BATCH + row;
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        let device = mixed % DEVICES;
        let time_ms = START_MS + number as i64;
        let is_web = device.is_multiple_of(2);
        builder.text(Field::AppId, if is_web { "web-main" } else { "app-main" });
        builder.text(Field::Platform, if is_web { "web" } else { "android" });
        builder.text(Field::EventName, NAMES[(mixed >> 20) as usize % NAMES.len()]);
        builder.unique_text(Field::AnonymousId, &format!("{device:016x}"));
        builder.uuid(Field::EventId, u128::from(number) << 64 | u128::from(mixed));
        builder.number(Field::EventNumber, number as i64 + 1);
        builder.text(Field::Kind, "event");
        let session = number / (EVENTS / 2);
        builder.unique_text(Field::SessionId, &format!("s{device}-{session}"));
        builder.unique_text(Field::PlaybackId, &format!("p{device}-{session}"));
        builder.unique_text(Field::ContentId, &format!("c{}", device % 10_000));
        builder.number(Field::PlayedMs, 5_000);
        builder.number(Field::ContentDurationMs, 60_000);
        if is_web {
            builder.text(Field::UserAgent, AGENTS[device as usize / 2 % AGENTS.len()]);
            builder.text(Field::PageReferrer, REFERRERS[(mixed >> 30) as usize % REFERRERS.len()]);
            builder.unique_text(
                Field::PageUrl,
                &format!("https://www.example.tv/play/{}?from=home", mixed % 1000),
            );
        } else {
            builder.text(Field::InstallSource, "com.huawei.appmarket");
            builder.text(Field::DeviceManufacturer, "HUAWEI");
            builder.text(Field::OsName, "Android");
        }
        builder.text(Field::Library, "android-sdk");
        builder.text(Field::LibraryVersion, "4.1.0");
        builder.number(Field::EventTime, time_ms);
        builder.number(Field::ReceivedAt, time_ms);
        builder.end_row();
    }
    Ok(builder.finish())
}

fn print_rate(what: &str, count: u64, started: Duration) {
    let rate = count as f64 / (cpu_time() - started).as_secs_f64();
    println!("{rate:.0} {what} per second");
}

/// CPU time of this thread from the kernel, which other load on the machine does not change.
fn cpu_time() -> Duration {
    let read = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = read.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}
