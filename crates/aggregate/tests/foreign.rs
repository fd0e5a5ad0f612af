//! No message ends a lane: bytes that are nearly a batch are foreign, or they are folded and flushed.
#![expect(clippy::unwrap_used, reason = "a test may end by panicking")]
use std::sync::Arc;

use aggregate::Cubes;
use aggregate::block::Mark;
use aggregate::cube::{self, CubeLane};
use aggregate::fold::{Accumulator, Buffers, CompiledLane, DeadLetters, Events, Input, LaneFold};
use event::{BatchBuilder, FIELDS, Field, FieldKind};
use jiff::tz::TimeZone;
use proptest::prelude::*;

const TIME: i64 = 2_000_000_000_000;

fn batch(numbers: &[i64]) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for &number in numbers {
        for &field in FIELDS {
            match field.kind() {
                FieldKind::Text => builder.text(field, ["event", "a", "bc"][number as usize % 3]),
                FieldKind::Number => builder.number(field, number),
                FieldKind::Key => builder.key(field, number as u64),
                FieldKind::Uuid => builder.uuid(field, number as u128),
                FieldKind::List | FieldKind::Map => {
                    builder.push_list(field, "x");
                    builder.push_list(field, "y");
                }
            }
        }
        builder.text(Field::Kind, "event");
        builder.end_row();
    }
    builder.finish()
}

fn lanes() -> Vec<Buffers> {
    let cubes = Cubes::parse(cube::BUILT_IN).unwrap();
    let of_cubes = |lane| {
        let compiled = CompiledLane::new(&cubes, lane, 8, TimeZone::UTC);
        Box::new(Accumulator::new(Arc::new(compiled), 1000)) as Box<dyn LaneFold>
    };
    let folds = [of_cubes(CubeLane::Live), of_cubes(CubeLane::Report), Box::new(Events::new(30))];
    folds.map(|fold| Buffers::new("live", fold, Some(DeadLetters::foreign_to("enriched-events")))).into()
}

fn input(value: Option<&[u8]>) -> Input<'_> {
    Input { partition: 0, offset: 7, timestamp_ms: TIME, key: None, value, headers: Vec::new() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_damaged_batch_is_foreign_or_is_counted(
        numbers in prop::collection::vec(prop_oneof![any::<i64>(), Just(TIME)], 1..4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = batch(&numbers.iter().map(|number| number.wrapping_abs().max(0)).collect::<Vec<_>>());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        for mut lane in lanes() {
            // A newer format is the only error.
            let Ok(read) = lane.add(&input(Some(&bytes))) else { continue };
            let flushed = lane.flush(0, Mark::new("1/enriched-events/0", 8));
            prop_assert_eq!(flushed.counts.events, read.events);
            prop_assert_eq!(flushed.blocks.len() - flushed.own_blocks, usize::from(read.foreign.is_some()));
        }
    }
}

#[test]
fn a_foreign_message_is_the_last_block_of_its_flush_and_has_no_ledger() {
    for honest in [false, true] {
        for mut lane in lanes() {
            let good = batch(&[TIME]);
            let foreign = [None, Some(&b""[..]), Some(b"{}")];
            for value in foreign.into_iter().chain(honest.then_some(Some(good.as_slice()))) {
                lane.add(&input(value)).unwrap();
            }
            for ledger_table_partition in [None, Some(0)] {
                // Built again by the next owner, who knows where the ledger was.
                let mark = Mark { ledger_table_partition, ..Mark::new("1/enriched-events/0", 8) };
                let flushed = lane.flush(0, mark);
                if ledger_table_partition.is_none() {
                    assert_eq!(flushed.own_blocks, usize::from(honest));
                    assert_eq!(flushed.blocks.len(), flushed.own_blocks + 1);
                    let letters = flushed.blocks.last().unwrap();
                    assert_eq!(letters.data_rows(), foreign.len());
                } else {
                    assert!(flushed.blocks.is_empty(), "there is no ledger without events");
                }
            }
        }
    }
}
