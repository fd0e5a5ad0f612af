//! Splits a batch into messages of bounded size: halves of its rows, and halves of those, until each fits.
use std::ops::Range;

use super::{
    column::Column,
    decoded::Batch,
    texts::{TextRef, Texts},
    wire,
};
use crate::field::{FIELDS, FieldKind};

impl Batch {
    /// The first `rows` rows, which are `whole` in one message, as messages of at most `most` bytes, in order. A row that
    /// alone exceeds it is a message of its own. The rows of unknown columns are not known, so a batch with such columns
    /// stays whole.
    pub(super) fn split(&self, rows: usize, whole: Vec<u8>, most: usize) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        self.split_rows(0..rows, whole, most, &mut messages);
        messages
    }

    fn split_rows(&self, rows: Range<usize>, message: Vec<u8>, most: usize, messages: &mut Vec<Vec<u8>>) {
        if message.len() <= most || rows.len() <= 1 || !self.unknown.is_empty() {
            messages.push(message);
            return;
        }
        // The halves need the memory.
        drop(message);
        let middle = rows.start + rows.len() / 2;
        for half in [rows.start..middle, middle..rows.end] {
            let message = self.encode_rows(half.clone());
            self.split_rows(half, message, most, messages);
        }
    }

    /// A message of some of the rows, with the texts that they name.
    fn encode_rows(&self, rows: Range<usize>) -> Vec<u8> {
        let mut texts = MovedTexts::new(&self.texts);
        let mut columns = Vec::new();
        for (&field, column) in FIELDS.iter().zip(&self.columns) {
            let part = match field.kind() {
                FieldKind::Text => {
                    let values = part(&column.texts, rows.clone()).iter();
                    Column { texts: values.map(|&text| texts.moved(text)).collect(), ..Column::default() }
                }
                FieldKind::Number => {
                    Column { numbers: part(&column.numbers, rows.clone()).to_vec(), ..Column::default() }
                }
                FieldKind::Key => {
                    Column { keys: part(&column.keys, rows.clone()).to_vec(), ..Column::default() }
                }
                FieldKind::Uuid => {
                    let halves = 2 * rows.start..2 * rows.end;
                    Column { keys: part(&column.keys, halves).to_vec(), ..Column::default() }
                }
                FieldKind::List | FieldKind::Map => lists(column, rows.clone(), &mut texts),
            };
            if !part.is_empty() {
                columns.push((field, part));
            }
        }
        let named = columns.iter().map(|(field, column)| (*field, column));
        wire::encode(rows.len(), &texts.moved, named, &self.unknown)
    }
}

/// The values of some rows. Trailing rows may have none.
fn part<T>(values: &[T], rows: Range<usize>) -> &[T] {
    &values[rows.start.min(values.len())..rows.end.min(values.len())]
}

fn lists(column: &Column, rows: Range<usize>, texts: &mut MovedTexts<'_>) -> Column {
    let ends = part(&column.list_ends, rows.clone());
    let before = rows.start.checked_sub(1).and_then(|row| column.list_ends.get(row));
    let (Some(&last), start) = (ends.last(), before.copied().unwrap_or(0)) else {
        return Column::default();
    };
    let entries = column.texts[start as usize..last as usize].iter();
    Column {
        texts: entries.map(|&text| texts.moved(text)).collect(),
        list_ends: ends.iter().map(|end| end - start).collect(),
        ..Column::default()
    }
}

/// Texts on their way into another message, where they have other numbers.
struct MovedTexts<'a> {
    all: &'a Texts,
    moved: Texts,
    /// The new number of each text, 0 when it is not moved yet.
    numbers: Vec<TextRef>,
}

impl<'a> MovedTexts<'a> {
    fn new(all: &'a Texts) -> Self {
        Self { all, moved: Texts::default(), numbers: vec![0; all.count()] }
    }

    fn moved(&mut self, text: TextRef) -> TextRef {
        match self.numbers.get_mut(text as usize) {
            None => 0,
            Some(_) if text == 0 => 0,
            Some(number) => {
                if *number == 0 {
                    *number = self.moved.push(self.all.get(text));
                }
                *number
            }
        }
    }
}
