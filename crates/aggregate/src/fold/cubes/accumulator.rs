//! The buffer of the lanes `live` and `report`: what has been counted of each Kafka partition since its last flush.
//!
//! [`Accumulator::flush`] is a pure function of the batches added since the partition's last flush. Its result is
//! independent of the clock, of the interner's numbers and of earlier flushes.
use std::collections::BTreeMap;
use std::sync::Arc;

use event::{Batch, Field, calendar::BusinessDays};

use super::compiled::CompiledLane;
use super::facts::Facts;
use super::groups::{Groups, Limit};
use super::interner::Interner;
use super::rows;
use super::selection::Selection;
use crate::block::{Block, BlockBuilder, Mark, MarkerRows};
use crate::fold::decode::decode;
use crate::fold::lane_fold::{Added, FlushCounts, Input, LaneFold, Unreadable};
use crate::table::lane_column;

/// What one row takes in a column of a block without its texts and IDs, at most.
const CELL_BYTES: usize = size_of::<u64>();

/// Holds what has been counted of each Kafka partition since its last flush.
#[derive(Debug)]
pub struct Accumulator {
    lane: Arc<CompiledLane>,
    max_groups: usize,
    days: BusinessDays,
    partitions: BTreeMap<i32, Counted>,
    facts: Facts,
    selection: Selection,
}

#[derive(Debug, Default)]
struct Counted {
    cubes: Vec<Groups>,
    /// The texts of the groups. They end with the flush, so that they do not grow with every text ever seen.
    interner: Interner,
    counts: FlushCounts,
    /// Whether a cube with cells sets each column: then every row of the flush has a value there.
    is_set: Vec<bool>,
}

impl Counted {
    fn new(lane: &CompiledLane) -> Self {
        Self {
            cubes: lane.cubes.iter().map(Groups::new).collect(),
            is_set: vec![false; lane.layout.columns().len()],
            ..Self::default()
        }
    }

    /// Bytes of a row of the flush without its texts and IDs.
    fn row_bytes(&self) -> usize {
        self.is_set.iter().filter(|is_set| **is_set).count() * CELL_BYTES
    }

    /// Bytes of memory that it takes now and that its rows will take.
    fn bytes(&self, lane: &CompiledLane) -> usize {
        let row_bytes = self.row_bytes();
        let cubes = lane.cubes.iter().zip(&self.cubes);
        let cubes =
            cubes.map(|(cube, groups)| groups.heap_bytes() + groups.row_bytes(cube.panes.len(), row_bytes));
        self.interner.heap_bytes() + self.cubes.capacity() * size_of::<Groups>() + cubes.sum::<usize>()
    }
}

impl Accumulator {
    /// An empty accumulator. Each cube has at most `max_groups` groups in a flush; events of further groups are counted
    /// in the group [`OTHER`](super::OTHER).
    pub fn new(lane: Arc<CompiledLane>, max_groups: usize) -> Self {
        Self {
            max_groups,
            days: BusinessDays::in_zone(lane.zone.clone()),
            partitions: BTreeMap::new(),
            facts: Facts::new(&lane),
            selection: Selection::default(),
            lane,
        }
    }

    /// Adds a batch of a Kafka partition to its cubes.
    pub fn add(&mut self, partition: i32, batch: &Batch) {
        let Self { lane, max_groups, days, partitions, facts, selection } = self;
        let counted = partitions.entry(partition).or_insert_with(|| Counted::new(lane));
        let Counted { cubes, interner, is_set, .. } = &mut *counted;
        let mut overflowed = 0;
        facts.read(lane, batch, days, interner);
        for (cube, groups) in lane.cubes.iter().zip(cubes) {
            selection.select(cube, batch, facts);
            if selection.is_empty() {
                continue;
            }
            if groups.cells().is_empty() {
                cube.columns.iter().for_each(|&column| is_set[column] = true);
            }
            let limit = Limit { max_groups: *max_groups, interner };
            overflowed += selection.place(cube, batch, facts, groups, limit);
            selection.measure(cube, batch, facts, groups);
        }
        counted.counts.overflowed += overflowed;
        counted.counts.events += batch.rows() as u64;
        counted.counts.duplicates += duplicates(batch);
        let newest = batch.number_column(Field::ReceivedAt).iter().copied().max().unwrap_or(0);
        counted.counts.received_max = counted.counts.received_max.max(newest);
    }

    /// Returns and removes everything counted of a Kafka partition, as rows in a fixed order, cut into blocks. `mark`
    /// goes into the marker rows.
    pub fn flush(&mut self, partition: i32, mark: Mark) -> (Vec<Block>, FlushCounts) {
        let mut counted = self.partitions.remove(&partition).unwrap_or_default();
        let ledger = [
            (lane_column::LEDGER_EVENTS, counted.counts.events),
            (lane_column::LEDGER_DUPLICATES, counted.counts.duplicates),
        ];
        let markers = MarkerRows {
            mark: mark.with_ledger_of(counted.counts.events),
            ledger: ledger.map(|(column, count)| (column, count as i64)).to_vec(),
            keep_days: self.lane.marker_keep_days,
            time_column: lane_column::BUCKET,
            keep_days_column: lane_column::KEEP_DAYS,
            src_column: lane_column::SRC,
            src_end_column: lane_column::SRC_END,
        };
        let mut builder = BlockBuilder::new(self.lane.layout.clone(), markers);
        let row_bytes = counted.row_bytes();
        // The groups of a cube are dropped as soon as their rows are written.
        for (cube, groups) in self.lane.cubes.iter().zip(std::mem::take(&mut counted.cubes)) {
            rows::write(cube, &groups, &counted.interner, &mut self.days, row_bytes, &mut builder);
        }
        if counted.counts.events > 0 {
            builder.keep_ledger(u32::try_from(counted.counts.received_max / 1000).unwrap_or(0));
        }
        (builder.finish(), counted.counts)
    }

    /// Drops everything counted of a Kafka partition.
    pub fn discard(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    fn bytes(&self, partition: i32) -> usize {
        self.partitions.get(&partition).map_or(0, |counted| counted.bytes(&self.lane))
    }
}

impl LaneFold for Accumulator {
    fn add(&mut self, input: &Input<'_>) -> Result<Added, Unreadable> {
        let batch = decode(input)?;
        let before = self.bytes(input.partition);
        Self::add(self, input.partition, &batch);
        let bytes = self.bytes(input.partition).saturating_sub(before);
        Ok(Added { events: batch.rows() as u64, bytes, foreign: None })
    }

    fn flush(&mut self, partition: i32, mark: Mark) -> (Vec<Block>, FlushCounts) {
        Self::flush(self, partition, mark)
    }

    fn discard(&mut self, partition: i32) {
        Self::discard(self, partition);
    }
}

/// Number of rows of kind `duplicate`.
fn duplicates(batch: &Batch) -> u64 {
    let kinds = batch.text_column(Field::Kind);
    // Most rows have the kind of the row before, so the text is compared once per run of equal kinds.
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
