//! One column of a batch: the values of one field, by row.
use super::texts::TextRef;

/// The values of one field, in the list that its kind uses.
#[derive(Debug, Clone, Default)]
pub(super) struct Column {
    pub(super) texts: Vec<TextRef>,
    pub(super) numbers: Vec<i64>,
    pub(super) keys: Vec<u64>,
    pub(super) list_ends: Vec<u32>,
}

impl Column {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of values in all its lists.
    pub(super) fn len(&self) -> usize {
        self.texts.len() + self.numbers.len() + self.keys.len() + self.list_ends.len()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        (self.texts.capacity() + self.list_ends.capacity()) * size_of::<u32>()
            + (self.numbers.capacity() + self.keys.capacity()) * size_of::<u64>()
    }

    pub(super) fn clear(&mut self) {
        self.texts.clear();
        self.numbers.clear();
        self.keys.clear();
        self.list_ends.clear();
    }
}

/// Sets the value of a row. Rows that are never set hold the default; trailing defaults are not stored. `rows` is
/// the expected number of rows, or 0.
#[inline]
pub(super) fn set<T: Copy + Default + PartialEq>(column: &mut Vec<T>, row: usize, rows: usize, value: T) {
    if let Some(place) = column.get_mut(row) {
        *place = value;
    } else if value != T::default() {
        if column.capacity() == 0 {
            column.reserve(rows);
        }
        column.resize(row, T::default());
        column.push(value);
    }
}
