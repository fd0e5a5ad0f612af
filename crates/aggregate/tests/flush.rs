//! Properties of a flush: its totals do not depend on how the records are split into flushes, and its bytes depend on
//! nothing but its records.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may end by panicking")]
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aggregate::Cubes;
use aggregate::block::{Block, Column, Mark};
use aggregate::cube::{self, CubeLane};
use aggregate::fold::{Accumulator, CompiledLane, OTHER};
use event::{Batch, BatchBuilder, Field};
use jiff::tz::TimeZone;
use proptest::prelude::*;

const MANY: usize = 100_000;

#[derive(Debug, Clone)]
struct Event {
    platform: &'static str,
    name: &'static str,
    kind: &'static str,
    activity: &'static str,
    device: u64,
    user: u64,
    time: i64,
    lateness: i64,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let text = prop::sample::select(vec!["", "web", "ios", "中文", "x"]);
    let kind = prop::sample::select(vec!["event", "event", "duplicate", "test"]);
    let activity = prop::sample::select(vec!["", "a1", "a2"]);
    let lateness = prop::sample::select(vec![0, 600_000, 600_001]);
    let one = (text.clone(), text, kind, activity, 0..4_u64, 0..3_u64, 0..300_000_i64, lateness).prop_map(
        |(platform, name, kind, activity, device, user, time, lateness)| {
            let time = 2_000_000_000_000 + time;
            Event { platform, name, kind, activity, device, user, time, lateness }
        },
    );
    prop::collection::vec(one, 1..120)
}

fn batch(events: &[Event]) -> Batch {
    let mut builder = BatchBuilder::default();
    for event in events {
        builder.text(Field::Platform, event.platform);
        builder.text(Field::EventName, event.name);
        builder.text(Field::Kind, event.kind);
        builder.text(Field::ActivityId, event.activity);
        builder.key(Field::DeviceKey, event.device);
        builder.key(Field::UserKey, event.user);
        builder.number(Field::EventTime, event.time);
        builder.number(Field::ReceivedAt, event.time + event.lateness);
        builder.number(Field::LatenessMs, event.lateness);
        builder.end_row();
    }
    Batch::decode(&builder.finish()).unwrap()
}

fn accumulator(max_groups: usize) -> Accumulator {
    let cubes = Cubes::parse(cube::BUILT_IN).unwrap();
    Accumulator::new(Arc::new(CompiledLane::new(&cubes, CubeLane::Live, 8, TimeZone::UTC)), max_groups)
}

/// Cube, pane, bucket, dimensions by name.
type Cell = (String, String, u32, BTreeMap<String, String>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    events: i64,
    late_events: i64,
    devices: BTreeSet<u64>,
    users: BTreeSet<u64>,
    received_max: i64,
}

fn naive(events: &[Event]) -> BTreeMap<Cell, Totals> {
    let mut cells: BTreeMap<Cell, Totals> = BTreeMap::new();
    for event in events {
        for (pane, width) in [("10s", 10_000), ("60s", 60_000)] {
            let mut count = |cube: &str, time: i64, dimensions: &[(&str, &str)]| {
                let named = dimensions.iter().filter(|(_, value)| !value.is_empty());
                let named = named.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
                let bucket = (time / width * width / 1000) as u32;
                let totals = cells.entry((cube.into(), pane.into(), bucket, named)).or_default();
                totals.events += 1;
                totals.received_max = totals.received_max.max(event.time + event.lateness);
                if cube == "quality" {
                    totals.late_events += i64::from(event.kind == "event" && event.lateness > 600_000);
                } else if event.device != 0 {
                    totals.devices.insert(event.device);
                }
                if cube == "activity" && event.user != 0 {
                    totals.users.insert(event.user);
                }
            };
            let Event { platform, name, kind, activity, .. } = event;
            if *kind == "event" {
                count("traffic", event.time, &[("platform", platform), ("event_name", name)]);
                if !activity.is_empty() {
                    count("activity", event.time, &[("platform", platform), ("activity_id", activity)]);
                }
            }
            count("quality", event.time + event.lateness, &[("platform", platform), ("kind", kind)]);
        }
    }
    cells
}

/// Adds the data rows of a block to the cells.
fn read(block: &Block, cells: &mut BTreeMap<Cell, Totals>) {
    let columns: BTreeMap<&str, &Column> = block.columns().collect();
    let text = |name: &str, row: usize| match columns.get(name) {
        Some(Column::Text { text, ends }) => {
            text[if row == 0 { 0 } else { ends[row - 1] }..ends[row]].to_owned()
        }
        _ => String::new(),
    };
    let number = |name: &str, row: usize| match columns.get(name) {
        Some(Column::Number(values) | Column::Millis(values)) => values[row],
        _ => 0,
    };
    let ids = |name: &str, row: usize| match columns.get(name) {
        Some(Column::Ids { ids, ends }) => ids[if row == 0 { 0 } else { ends[row - 1] }..ends[row]].to_vec(),
        _ => Vec::new(),
    };
    let dimensions = ["platform", "event_name", "kind", "activity_id", "app_id", "channel_group"];
    for row in 0..block.data_rows() {
        let Column::Seconds(buckets) = columns["bucket"] else { panic!("bucket is not in seconds") };
        let named = dimensions.iter().map(|name| ((*name).to_owned(), text(name, row)));
        let named = named.filter(|(_, value)| !value.is_empty()).collect();
        let cell = (text("cube", row), text("pane", row), buckets[row], named);
        let totals = cells.entry(cell).or_default();
        totals.events += number("events", row);
        totals.late_events += number("late_events", row);
        totals.received_max = totals.received_max.max(number("received_max", row));
        totals.devices.extend(ids("devices_ids", row));
        totals.users.extend(ids("users_ids", row));
    }
}

