//! Events folded into the cells of a lane's cubes, one partition apart from the other.
//!
//! The rule it keeps: what [`Accumulator::flush`] gives is a pure function of the batches added since the
//! partition's last flush. No clock, no number of the interner and nothing of earlier flushes shows in it.
use std::collections::BTreeMap;
use std::sync::Arc;

use event::{Batch, Field, FieldKind, predicate::Condition};
use xxhash_rust::xxh3::xxh3_64;

use crate::block::{Block, Cutter, Mark, Marker};
use crate::compile::{CompiledCube, CompiledLane, place};
use crate::cube::Fold;
use crate::group::Groups;
use crate::intern::{Interner, TextId};
use crate::rows;

/// What every dimension holds in the group of those that found no place.
pub const OTHER: &str = "__other__";
/// The interner is emptied between flushes when it has grown beyond this many bytes of text.
const INTERNER_BYTES: usize = 16 * 1024 * 1024;
const NOT_MAPPED: TextId = TextId::MAX;

/// What was folded into one flush.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Elements read, of any kind.
    pub events: u64,
    /// Those of them that enrich recognised as duplicates.
    pub duplicates: u64,
    /// Events that went to `__other__`, per cube counted once.
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
    partitions: BTreeMap<i32, Counted>,
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Counted {
    cubes: Vec<Groups>,
    tally: Tally,
}

/// Space used again for each batch.
#[derive(Debug, Default)]
struct Scratch {
    /// The interner's number of each text of the batch.
    text_ids: Vec<TextId>,
    /// For each condition of the lane, whether each row passes.
    passes: Vec<Vec<bool>>,
    /// For each dimension of the lane, the text of each row.
    dimensions: Vec<Vec<TextId>>,
    /// What a condition said about each text of the batch.
    said: Vec<Option<bool>>,
    /// Rows of the current cube.
    rows: Vec<u32>,
    /// Cell of each of those rows.
    cells: Vec<u32>,
    /// Rows and cells that pass a measure's own conditions.
    passing: Vec<(u32, u32)>,
}

impl Accumulator {
    /// An empty accumulator. At most `max_groups` groups of each cube and flush keep their name.
    pub fn new(lane: Arc<CompiledLane>, max_groups: usize) -> Self {
        Self {
            max_groups,
            interner: Interner::default(),
            partitions: BTreeMap::new(),
            scratch: Scratch {
                passes: vec![Vec::new(); lane.conditions.len()],
                dimensions: vec![Vec::new(); lane.table.dimensions.len()],
                ..Scratch::default()
            },
            lane,
        }
    }

