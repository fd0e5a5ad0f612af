//! The rows of a batch that count in one cube: selected, put into their cells, and measured.
use event::{Batch, Field, FieldKind};
use xxhash_rust::xxh3::xxh3_64;

use super::compiled::{CompiledCube, CompiledMeasure, CompiledSource};
use super::facts::Facts;
use super::groups::{Groups, Limit};
use super::interner::TextId;
use crate::cube::{EntryCondition, Half};

/// Rows of a batch; where the cube explodes a field, a row once per entry. Its memory is reused.
#[derive(Debug, Default)]
pub(super) struct Selection {
    rows: Vec<u32>,
    /// The entry of each row, as texts of the batch; empty when no field is exploded.
    entries: Vec<Entry>,
    /// The cell of each row, in the cube's groups.
    cells: Vec<u32>,
    /// The key of each row: one text per dimension.
    keys: Vec<TextId>,
    hashes: Vec<u64>,
    /// Indexes into `rows` of those that pass a measure's own conditions.
    passing: Vec<u32>,
}

/// An entry of a list, or name and value of a map.
#[derive(Debug, Clone, Copy)]
struct Entry(u32, u32);

impl Entry {
    fn text(self, half: Half) -> u32 {
        match half {
            Half::First => self.0,
            Half::Second => self.1,
        }
    }
}

