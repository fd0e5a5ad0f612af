//! What folding costs per event and lane: decoding a batch, accumulating it, and making the rows of a flush.
//! Run with `cargo run --release -p aggregate --example accumulate_rate`.
use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aggregate::Cubes;
use aggregate::block::Mark;
use aggregate::cube::{self, CubeLane};
use aggregate::fold::{Accumulator, CompiledLane};
use event::{Batch, BatchBuilder, Field, MAX_ROWS};
use jiff::tz::TimeZone;

const BATCHES: u64 = 400;
/// Batches between two flushes: 50 000 events.
const FLUSH_EVERY: u64 = 100;
const ROUNDS: u64 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let messages: Vec<Vec<u8>> = (0..BATCHES).map(message).collect();
    let cubes = Cubes::parse(cube::BUILT_IN)?;
    for &lane in CubeLane::ALL {
        let zone = TimeZone::get("Asia/Shanghai")?;
        let compiled = CompiledLane::new(&cubes, lane, 8, zone);
        measure(lane, Accumulator::new(Arc::new(compiled), 100_000), &messages)?;
    }
    Ok(())
}

fn measure(lane: CubeLane, mut accumulator: Accumulator, messages: &[Vec<u8>]) -> Result<(), Box<dyn Error>> {
    let (mut decoding, mut adding, mut flushing) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut rows, mut flushes) = (0, 0);
    for _ in 0..ROUNDS {
        for (nth, message) in (1..).zip(messages) {
            let started = Instant::now();
            let batch = Batch::decode(message)?;
            decoding += started.elapsed();
            let started = Instant::now();
            accumulator.add(0, &batch);
            adding += started.elapsed();
            if nth % FLUSH_EVERY == 0 {
                let started = Instant::now();
                let (blocks, _) = accumulator.flush(0, Mark::new("1/t/0", nth));
                flushing += started.elapsed();
                rows += blocks.iter().map(|block| block.data_rows()).sum::<usize>();
                flushes += 1;
            }
        }
    }
    let events = ROUNDS * BATCHES * MAX_ROWS as u64;
    let each = |total: Duration| total.as_nanos() as f64 / events as f64;
    writeln!(
        std::io::stdout().lock(),
        "{}: {events} events: decode {:.0} ns, accumulate {:.0} ns, flush {:.0} ns per event; {} rows per flush of {} events",
        lane.as_str(),
        each(decoding),
        each(adding),
        each(flushing),
        rows / flushes,
        FLUSH_EVERY * MAX_ROWS as u64
    )?;
    Ok(())
}

/// A batch as enrich writes it: 30 event names, popular ones more often, 5 platforms, 12 channels, 1 % late, 10 % in
/// one of 20 activities, 30 % of plays, 20 % with tags, 20 % in an experiment, 5 % that make a device active, texts and
/// numbers that no cube looks at.
fn message(seed: u64) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for row in 0..MAX_ROWS as u64 {
        let popular = |a: u64, b: u64| a.min(b);
        builder.text(Field::AppId, ["web-main", "app-main", "pc-main"][random(3) as usize]);
        builder.text(Field::Platform, ["web", "h5", "ios", "android", "pc"][random(5) as usize]);
        let is_play = random(10) < 3;
        let name = if is_play {
            "playback_ping".into()
        } else {
            format!("event_{}", popular(random(30), random(30)))
        };
        builder.text(Field::EventName, &name);
        builder.text(Field::ChannelGroup, &format!("channel_{}", popular(random(12), random(12))));
        builder.text(Field::Library, "millrace-js");
        builder.text(Field::LibraryVersion, ["1.4.0", "1.4.1"][random(2) as usize]);
        builder.text(Field::TimeSource, "client");
        builder.text(Field::Kind, if random(50) == 0 { "duplicate" } else { "event" });
        builder.unique_text(Field::AnonymousId, &format!("anonymous-{}", random(100_000)));
        builder.unique_text(Field::SessionId, &format!("session-{}", random(100_000)));
        builder.uuid(Field::EventId, u128::from(random(u64::MAX)));
        builder.key(Field::DeviceKey, random(20_000) + 1);
        builder.key(Field::UserKey, random(2) * (random(20_000) + 1));
        if random(10) == 0 {
            builder.text(Field::ActivityId, &format!("activity-{}", random(20)));
            builder.text(Field::ActivityEventKey, "click");
            builder.text(Field::ActivityStatus, "ok");
        }
        if is_play {
            builder.text(Field::ProducerType, ["pgc", "ugc"][random(2) as usize]);
            builder.text(Field::Category, &format!("category-{}", random(10)));
            builder.text(Field::PlaybackState, "playing");
            builder.number(Field::PlayedMs, 5000);
        }
        builder.text(Field::AppVersion, &format!("8.{}", popular(random(10), random(10))));
        builder.text(Field::InstallSource, ["", "", "huawei", "xiaomi"][random(4) as usize]);
        builder.text(Field::OsName, ["iOS", "Android", "Windows"][random(3) as usize]);
        builder.text(Field::DeviceModel, &format!("model-{}", popular(random(200), random(200))));
        if random(5) == 0 {
            (0..3).for_each(|_| builder.push_list(Field::Tags, &format!("tag-{}", random(100))));
        }
        if random(5) == 0 {
            builder.push_list(Field::Experiments, "player");
            builder.push_list(Field::Experiments, ["a", "b"][random(2) as usize]);
        }
        if random(20) == 0 {
            for field in [Field::ActiveDefinition, Field::ActiveDay] {
                builder.push_list(field, "any");
            }
            builder.text(Field::FirstSeenDay, &format!("2033-05-{:02}", 1 + random(18)));
        }
        let late = if random(100) == 0 { random(3_600_000) as i64 } else { random(2_000) as i64 };
        let received = 2_000_000_000_000 + (seed * MAX_ROWS as u64 + row) as i64 / 100;
        builder.number(Field::ReceivedAt, received);
        builder.number(Field::EventTime, received - late);
        builder.number(Field::LatenessMs, late);
        builder.end_row();
    }
    builder.finish()
}
