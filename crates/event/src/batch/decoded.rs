//! A batch read from a Kafka message.
use super::{
    column::Column,
    error::BatchError,
    texts::{TextRef, Texts},
    wire,
};
use crate::field::{FIELDS, Field, FieldKind};

/// Most events in one batch.
pub const MAX_ROWS: usize = 500;

/// A decoded batch. All references inside it are valid.
#[derive(Debug, Clone)]
pub struct Batch {
    pub(super) rows: usize,
    pub(super) texts: Texts,
    pub(super) columns: Vec<Column>,
    /// Columns of fields that this program does not know. They are passed on unchanged.
    pub(super) unknown: Vec<Vec<u8>>,
}

impl Batch {
    /// Reads one Kafka message.
    ///
    /// # Errors
    /// The bytes are not a batch, have an unknown format, or are damaged.
    pub fn decode(payload: &[u8]) -> Result<Self, BatchError> {
        let message = wire::decode(payload)?;
        let damaged = |what: String| BatchError::Damaged(what);
        let text = simdutf8::basic::from_utf8(message.text)
            .map_err(|_| damaged("text is not UTF-8".into()))?
            .to_owned();
        let mut texts = Texts { text, ends: Vec::new() };
        message.text_lengths.ends(&mut texts.ends)?;
        if let Some(end) = texts.ends.iter().find(|&&end| !texts.text.is_char_boundary(end as usize)) {
            return Err(damaged(format!("{end} is not the end of a text")));
        }
        let rows = match usize::try_from(message.rows) {
            Ok(rows) if rows <= MAX_ROWS => rows,
            _ => return Err(damaged(format!("{} rows are more than {MAX_ROWS}", message.rows))),
        };
        let mut columns = vec![Column::default(); FIELDS.len()];
        let mut unknown = Vec::new();
        for raw in message.columns {
            let Some(field) = str::from_utf8(raw.field).ok().and_then(Field::parse) else {
                unknown.push(raw.bytes.to_vec());
                continue;
            };
            let column = raw.column(field.kind())?;
            check(field, &column, rows, texts.count()).map_err(damaged)?;
            columns[field.index()] = column;
        }
        Ok(Self { rows, texts, columns, unknown })
    }

    /// Bytes of memory behind it.
    pub fn heap_bytes(&self) -> usize {
        let texts = self.texts.text.capacity() + self.texts.ends.capacity() * size_of::<u32>();
        let columns: usize = self.columns.iter().map(Column::heap_bytes).sum();
        let unknown: usize = self.unknown.iter().map(Vec::capacity).sum();
        let lists =
            self.columns.capacity() * size_of::<Column>() + self.unknown.capacity() * size_of::<Vec<u8>>();
        texts + columns + unknown + lists
    }

    /// Number of events.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of text numbers in use, 0 included: the length of a table indexed by [`TextRef`].
    pub fn text_count(&self) -> usize {
        self.texts.count()
    }

    /// The text with this number.
    pub fn resolve(&self, text: TextRef) -> &str {
        self.texts.get(text)
    }

    /// All text numbers of a text field. It may be shorter than [`rows`](Self::rows); the missing values are 0.
    pub fn text_column(&self, field: Field) -> &[TextRef] {
        &self.columns[field.index()].texts
    }

    /// All values of a number field. It may be shorter than [`rows`](Self::rows); the missing values are 0.
    pub fn number_column(&self, field: Field) -> &[i64] {
        &self.columns[field.index()].numbers
    }

    /// All values of a key field. It may be shorter than [`rows`](Self::rows); the missing values are 0.
    pub fn key_column(&self, field: Field) -> &[u64] {
        &self.columns[field.index()].keys
    }

    /// One event's text.
    pub fn text(&self, field: Field, row: usize) -> &str {
        self.texts.get(self.text_column(field).get(row).copied().unwrap_or(0))
    }

    /// One event's number.
    pub fn number(&self, field: Field, row: usize) -> i64 {
        self.number_column(field).get(row).copied().unwrap_or(0)
    }

    /// One event's key.
    pub fn key(&self, field: Field, row: usize) -> u64 {
        self.key_column(field).get(row).copied().unwrap_or(0)
    }

    /// One event's identifier.
    pub fn uuid(&self, field: Field, row: usize) -> u128 {
        let keys = &self.columns[field.index()].keys;
        let half = |at: usize| u128::from(keys.get(at).copied().unwrap_or(0));
        half(2 * row) << 64 | half(2 * row + 1)
    }

    /// One event's list. A map is a list of alternating names and values.
    pub fn list(&self, field: Field, row: usize) -> &[TextRef] {
        let column = &self.columns[field.index()];
        let Some(&end) = column.list_ends.get(row) else { return &[] };
        let start = if row == 0 { 0 } else { column.list_ends[row - 1] };
        &column.texts[start as usize..end as usize]
    }
}

fn check(field: Field, column: &Column, rows: usize, texts: usize) -> Result<(), String> {
    let name = field.name();
    if column.texts.iter().max().is_some_and(|&text| text as usize >= texts) {
        return Err(format!("column {name} names a text that does not exist"));
    }
    let fits = match field.kind() {
        FieldKind::Text => column.texts.len() <= rows,
        FieldKind::Number => column.numbers.len() <= rows,
        FieldKind::Key => column.keys.len() <= rows,
        FieldKind::Uuid => column.keys.len() <= 2 * rows,
        FieldKind::List | FieldKind::Map => {
            let last = column.list_ends.last().copied().unwrap_or(0);
            column.list_ends.len() <= rows && last as usize <= column.texts.len()
        }
    };
    if fits { Ok(()) } else { Err(format!("column {name} has more values than the batch has rows")) }
}
