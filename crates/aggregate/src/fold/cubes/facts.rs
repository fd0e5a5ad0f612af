//! What a lane needs to know of every row of a batch: which conditions it passes, into which cells its times fall, which
//! values are in its properties. Each is found once, for all cubes that share it.
use event::predicate::{PropertyValue, Test};
use event::{Batch, Field, FieldKind, Limits, calendar::BusinessDays};
use xxhash_rust::xxh3::xxh3_64;

use super::compiled::{CompiledCondition, CompiledLane};
use super::interner::{Interner, TextId};
use super::mask::Mask;

const NOT_MAPPED: TextId = TextId::MAX;
/// Most characters of a dimension out of `properties`.
const DIMENSION_CHARACTERS: usize = Limits::PROPERTY_CHARACTERS;

/// What is known of the rows of one batch. Its memory is reused for the next batch.
#[derive(Debug)]
pub(super) struct Facts {
    rows: usize,
    /// The rows that pass each condition of the lane.
    passes: Vec<Mask>,
    /// The cell of each row, by clock.
    cells: Vec<Vec<u32>>,
    /// The interner's number of each text of the batch that was looked up.
    text_ids: Vec<TextId>,
    properties: Vec<PropertyRows>,
    /// Whether each text of the batch passes the present condition: 0 not tested, 1 no, 2 yes.
    tested_texts: Vec<u8>,
}

/// One value inside `properties`, row by row, in the forms in which it is used.
#[derive(Debug, Clone, Default)]
pub(super) struct PropertyRows {
    /// As a dimension.
    pub(super) texts: Vec<TextId>,
    /// As a number to add.
    pub(super) numbers: Vec<i64>,
    /// As an ID for a sketch; 0 for none.
    pub(super) ids: Vec<u64>,
}

impl Facts {
    pub(super) fn new(lane: &CompiledLane) -> Self {
        Self {
            rows: 0,
            passes: vec![Mask::NONE; lane.conditions.len()],
            cells: vec![Vec::new(); lane.clocks.len()],
            text_ids: Vec::new(),
            properties: vec![PropertyRows::default(); lane.property_uses.len()],
            tested_texts: Vec::new(),
        }
    }

    /// Finds the facts of a batch.
    pub(super) fn read(
        &mut self,
        lane: &CompiledLane,
        batch: &Batch,
        days: &mut BusinessDays,
        interner: &mut Interner,
    ) {
        self.rows = batch.rows();
        self.text_ids.clear();
        self.text_ids.resize(batch.text_count(), NOT_MAPPED);
        for (passes, CompiledCondition { condition, slot }) in self.passes.iter_mut().zip(&lane.conditions) {
            *passes = match slot {
                None => rows_passing(condition.field, &condition.test, batch, &mut self.tested_texts),
                Some(_) => Mask::NONE,
            };
        }
        for (cells, clock) in self.cells.iter_mut().zip(&lane.clocks) {
            cells.clear();
            let times = batch.number_column(clock.time);
            cells.extend(times.iter().map(|&millis| clock.cell(millis, days)));
            cells.resize(self.rows, clock.cell(0, days));
        }
        self.read_properties(lane, batch, interner);
    }

    /// Parses the properties of the rows that pass the other conditions of a cube that reads properties.
    fn read_properties(&mut self, lane: &CompiledLane, batch: &Batch, interner: &mut Interner) {
        let mut wanted = Mask::NONE;
        for cube in lane.cubes.iter().filter(|cube| cube.needs_properties) {
            wanted.or(&self.passing(&cube.conditions));
        }
        if wanted.is_empty() {
            return;
        }
        for values in &mut self.properties {
            let PropertyRows { texts, numbers, ids } = values;
            texts.clear();
            texts.resize(self.rows, 0);
            numbers.clear();
            numbers.resize(self.rows, 0);
            ids.clear();
            ids.resize(self.rows, 0);
        }
        let mut values: Vec<PropertyValue<'_>> = Vec::new();
        for row in wanted.rows() {
            let row = row as usize;
            lane.properties.read(batch.text(Field::Properties, row), &mut values);
            for (passes, CompiledCondition { condition, slot }) in
                self.passes.iter_mut().zip(&lane.conditions)
            {
                if let Some(slot) = *slot {
                    passes.set(row, condition.test.property(&values[slot]));
                }
            }
            for ((rows, uses), value) in self.properties.iter_mut().zip(&lane.property_uses).zip(&values) {
                if uses.text || uses.id {
                    let text = value.text();
                    if uses.text {
                        rows.texts[row] = interner.intern(cut(&text));
                    }
                    if uses.id && !text.is_empty() {
                        rows.ids[row] = xxh3_64(text.as_bytes());
                    }
                }
                if uses.number {
                    rows.numbers[row] = value.number().unwrap_or(0);
                }
            }
        }
    }

    /// The rows that pass all of these conditions.
    pub(super) fn passing(&self, conditions: &[usize]) -> Mask {
        let mut mask = Mask::first(self.rows);
        conditions.iter().for_each(|&condition| mask.and(&self.passes[condition]));
        mask
    }

    /// The cell of each row by a clock.
    pub(super) fn cells(&self, clock: usize) -> &[u32] {
        &self.cells[clock]
    }

    /// A value inside `properties`; empty when no row of this batch needs it.
    pub(super) fn property(&self, slot: usize) -> &PropertyRows {
        &self.properties[slot]
    }

    /// The interner's number of a text of the batch.
    #[inline]
    pub(super) fn text_id(&mut self, text: u32, batch: &Batch, interner: &mut Interner) -> TextId {
        let id = &mut self.text_ids[text as usize];
        if *id == NOT_MAPPED {
            *id = interner.intern(batch.resolve(text));
        }
        *id
    }
}

/// The first characters of a text.
fn cut(text: &str) -> &str {
    text.char_indices().nth(DIMENSION_CHARACTERS).map_or(text, |(end, _)| &text[..end])
}

/// The rows that pass a test on a field. Each distinct text is tested once.
fn rows_passing(field: Field, test: &Test, batch: &Batch, tested_texts: &mut Vec<u8>) -> Mask {
    let mut mask = Mask::NONE;
    let (given, passes_empty) = match field.kind() {
        FieldKind::Text => {
            let texts = batch.text_column(field);
            tested_texts.clear();
            tested_texts.resize(batch.text_count(), 0);
            for (row, &text) in texts.iter().enumerate() {
                let known = &mut tested_texts[text as usize];
                if *known == 0 {
                    *known = 1 + u8::from(test.text(batch.resolve(text)));
                }
                mask.set(row, *known == 2);
            }
            (texts.len(), test.text(""))
        }
        FieldKind::Number => {
            let numbers = batch.number_column(field);
            numbers.iter().enumerate().for_each(|(row, &number)| mask.set(row, test.number(number)));
            (numbers.len(), test.number(0))
        }
        FieldKind::Key | FieldKind::Uuid | FieldKind::List | FieldKind::Map => {
            let keys = batch.key_column(field);
            // A condition on a key can only test whether it is set.
            let there = keys.iter().map(|&key| test.number(i64::from(key != 0)));
            there.enumerate().for_each(|(row, passes)| mask.set(row, passes));
            (keys.len(), test.number(0))
        }
    };
    if passes_empty {
        (given..batch.rows()).for_each(|row| mask.set(row, true));
    }
    mask
}
