//! Events folded into the cells of a lane's cubes, one partition apart from the other.
//!
//! The rule it keeps: what [`Accumulator::flush`] gives is a pure function of the batches added since the
//! partition's last flush. No clock, no number of the interner and nothing of earlier flushes shows in it.
mod facts;
mod selection;

use std::collections::BTreeMap;
use std::sync::Arc;

use event::{Batch, Field};

pub(crate) use self::facts::Facts;
pub(crate) use self::selection::Selection;
use crate::block::{Block, Cutter, Mark, Marker};
use crate::compile::{CompiledLane, place};
use crate::days::Days;
use crate::group::Groups;
use crate::intern::Interner;
use crate::rows;

/// What every dimension holds in the group of those that found no place.
pub const OTHER: &str = "__other__";
/// The interner is emptied between flushes when it has grown beyond this many bytes of text.
const INTERNER_BYTES: usize = 16 * 1024 * 1024;

/// What was folded into one flush.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Elements read, of any kind.
    pub events: u64,
    /// Those of them that enrich recognised as duplicates.
    pub duplicates: u64,
    /// Events, or entries of exploded fields, that went to `__other__`, per cube counted once.
    pub overflowed: u64,
    /// Newest `received_at` in epoch milliseconds.
    pub received_max: i64,
}

/// Holds what has been counted of each partition and not been written yet.
#[derive(Debug)]
pub struct Accumulator {
    lane: Arc<CompiledLane>,
    max_groups: usize,
    interner: Interner,
    days: Days,
    partitions: BTreeMap<i32, Counted>,
    facts: Facts,
    selection: Selection,
}

#[derive(Debug, Default)]
struct Counted {
    cubes: Vec<Groups>,
    tally: Tally,
}

impl Accumulator {
    /// An empty accumulator. At most `max_groups` groups of each cube and flush keep their name.
    pub fn new(lane: Arc<CompiledLane>, max_groups: usize) -> Self {
        Self {
            max_groups,
            interner: Interner::default(),
            days: Days::new(lane.zone.clone()),
            partitions: BTreeMap::new(),
            facts: Facts::new(&lane),
            selection: Selection::default(),
            lane,
        }
    }

    /// Folds a batch of this partition.
    pub fn add(&mut self, partition: i32, batch: &Batch) {
        let Self { lane, max_groups, interner, days, partitions, facts, selection } = self;
        let counted = partitions.entry(partition).or_insert_with(|| Counted {
            cubes: lane.cubes.iter().map(Groups::new).collect(),
            tally: Tally::default(),
        });
        facts.look_at(lane, batch, days, interner);
        for (cube, groups) in lane.cubes.iter().zip(&mut counted.cubes) {
            selection.select(cube, batch, facts);
            if selection.is_empty() {
                continue;
            }
            let limit = Limit { max_groups: *max_groups, interner };
            counted.tally.overflowed += selection.place(cube, batch, facts, groups, limit);
            selection.measure(cube, batch, facts, groups);
        }
        counted.tally.events += batch.rows() as u64;
        counted.tally.duplicates += duplicates(batch);
        let newest = batch.number_column(Field::ReceivedAt).iter().copied().max().unwrap_or(0);
        counted.tally.received_max = counted.tally.received_max.max(newest);
    }

    /// Takes everything counted of a partition, as rows in their fixed order, cut into blocks. `mark`
    /// goes into the marker rows.
    pub fn flush(&mut self, partition: i32, mark: Mark) -> (Vec<Block>, Tally) {
        let mut counted = self.partitions.remove(&partition).unwrap_or_default();
        let ledger = [
            (place::LEDGER_EVENTS, counted.tally.events),
            (place::LEDGER_DUPLICATES, counted.tally.duplicates),
        ];
        let marker = Marker {
            mark,
            ledger: ledger.map(|(place, count)| (place, count as i64)).to_vec(),
            keep_days: self.lane.marker_keep_days,
            time: place::BUCKET,
            keep: place::KEEP_DAYS,
            src: place::SRC,
            src_end: place::SRC_END,
        };
        let mut cutter = Cutter::new(self.lane.layout.clone(), marker);
        for (cube, groups) in self.lane.cubes.iter().zip(&mut counted.cubes) {
            rows::write(cube, groups, &self.interner, &mut self.days, &mut cutter);
        }
        self.forget_texts();
        if counted.tally.events > 0 {
            cutter.keep_ledger(u32::try_from(counted.tally.received_max / 1000).unwrap_or(0));
        }
        (cutter.finish(), counted.tally)
    }

    /// Drops what was counted of a partition.
    pub fn discard(&mut self, partition: i32) {
        self.partitions.remove(&partition);
        self.forget_texts();
    }

    fn forget_texts(&mut self) {
        if self.partitions.is_empty() && self.interner.bytes() > INTERNER_BYTES {
            self.interner.clear();
        }
    }
}

/// What bounds the groups of a cube, and the interner that names the rest.
pub(crate) struct Limit<'a> {
    pub(crate) max_groups: usize,
    pub(crate) interner: &'a mut Interner,
}

/// Rows of kind `duplicate`. The name stands once among the texts of a batch.
fn duplicates(batch: &Batch) -> u64 {
    let kinds = batch.text_column(Field::Kind);
    // Runs of one kind are long: most rows have the text of the row before.
    let mut last = (u32::MAX, false);
    let mut count = 0;
    for &kind in kinds {
        if kind != last.0 {
            last = (kind, batch.resolve(kind) == "duplicate");
        }
        count += u64::from(last.1);
    }
    count
}