    /// Folds a batch of this partition.
    pub fn add(&mut self, partition: i32, batch: &Batch) {
        let Self { lane, max_groups, interner, partitions, scratch } = self;
        let counted = partitions.entry(partition).or_insert_with(|| Counted {
            cubes: lane.cubes.iter().map(Groups::new).collect(),
            tally: Tally::default(),
        });
        for (passes, condition) in scratch.passes.iter_mut().zip(&lane.conditions) {
            evaluate(condition, batch, &mut scratch.said, passes);
        }
        scratch.text_ids.clear();
        scratch.text_ids.resize(batch.text_count(), NOT_MAPPED);
        for (ids, &field) in scratch.dimensions.iter_mut().zip(&lane.table.dimensions) {
            map_texts(field, batch, interner, &mut scratch.text_ids, ids);
        }
        for (cube, groups) in lane.cubes.iter().zip(&mut counted.cubes) {
            scratch.select(&cube.conditions, batch.rows());
            let keys = Keys { rows: &scratch.rows, dimensions: &scratch.dimensions };
            let limit = Limit { max_groups: *max_groups, interner };
            counted.tally.overflowed += groups.place(cube, batch, keys, limit, &mut scratch.cells);
            scratch.measure(cube, batch, groups);
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
            rows::write(cube, groups, &self.interner, &mut cutter);
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

/// The rows of a batch that feed a cube, and the texts of the lane's dimensions.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) rows: &'a [u32],
    pub(crate) dimensions: &'a [Vec<TextId>],
}

impl Scratch {
    fn select(&mut self, conditions: &[usize], rows: usize) {
        self.rows.clear();
        match conditions {
            [] => self.rows.extend(0..rows as u32),
            [only] => {
                let passes = &self.passes[*only];
                self.rows.extend((0..rows as u32).filter(|&row| passes[row as usize]));
            }
            several => {
                let passes = &self.passes;
                let all = |row: &u32| several.iter().all(|&one| passes[one][*row as usize]);
                self.rows.extend((0..rows as u32).filter(all));
            }
        }
    }

    fn measure(&mut self, cube: &CompiledCube, batch: &Batch, groups: &mut Groups) {
        let received = batch.number_column(Field::ReceivedAt);
        for (&row, &cell) in self.rows.iter().zip(&self.cells) {
            groups.received(cell, received.get(row as usize).copied().unwrap_or(0));
        }
        for (place, sum) in cube.sums.iter().enumerate() {
            let values = match sum.fold {
                Fold::Sum(field) => Some(batch.number_column(field)),
                Fold::Count | Fold::Uniq(_) => None,
            };
            let add = |row: u32, cell: u32, groups: &mut Groups| {
                let value = values.map_or(1, |values| values.get(row as usize).copied().unwrap_or(0));
                groups.add(cell, place, value);
            };
            self.each_passing(&sum.conditions, groups, add);
        }
        for (place, uniq) in cube.uniqs.iter().enumerate() {
            let Fold::Uniq(field) = uniq.fold else { continue };
            let keys = batch.key_column(field);
            let texts = batch.text_column(field);
            let is_key = field.kind() == FieldKind::Key;
            let add = |row: u32, cell: u32, groups: &mut Groups| {
                let id = if is_key {
                    keys.get(row as usize).copied().unwrap_or(0)
                } else {
                    match texts.get(row as usize).copied().unwrap_or(0) {
                        0 => 0,
                        text => xxh3_64(batch.resolve(text).as_bytes()),
                    }
                };
                // 0 is nobody: a device or user that is not known is not one more.
                if id != 0 {
                    groups.saw(cell, place, id);
                }
            };
            self.each_passing(&uniq.conditions, groups, add);
        }
    }

    fn each_passing(
        &mut self,
        conditions: &[usize],
        groups: &mut Groups,
        add: impl Fn(u32, u32, &mut Groups),
    ) {
        let pairs = self.rows.iter().copied().zip(self.cells.iter().copied());
        if conditions.is_empty() {
            pairs.for_each(|(row, cell)| add(row, cell, groups));
            return;
        }
        let passes = &self.passes;
        self.passing.clear();
        self.passing
            .extend(pairs.filter(|(row, _)| conditions.iter().all(|&one| passes[one][*row as usize])));
        self.passing.iter().for_each(|&(row, cell)| add(row, cell, groups));
    }
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

/// Asks a condition about every row; of a text, once per different text.
fn evaluate(condition: &Condition, batch: &Batch, said: &mut Vec<Option<bool>>, passes: &mut Vec<bool>) {
    let (field, test) = (condition.field, &condition.test);
    passes.clear();
    match field.kind() {
        FieldKind::Text => {
            said.clear();
            said.resize(batch.text_count(), None);
            for &text in batch.text_column(field) {
                let place = &mut said[text as usize];
                passes.push(*place.get_or_insert_with(|| test.text(batch.resolve(text))));
            }
            passes.resize(batch.rows(), test.text(""));
        }
        FieldKind::Number => {
            passes.extend(batch.number_column(field).iter().map(|&value| test.number(value)));
            passes.resize(batch.rows(), test.number(0));
        }
        FieldKind::Key | FieldKind::Uuid | FieldKind::List | FieldKind::Map => {
            passes.extend(batch.key_column(field).iter().map(|&key| test.number(key as i64)));
            passes.resize(batch.rows(), test.number(0));
        }
    }
}

/// The interner's numbers of a text field, row by row.
fn map_texts(
    field: Field,
    batch: &Batch,
    interner: &mut Interner,
    known: &mut [TextId],
    ids: &mut Vec<TextId>,
) {
    ids.clear();
    ids.extend(batch.text_column(field).iter().map(|&text| {
        let place = &mut known[text as usize];
        if *place == NOT_MAPPED {
            *place = interner.intern(batch.resolve(text));
        }
        *place
    }));
    ids.resize(batch.rows(), 0);
}
