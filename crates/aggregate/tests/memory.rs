//! The bytes that a lane accounts for are those that it takes: measured by an allocator that counts, for events with long
//! texts, with every field, in millions of groups, and for dead letters.
#![expect(clippy::unwrap_used, reason = "a test may end by panicking")]
#![expect(unsafe_code, reason = "an allocator cannot be written without")]
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aggregate::Cubes;
use aggregate::block::{Block, Mark};
use aggregate::cube::{self, CubeLane};
use aggregate::fold::{Accumulator, CompiledLane, DeadLetters, Events, Input, LaneFold};
use event::{BatchBuilder, FIELDS, Field, FieldKind};
use jiff::tz::TimeZone;

/// Counts the bytes in use, and the most that were in use since [`Measured::begin`].
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every request goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A batch of 500 events; `fill` sets the fields of each.
fn batch(nth: usize, fill: impl Fn(&mut BatchBuilder, usize)) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for row in 0..500 {
        let number = nth * 500 + row;
        builder.text(Field::Kind, "event");
        builder.text(Field::EventName, "page_view");
        builder.text(Field::Platform, "web");
        builder.number(Field::EventTime, 2_000_000_000_000 + number as i64);
        builder.number(Field::ReceivedAt, 2_000_000_000_000 + number as i64);
        builder.key(Field::DeviceKey, number as u64 + 1);
        fill(&mut builder, number);
        builder.end_row();
    }
    builder.finish()
}

/// Every text field has a long text of its own.
fn long_texts(builder: &mut BatchBuilder, number: usize) {
    for &field in FIELDS {
        if field.kind() == FieldKind::Text
            && !matches!(field, Field::Kind | Field::EventName | Field::Platform)
        {
            builder.text(field, &format!("{number:x}").repeat(40));
        }
    }
}

/// Every field has a short value.
fn wide(builder: &mut BatchBuilder, number: usize) {
    for &field in FIELDS {
        match field.kind() {
            FieldKind::Text if field != Field::Kind => builder.text(field, ["a", "bc", "def"][number % 3]),
            FieldKind::Number if !matches!(field, Field::EventTime | Field::ReceivedAt) => {
                builder.number(field, number as i64);
            }
            FieldKind::Key => builder.key(field, number as u64 + 1),
            FieldKind::Uuid => builder.uuid(field, number as u128 + 1),
            FieldKind::List => builder.push_list(field, ["x", "y"][number % 2]),
            FieldKind::Map => ["name", "value"].iter().for_each(|text| builder.push_list(field, text)),
            _ => (),
        }
    }
}

/// Every event is in groups of its own.
fn groups(builder: &mut BatchBuilder, number: usize) {
    builder.text(Field::ActivityId, &format!("a{number}"));
    builder.text(Field::ChannelGroup, &format!("c{number}"));
    builder.text(Field::DeviceModel, &format!("m{number}"));
}

fn cubes(lane: CubeLane) -> Box<dyn LaneFold> {
    let cubes = Cubes::parse(cube::BUILT_IN).unwrap();
    Box::new(Accumulator::new(Arc::new(CompiledLane::new(&cubes, lane, 8, TimeZone::UTC)), 100_000))
}

fn input<'a>(offset: usize, value: &'a [u8], headers: Vec<(&'a str, &'a [u8])>) -> Input<'a> {
    let timestamp_ms = 2_000_000_000_000;
    Input {
        partition: 0,
        offset: offset as i64,
        timestamp_ms,
        key: Some(b"key"),
        value: Some(value),
        headers,
    }
}

/// Adds records until so many bytes are accounted for, flushes them, and compares with what the allocator has counted.
fn check(name: &str, mut fold: Box<dyn LaneFold>, mut record: impl FnMut(usize) -> (Vec<u8>, bool)) {
    const FILL: usize = 48 << 20;
    let before = IN_USE.load(Ordering::Relaxed);
    let (mut accounted, mut records) = (0, 0);
    while accounted < FILL {
        let (value, is_dead_letter) = record(records);
        let headers: Vec<(&str, &[u8])> = if is_dead_letter {
            vec![
                ("code", b"too_old"),
                ("stage", b"x"),
                ("origin_topic", b"t"),
                ("origin_partition", b"1"),
                ("origin_offset", b"1"),
            ]
        } else {
            Vec::new()
        };
        accounted += fold.add(&input(records, &value, headers)).unwrap().bytes;
        records += 1;
    }
    let held = IN_USE.load(Ordering::Relaxed) - before;
    PEAK.store(IN_USE.load(Ordering::Relaxed), Ordering::Relaxed);
    let (blocks, _) = fold.flush(0, Mark::new("1/t/0", records as u64));
    let peak = PEAK.load(Ordering::Relaxed) - before;
    let in_blocks = blocks.iter().map(Block::heap_bytes).sum::<usize>();
    let after = IN_USE.load(Ordering::Relaxed) - before;
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let found = format!(
        "{name}: {records} records, accounted {:.1} MiB, buffer {:.1}, peak {:.1}, blocks {:.1} of {:.1}",
        mib(accounted),
        mib(held),
        mib(peak),
        mib(in_blocks),
        mib(after)
    );
    assert!(held as f64 <= 1.3 * accounted as f64, "the buffer takes more than is accounted for: {found}");
    assert!(peak as f64 <= 1.3 * accounted as f64, "a flush takes more than is accounted for: {found}");
    assert!(accounted as f64 <= 3.0 * peak as f64, "far more is accounted for than a flush takes: {found}");
    let ratio = in_blocks as f64 / after as f64;
    assert!((0.77..1.3).contains(&ratio), "blocks are accounted with {ratio:.2} of their bytes: {found}");
}

/// One test, because the allocator counts for the whole process.
#[test]
fn the_bytes_accounted_for_are_those_that_a_lane_takes() {
    type Fill = fn(&mut BatchBuilder, usize);
    for (what, fill) in [("long texts", long_texts as Fill), ("wide events", wide), ("many groups", groups)] {
        for (lane, fold) in [
            ("live", cubes(CubeLane::Live)),
            ("report", cubes(CubeLane::Report)),
            ("events", Box::new(Events::new(30)) as Box<dyn LaneFold>),
        ] {
            check(&format!("{what} in {lane}"), fold, |nth| (batch(nth, fill), false));
        }
    }
    for (what, bytes) in [("small", 200), ("large", 100_000)] {
        let letters = Box::new(DeadLetters::new("dead-letters"));
        check(&format!("{what} dead letters"), letters, |_| (vec![b'x'; bytes], true));
    }
}
