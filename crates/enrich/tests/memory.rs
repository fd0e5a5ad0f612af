//! What a partition counts as its memory, compared with what the allocator was asked for.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(unsafe_code, reason = "an allocator that counts can be written only with unsafe code")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use enrich::{
    activity::Activities,
    channel::{BUILT_IN, ChannelRules},
    device::active::Definitions,
    partition::{Partition, PartitionLimits, dedupe::DedupeLimits, devices::DeviceLimits},
    stamp::Stamper,
    user_agent::{Parser, UserAgents},
};
use event::{Batch, BatchBuilder, Field, IdentityKey, calendar::BusinessDays};

/// Counts the bytes that are allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1024 * 1024;
const ROWS: u64 = 200;

/// A batch of devices: every tenth comes again and again, the others are new and have long texts.
fn batch(number: u64) -> Batch {
    let mut builder = BatchBuilder::default();
    for row in 0..ROWS {
        let event = number * ROWS + row;
        let device = if row.is_multiple_of(10) { row } else { event };
        let time_ms = 1_772_452_800_000 + event as i64;
        for (field, text) in [
            (Field::AppId, "web-main"),
            (Field::Platform, "web"),
            (Field::Kind, "event"),
            (Field::EventName, ["vip_page_viewed", "playback_ping", "login"][(event % 3) as usize]),
            (Field::AnonymousId, &device.to_string()),
            (Field::SessionId, &format!("s{}", event / 5)),
            (Field::PlaybackId, &format!("p{}", event / 2)),
            (Field::ContentId, &format!("c{}", event / 2)),
            (Field::OrderId, &event.to_string()),
            (Field::EntryPoint, &"entry".repeat(20)),
            (Field::CampaignName, &event.to_string().repeat(40)),
            (Field::UserAgent, &format!("Mozilla/5.0 (Linux; Android 14; V{event}) Chrome/87.0 Mobile")),
        ] {
            builder.text(field, text);
        }
        builder.uuid(Field::EventId, u128::from(event));
        builder.number(Field::EventTime, time_ms);
        builder.number(Field::ReceivedAt, time_ms);
        builder.end_row();
    }
    Batch::decode(&builder.finish()).unwrap()
}

#[test]
fn a_flood_of_devices_stays_within_the_limit_and_is_counted_as_the_allocator_counts() {
    let identity = IdentityKey::new("secret");
    let rules = ChannelRules::parse(BUILT_IN, &[]).unwrap();
    let settings = runtime::config::load_from(None, []).unwrap().enrich;
    let definitions = Definitions::parse(&settings.active).unwrap();
    let mut agents = UserAgents::new(Arc::new(Parser::new().unwrap()));
    agents.set_limit(MIB);
    let mut days = BusinessDays::new("Asia/Shanghai").unwrap();
    let before = ALLOCATED.load(Ordering::Relaxed);
    let window = DedupeLimits { length_ms: 3_600_000, max_entries: usize::MAX, max_bytes: 2 * MIB };
    let devices = DeviceLimits {
        ttl_days: 400,
        max_devices: usize::MAX,
        max_bytes: 8 * MIB,
        window_ms: window.length_ms,
    };
    let mut partition = Partition::new(PartitionLimits { window, devices });
    let (mut most, mut fullest) = (0, 0.0_f64);
    for number in 0..200 {
        let mut stamper = Stamper {
            identity: &identity,
            rules: &rules,
            activities: &Activities::default(),
            definitions: &definitions,
            conversion_events: &settings.conversion_events,
            days: &mut days,
            agents: &mut agents,
        };
        drop(stamper.stamp(batch(number), &mut partition));
        partition.devices.expire(1_000);
        partition.devices.changes().for_each(drop);
        let (counted, real) = (partition.memory_bytes(), ALLOCATED.load(Ordering::Relaxed) - before);
        most = most.max(real);
        if counted > 4 * MIB {
            // Beside the partition there are the user agents.
            fullest = fullest.max(real.saturating_sub(MIB) as f64 / counted as f64);
            assert!(real as f64 > counted as f64 * 0.8, "{real} are counted as {counted}");
        }
        partition.commit();
    }
    assert!(fullest > 0.5 && fullest < 1.3, "{fullest} times what is counted");
    assert!(most < (2 + 8 + 1) * MIB * 5 / 4, "{most} bytes");
}
