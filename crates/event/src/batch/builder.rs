//! Builds a batch row by row, or adds fields to a decoded one.
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use super::{
    column::{Column, set},
    decoded::{Batch, MAX_ROWS},
    recent_text::{RECENT_SLOTS, RecentText},
    texts::{TextRef, Texts},
    wire,
};
use crate::field::{FIELDS, Field, FieldKind};

/// A batch is full when its texts exceed this, in bytes, so that a message stays below Kafka's limits.
const MAX_TEXT_BYTES: usize = 512 * 1024;

/// Builds a batch row by row: set the fields of an event in any order, then call [`end_row`](Self::end_row).
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    row: usize,
    batch: Batch,
    /// Texts that may occur again, by hash.
    known: HashTable<TextRef>,
    /// The text that was last set, by slot. Most repeated texts are found here without hashing all their bytes.
    recent: Vec<RecentText>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        let columns = vec![Column::default(); FIELDS.len()];
        Self::stamping(Batch { rows: 0, texts: Texts::default(), columns, unknown: Vec::new() })
    }
}

impl BatchBuilder {
    /// Continues a decoded batch: its columns stay, and further fields are set row by row from the first event on.
    /// Setting a field that already has values replaces them, row by row.
    pub fn stamping(batch: Batch) -> Self {
        Self { row: 0, batch, known: HashTable::new(), recent: Vec::new() }
    }

    /// The batch in its current state.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Number of finished rows.
    pub fn rows(&self) -> usize {
        self.row
    }

    /// Whether the batch should be sent before another event is added.
    pub fn is_full(&self) -> bool {
        self.row >= MAX_ROWS || self.batch.texts.text.len() >= MAX_TEXT_BYTES
    }

    /// Sets a text that other events of the batch probably share. '' leaves the field absent.
    pub fn text(&mut self, field: Field, value: &str) {
        debug_assert_eq!(field.kind(), FieldKind::Text);
        let text = self.shared(field, value);
        self.set_text(field, text);
    }

    /// The number of a text that the field probably had before in this batch.
    fn shared(&mut self, field: Field, value: &str) -> TextRef {
        if value.is_empty() {
            return 0;
        }
        if self.recent.is_empty() {
            self.recent.resize(RECENT_SLOTS, RecentText::default());
        }
        let seen = RecentText::of(value.as_bytes());
        let slot = seen.slot(field);
        let recent = self.recent.get(slot).copied().unwrap_or_default();
        if recent.ends == seen.ends && (seen.is_whole() || self.batch.texts.is(recent.text, value)) {
            return recent.text;
        }
        let text = self.intern(value);
        if let Some(recent) = self.recent.get_mut(slot) {
            *recent = RecentText { text, ..seen };
        }
        text
    }

    fn previous(&self, field: Field) -> TextRef {
        self.batch.columns[field.index()].texts.last().copied().unwrap_or(0)
    }

    /// Sets a text that probably differs from event to event: it is compared only with that of the previous event.
    pub fn unique_text(&mut self, field: Field, value: &str) {
        debug_assert_eq!(field.kind(), FieldKind::Text);
        let previous = self.previous(field);
        let text = match value {
            "" => 0,
            _ if self.batch.texts.is(previous, value) => previous,
            _ => self.batch.texts.push(value),
        };
        self.set_text(field, text);
    }

    /// Sets a text by its number in this batch (see [`intern`](Self::intern)).
    pub fn set_text(&mut self, field: Field, text: TextRef) {
        set(&mut self.batch.columns[field.index()].texts, self.row, self.batch.rows, text);
    }

    /// Sets a number.
    pub fn number(&mut self, field: Field, value: i64) {
        debug_assert_eq!(field.kind(), FieldKind::Number);
        set(&mut self.batch.columns[field.index()].numbers, self.row, self.batch.rows, value);
    }

    /// Sets a key.
    pub fn key(&mut self, field: Field, value: u64) {
        debug_assert_eq!(field.kind(), FieldKind::Key);
        set(&mut self.batch.columns[field.index()].keys, self.row, self.batch.rows, value);
    }

    /// Sets an identifier.
    pub fn uuid(&mut self, field: Field, value: u128) {
        debug_assert_eq!(field.kind(), FieldKind::Uuid);
        let keys = &mut self.batch.columns[field.index()].keys;
        keys.resize(2 * self.row, 0);
        keys.extend([(value >> 64) as u64, value as u64]);
    }

    /// Adds an entry to the event's list. For a map, call it for the name and then for the value.
    pub fn push_list(&mut self, field: Field, value: &str) {
        debug_assert!(matches!(field.kind(), FieldKind::List | FieldKind::Map));
        let text = self.shared(field, value);
        let column = &mut self.batch.columns[field.index()];
        let end = column.texts.len() as u32;
        if column.list_ends.len() <= self.row {
            column.list_ends.resize(self.row + 1, end);
        }
        column.texts.push(text);
        column.list_ends[self.row] = end + 1;
    }

    /// Finishes the event.
    pub fn end_row(&mut self) {
        self.row += 1;
    }

    /// The number of a text in this batch, added if it is new.
    pub fn intern(&mut self, value: &str) -> TextRef {
        if value.is_empty() {
            return 0;
        }
        let hash = hash(value);
        let texts = &mut self.batch.texts;
        if let Some(&known) = self.known.find(hash, |&known| texts.is(known, value)) {
            return known;
        }
        let new = texts.push(value);
        self.known.insert_unique(hash, new, |&known| self::hash(texts.get(known)));
        new
    }

    /// Returns the batch as the bytes of one Kafka message, and empties the builder.
    pub fn finish(&mut self) -> Vec<u8> {
        let message = self.encode();
        self.clear();
        message
    }

    /// As [`finish`](Self::finish), in as many messages as are needed for none of them to exceed `most` bytes. A row
    /// that alone exceeds it is a message of its own.
    pub fn finish_within(&mut self, most: usize) -> Vec<Vec<u8>> {
        let message = self.encode();
        let messages = self.batch.split(self.row, message, most);
        self.clear();
        messages
    }

    fn encode(&self) -> Vec<u8> {
        let Batch { texts, columns, unknown, .. } = &self.batch;
        let filled = FIELDS.iter().zip(columns).filter(|(_, column)| !column.is_empty());
        let named = filled.map(|(&field, column)| (field, column));
        wire::encode(self.row, texts, named, unknown)
    }

    fn clear(&mut self) {
        let Batch { texts, columns, unknown, .. } = &mut self.batch;
        // Keeps the allocations for the next batch.
        self.row = 0;
        self.known.clear();
        self.recent.fill(RecentText::default());
        texts.text.clear();
        texts.ends.clear();
        unknown.clear();
        columns.iter_mut().for_each(Column::clear);
    }
}

fn hash(text: &str) -> u64 {
    FixedState::with_seed(0x6d69_6c6c).hash_one(text)
}