fn sum(block: &Block, name: &str) -> i64 {
    let column = block.columns().find(|(column, _)| *column == name).map(|(_, column)| column);
    let Some(Column::Number(values)) = column else { return 0 };
    values.iter().sum()
}

proptest! {
    #[test]
    fn totals_are_those_of_a_naive_count_for_every_split_into_flushes(
        events in events(),
        cuts in prop::collection::vec((1..30_usize, any::<bool>()), 1..20),
    ) {
        let mut accumulator = accumulator(MANY);
        let mut cells = BTreeMap::new();
        let mut rest = events.as_slice();
        for &(rows, flush) in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (first, others) = rest.split_at(rows.min(rest.len()));
            accumulator.add(0, &batch(first));
            rest = others;
            if flush {
                accumulator.flush(0, Mark::new("s", 1)).0.iter().for_each(|block| read(block, &mut cells));
            }
        }
        accumulator.flush(0, Mark::new("s", 1)).0.iter().for_each(|block| read(block, &mut cells));
        prop_assert_eq!(cells, naive(&events));
    }

    #[test]
    fn the_ledger_counts_each_event_once_for_every_split_into_flushes(
        events in events(),
        cuts in prop::collection::vec(1..30_usize, 1..20),
    ) {
        let mut accumulator = accumulator(MANY);
        let mut rest = events.as_slice();
        let mut ledger = (0, 0);
        for &rows in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (first, others) = rest.split_at(rows.min(rest.len()));
            accumulator.add(0, &batch(first));
            rest = others;
            for block in accumulator.flush(0, Mark::new("s", 1)).0 {
                ledger.0 += sum(&block, "ledger_events");
                ledger.1 += sum(&block, "ledger_duplicates");
            }
        }
        let duplicates = events.iter().filter(|event| event.kind == "duplicate").count() as i64;
        prop_assert_eq!(ledger, (events.len() as i64, duplicates));
    }

    #[test]
    fn a_replayed_flush_gives_the_same_bytes(events in events()) {
        let flush = |ledger_table_partition: Option<u32>| {
            let mut accumulator = accumulator(MANY);
            events.chunks(7).for_each(|events| accumulator.add(0, &batch(events)));
            accumulator.flush(0, Mark { ledger_table_partition, ..Mark::new("s", 9) }).0
        };
        let first = flush(None);
        let replayed = flush(first[0].table_partitions().first().copied());
        let digests = |blocks: &[Block]| blocks.iter().map(Block::digest).collect::<Vec<_>>();
        prop_assert_eq!(digests(&first), digests(&replayed));
    }

    #[test]
    fn the_same_records_give_the_same_bytes_after_any_earlier_records(
        events in events(),
        before in events(),
        elsewhere in events(),
        max_groups in prop::sample::select(vec![2, MANY]),
    ) {
        let flush = |accumulator: &mut Accumulator| -> Vec<u128> {
            events.chunks(7).for_each(|events| accumulator.add(0, &batch(events)));
            accumulator.flush(0, Mark::new("s", 9)).0.iter().map(Block::digest).collect()
        };
        let alone = flush(&mut accumulator(max_groups));
        let mut used = accumulator(max_groups);
        used.add(0, &batch(&before));
        used.flush(0, Mark::new("s", 3));
        used.add(1, &batch(&elsewhere));
        prop_assert_eq!(flush(&mut used), alone);
    }

    #[test]
    fn groups_above_the_limit_lose_their_name_but_not_their_events(events in events()) {
        let mut accumulator = accumulator(1);
        accumulator.add(0, &batch(&events));
        let (blocks, counts) = accumulator.flush(0, Mark::new("s", 1));
        let mut cells = BTreeMap::new();
        blocks.iter().for_each(|block| read(block, &mut cells));
        let naive = naive(&events);
        let total = |cells: &BTreeMap<Cell, Totals>, cube: &str, pane: &str| -> i64 {
            let of_cube = cells.iter().filter(|((c, p, ..), _)| c == cube && p == pane);
            of_cube.map(|(_, totals)| totals.events).sum()
        };
        let mut named = 0;
        for cube in ["traffic", "activity", "quality"] {
            prop_assert_eq!(total(&cells, cube, "10s"), total(&naive, cube, "10s"));
            prop_assert_eq!(total(&cells, cube, "60s"), total(&naive, cube, "60s"));
            named += total(&naive, cube, "10s");
        }
        let other = |((_, pane, _, dimensions), _): &(&Cell, &Totals)| {
            pane == "10s" && dimensions.values().all(|value| value == OTHER) && !dimensions.is_empty()
        };
        let others: i64 = cells.iter().filter(other).map(|(_, totals)| totals.events).sum();
        prop_assert_eq!(others as u64, counts.overflowed);
        prop_assert!(counts.overflowed <= named as u64);
        prop_assert_eq!(counts.events, events.len() as u64);
    }
}