impl Selection {
    /// Selects the rows of a cube.
    pub(super) fn select(&mut self, cube: &CompiledCube, batch: &Batch, facts: &Facts) {
        self.rows.clear();
        self.entries.clear();
        let mut mask = facts.passing(&cube.conditions);
        if !cube.property_conditions.is_empty() {
            mask.and(&facts.passing(&cube.property_conditions));
        }
        if mask.is_empty() {
            return;
        }
        let Some(field) = cube.explode else {
            self.rows.extend(mask.rows());
            return;
        };
        let is_map = field.kind() == FieldKind::Map;
        for row in mask.rows() {
            for texts in batch.list(field, row as usize).chunks(if is_map { 2 } else { 1 }) {
                let first = texts.first().copied().unwrap_or(0);
                let entry = Entry(first, texts.get(1).copied().unwrap_or(0));
                if holds(&cube.entry_conditions, entry, batch, row) {
                    self.rows.push(row);
                    self.entries.push(entry);
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Finds the cell of each row, and returns how many rows went to the group [`OTHER`](super::OTHER).
    pub(super) fn place(
        &mut self,
        cube: &CompiledCube,
        batch: &Batch,
        facts: &mut Facts,
        groups: &mut Groups,
        mut limit: Limit<'_>,
    ) -> u64 {
        self.key_rows(cube, batch, facts, &mut limit);
        self.cells.clear();
        let buckets = facts.cells(cube.clock);
        let width = cube.dimensions.len();
        let mut overflowed = 0;
        for (nth, &row) in self.rows.iter().enumerate() {
            let key = &self.keys[nth * width..(nth + 1) * width];
            let (group, is_other) = groups.group(self.hashes[nth], key, &mut limit);
            overflowed += u64::from(is_other);
            self.cells.push(groups.cell(group, buckets[row as usize]));
        }
        overflowed
    }

    /// Computes key and hash of each row: dimension by dimension, so that the processor works on several rows at once.
    fn key_rows(&mut self, cube: &CompiledCube, batch: &Batch, facts: &mut Facts, limit: &mut Limit<'_>) {
        let Self { rows, entries, keys, hashes, .. } = self;
        let width = cube.dimensions.len();
        hashes.clear();
        hashes.resize(rows.len(), 0);
        keys.clear();
        keys.resize(rows.len() * width, 0);
        for (nth, &(source, _)) in cube.dimensions.iter().enumerate() {
            let places = keys.iter_mut().skip(nth).step_by(width.max(1));
            let hashed = hashes.iter_mut().zip(places);
            let note = |hash: &mut u64, place: &mut TextId, text: TextId| {
                *place = text;
                *hash = Groups::hashed(*hash, text);
            };
            match source {
                CompiledSource::Field(field) => {
                    let texts = batch.text_column(field);
                    for ((hash, place), &row) in hashed.zip(rows.iter()) {
                        let text = texts.get(row as usize).copied().unwrap_or(0);
                        note(hash, place, facts.text_id(text, batch, limit.interner));
                    }
                }
                CompiledSource::Entry(half) => {
                    for ((hash, place), entry) in hashed.zip(entries.iter()) {
                        note(hash, place, facts.text_id(entry.text(half), batch, limit.interner));
                    }
                }
                CompiledSource::Property(slot) => {
                    let texts = &facts.property(slot).texts;
                    for ((hash, place), &row) in hashed.zip(rows.iter()) {
                        note(hash, place, texts[row as usize]);
                    }
                }
            }
        }
    }

    /// Adds the rows to the measures of their cells.
    pub(super) fn measure(&mut self, cube: &CompiledCube, batch: &Batch, facts: &Facts, groups: &mut Groups) {
        let received = batch.number_column(Field::ReceivedAt);
        for (&row, &cell) in self.rows.iter().zip(&self.cells) {
            groups.received(cell, received.get(row as usize).copied().unwrap_or(0));
        }
        for (place, sum) in cube.sums.iter().enumerate() {
            let values = match sum.source {
                None => None,
                Some(CompiledSource::Field(field)) => Some(batch.number_column(field)),
                Some(CompiledSource::Property(slot)) => Some(facts.property(slot).numbers.as_slice()),
                Some(CompiledSource::Entry(_)) => continue,
            };
            match values {
                None => self.each_passing(sum, batch, facts, |_, cell| groups.add(cell, place, 1)),
                // No event of the batch has the field.
                Some([]) => (),
                Some(values) => self.each_passing(sum, batch, facts, |row, cell| {
                    groups.add(cell, place, values.get(row as usize).copied().unwrap_or(0));
                }),
            }
        }
        for (place, uniq) in cube.uniqs.iter().enumerate() {
            // 0 is an unknown device or user: it does not count.
            let mut saw = |cell: u32, id: u64| {
                if id != 0 {
                    groups.saw(cell, place, id);
                }
            };
            match uniq.source {
                Some(CompiledSource::Field(field)) if field.kind() == FieldKind::Key => {
                    let keys = batch.key_column(field);
                    self.each_passing(uniq, batch, facts, |row, cell| {
                        saw(cell, keys.get(row as usize).copied().unwrap_or(0));
                    });
                }
                Some(CompiledSource::Field(field)) => {
                    let texts = batch.text_column(field);
                    self.each_passing(uniq, batch, facts, |row, cell| {
                        match texts.get(row as usize).copied().unwrap_or(0) {
                            0 => (),
                            text => saw(cell, xxh3_64(batch.resolve(text).as_bytes())),
                        }
                    });
                }
                Some(CompiledSource::Property(slot)) => {
                    let ids = &facts.property(slot).ids;
                    self.each_passing(uniq, batch, facts, |row, cell| saw(cell, ids[row as usize]));
                }
                Some(CompiledSource::Entry(_)) | None => (),
            }
        }
    }

    fn each_passing(
        &mut self,
        measure: &CompiledMeasure,
        batch: &Batch,
        facts: &Facts,
        mut add: impl FnMut(u32, u32),
    ) {
        let Self { rows, entries, cells, passing, .. } = self;
        if measure.conditions.is_empty() && measure.entry_conditions.is_empty() {
            rows.iter().zip(cells.iter()).for_each(|(&row, &cell)| add(row, cell));
            return;
        }
        let mask = facts.passing(&measure.conditions);
        if mask.is_empty() {
            return;
        }
        passing.clear();
        passing.extend((0..rows.len() as u32).filter(|&nth| mask.has(rows[nth as usize])));
        if !measure.entry_conditions.is_empty() {
            passing.retain(|&nth| {
                let (row, entry) = (rows[nth as usize], entries[nth as usize]);
                holds(&measure.entry_conditions, entry, batch, row)
            });
        }
        passing.iter().for_each(|&nth| add(rows[nth as usize], cells[nth as usize]));
    }
}

fn holds(conditions: &[EntryCondition], entry: Entry, batch: &Batch, row: u32) -> bool {
    conditions.iter().all(|condition| match condition {
        EntryCondition::Is(half, test) => test.text(batch.resolve(entry.text(*half))),
        EntryCondition::IsIn(half, list) => {
            let wanted = entry.text(*half);
            // A batch may hold the same text under two numbers, when two stages wrote it.
            let is_it = |&text: &u32| text == wanted || batch.resolve(text) == batch.resolve(wanted);
            batch.list(*list, row as usize).iter().any(is_it)
        }
    })
}
