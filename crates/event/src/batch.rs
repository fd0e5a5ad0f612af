//! A batch of events by column: what one Kafka message of `clean-events` and `enriched-events` holds.
//!
//! Columns make the hop from stage to stage cheap: a stage that only adds stamps never touches the columns it
//! passes on, and a field that no event of the batch has costs nothing. Texts are stored once per batch.
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use crate::{FIELDS, Field, FieldKind, protobuf::Malformed, wire};

/// Most events in one batch.
pub const MAX_ROWS: usize = 500;
/// A batch is closed when its texts are larger than this, in bytes, so that a message stays below Kafka's limits.
const MAX_TEXT_BYTES: usize = 512 * 1024;

/// Number of a text in its batch; 0 is the empty text.
pub type TextRef = u32;

/// Why the bytes of a message are not a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The bytes are not the Protobuf message.
    #[error("not an EventBatch: {0}")]
    Protobuf(#[from] Malformed),
    /// Written by a newer program, or no batch at all.
    #[error("batch format {0} is not known, this program reads format {known}: upgrade it first", known = wire::FORMAT)]
    Format(u64),
    /// The parts of the message contradict each other.
    #[error("batch is damaged: {0}")]
    Damaged(String),
}

/// The values of one field, in the list that its kind asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Column {
    pub(crate) texts: Vec<TextRef>,
    pub(crate) numbers: Vec<i64>,
    pub(crate) keys: Vec<u64>,
    pub(crate) list_ends: Vec<u32>,
}

impl Column {
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many numbers it has in all its lists.
    pub(crate) fn len(&self) -> usize {
        self.texts.len() + self.numbers.len() + self.keys.len() + self.list_ends.len()
    }

    fn clear(&mut self) {
        self.texts.clear();
        self.numbers.clear();
        self.keys.clear();
        self.list_ends.clear();
    }
}

/// The texts of a batch, one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts {
    pub(crate) text: String,
    pub(crate) ends: Vec<u32>,
}

impl Texts {
    fn range(&self, text: TextRef) -> std::ops::Range<usize> {
        let Some(index) = (text as usize).checked_sub(1) else { return 0..0 };
        let start = if index == 0 { 0 } else { self.ends.get(index - 1).copied().unwrap_or(0) };
        let end = self.ends.get(index).copied().unwrap_or(start);
        start as usize..end as usize
    }

    fn get(&self, text: TextRef) -> &str {
        self.text.get(self.range(text)).unwrap_or("")
    }

    fn is(&self, text: TextRef, value: &str) -> bool {
        self.text.as_bytes().get(self.range(text)).is_some_and(|known| same_text(known, value.as_bytes()))
    }

    fn push(&mut self, text: &str) -> TextRef {
        self.text.push_str(text);
        self.ends.push(self.text.len() as u32);
        self.ends.len() as TextRef
    }

    /// How many numbers are in use, 0 included.
    fn count(&self) -> usize {
        self.ends.len() + 1
    }
}

/// A decoded batch. Every reference inside it has been checked.
#[derive(Debug, Clone)]
pub struct Batch {
    rows: usize,
    texts: Texts,
    columns: Vec<Column>,
    /// Columns of a newer catalogue: passed on as they are.
    unknown: Vec<Vec<u8>>,
}

impl Batch {
    /// Reads one Kafka message.
    ///
    /// # Errors
    /// [`BatchError`] when the bytes are no batch, of an unknown format, or damaged.
    pub fn decode(payload: &[u8]) -> Result<Self, BatchError> {
        let message = wire::decode(payload)?;
        let damaged = |what: String| BatchError::Damaged(what);
        let text = simdutf8::basic::from_utf8(message.text)
            .map_err(|_| damaged("text is not UTF-8".into()))?
            .to_owned();
        let mut texts = Texts { text, ends: Vec::new() };
        message.text_lengths.ends(&mut texts.ends)?;
        if let Some(end) = texts.ends.iter().find(|&&end| !texts.text.is_char_boundary(end as usize)) {
            return Err(damaged(format!("{end} is not where a text ends")));
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

    /// Number of events.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many text numbers are in use, 0 included: a table indexed by [`TextRef`] needs this many places.
    pub fn text_count(&self) -> usize {
        self.texts.count()
    }

    /// The text behind a number.
    pub fn resolve(&self, text: TextRef) -> &str {
        self.texts.get(text)
    }

    /// All text numbers of a text field; may be shorter than [`rows`](Self::rows), the rest is 0.
    pub fn text_column(&self, field: Field) -> &[TextRef] {
        &self.columns[field.index()].texts
    }

    /// All values of a number field; may be shorter than [`rows`](Self::rows), the rest is 0.
    pub fn number_column(&self, field: Field) -> &[i64] {
        &self.columns[field.index()].numbers
    }

    /// All values of a key field; may be shorter than [`rows`](Self::rows), the rest is 0.
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

    /// One event's list; of a map, names and values in turn.
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
        return Err(format!("column {name} names a text that is not there"));
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

/// Builds a batch row by row: set the fields of an event in any order, then call [`end_row`](Self::end_row).
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    row: usize,
    batch: Batch,
    /// Texts that may occur again, found by content.
    known: HashTable<TextRef>,
    /// The text that was last set in each of its slots: most texts are found here, without a hash of all their bytes.
    recent: Vec<Recent>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        let columns = vec![Column::default(); FIELDS.len()];
        Self::stamping(Batch { rows: 0, texts: Texts::default(), columns, unknown: Vec::new() })
    }
}

impl BatchBuilder {
    /// Continues a decoded batch: its columns stay, and stamps are set row by row from the first event on.
    /// Setting a field that the batch already has values for replaces them, row by row.
    pub fn stamping(batch: Batch) -> Self {
        Self { row: 0, batch, known: HashTable::new(), recent: Vec::new() }
    }

    /// The batch as it stands, to read what is stamped.
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

    /// Sets a text that other events of the batch are likely to share. '' leaves the field absent.
    pub fn text(&mut self, field: Field, value: &str) {
        debug_assert_eq!(field.kind(), FieldKind::Text);
        let text = self.shared(field, value);
        self.set_text(field, text);
    }

    /// The number of a text that the field is likely to have had before in this batch.
    fn shared(&mut self, field: Field, value: &str) -> TextRef {
        if value.is_empty() {
            return 0;
        }
        if self.recent.is_empty() {
            self.recent.resize(RECENT_SLOTS, Recent::default());
        }
        let seen = Recent::of(value.as_bytes());
        let slot = seen.slot(field);
        let recent = self.recent.get(slot).copied().unwrap_or_default();
        if recent.ends == seen.ends && (seen.is_whole() || self.batch.texts.is(recent.text, value)) {
            return recent.text;
        }
        let text = self.intern(value);
        if let Some(recent) = self.recent.get_mut(slot) {
            *recent = Recent { text, ..seen };
        }
        text
    }

    fn before(&self, field: Field) -> TextRef {
        self.batch.columns[field.index()].texts.last().copied().unwrap_or(0)
    }

    /// Sets a text that is likely to differ from event to event: only the event before is looked at for an equal
    /// one.
    pub fn unique_text(&mut self, field: Field, value: &str) {
        debug_assert_eq!(field.kind(), FieldKind::Text);
        let before = self.before(field);
        let text = match value {
            "" => 0,
            _ if self.batch.texts.is(before, value) => before,
            _ => self.batch.texts.push(value),
        };
        self.set_text(field, text);
    }

    /// Sets a text by a number of this batch, as [`intern`](Self::intern) gives them.
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

    /// Adds an entry to the event's list; to a map, call it for the name and then for the value.
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

    /// The finished batch as the bytes of one Kafka message; the builder is empty afterwards.
    pub fn finish(&mut self) -> Vec<u8> {
        let Batch { texts, columns, unknown, .. } = &mut self.batch;
        let filled = FIELDS.iter().zip(&*columns).filter(|(_, column)| !column.is_empty());
        let named = filled.map(|(&field, column)| (field, column));
        let message = wire::encode(self.row, texts, named, unknown);
        // What was allocated is kept for the next batch.
        self.row = 0;
        self.known.clear();
        self.recent.fill(Recent::default());
        texts.text.clear();
        texts.ends.clear();
        unknown.clear();
        columns.iter_mut().for_each(Column::clear);
        message
    }
}

const RECENT_SLOTS: usize = 1024;

/// What is remembered of a text: enough to know a short one again without looking at its bytes in the batch.
#[derive(Debug, Clone, Copy, Default)]
struct Recent {
    text: TextRef,
    /// First and last eight bytes, which overlap in a text of fewer than 16, and its length.
    ends: (u64, u64, u32),
}

impl Recent {
    #[inline]
    fn of(text: &[u8]) -> Self {
        let (first, last) = match (text.first_chunk(), text.last_chunk()) {
            (Some(&first), Some(&last)) => (u64::from_le_bytes(first), u64::from_le_bytes(last)),
            _ => (text.iter().fold(0, |all, &byte| all << 8 | u64::from(byte)), 0),
        };
        Self { text: 0, ends: (first, last, text.len() as u32) }
    }

    /// Whether its ends are all of it.
    fn is_whole(&self) -> bool {
        self.ends.2 <= 16
    }

    /// Where a text of a field is remembered. Texts that share a slot cost each other a look into the table of all
    /// texts, no more.
    #[inline]
    fn slot(&self, field: Field) -> usize {
        let (first, last, length) = self.ends;
        let sum = first ^ last.rotate_left(29) ^ u64::from(length) << 56 ^ (field.index() as u64) << 48;
        (sum.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize
    }
}

/// Whether two texts are equal. Nearly all that are compared here are shorter than 64 bytes, for which the call into
/// libc costs more than the comparison.
#[inline]
pub fn same_text(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if let (Some(a_last), Some(b_last)) = (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        if a.len() > 64 {
            return a == b;
        }
        // The last word overlaps the one before it when the length is no multiple of 8.
        let (a_words, b_words) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
        return a_last == b_last && a_words.iter().zip(b_words).all(|(a, b)| a == b);
    }
    if let (Some(a_last), Some(b_last)) = (a.last_chunk::<4>(), b.last_chunk::<4>()) {
        return a_last == b_last && a.first_chunk::<4>() == b.first_chunk::<4>();
    }
    a.iter().zip(b).all(|(a, b)| a == b)
}

fn hash(text: &str) -> u64 {
    FixedState::with_seed(0x6d69_6c6c).hash_one(text)
}

/// Writes one row's value. Rows nobody wrote hold the default; a default at the end needs no place at all. `rows` is
/// how many there will be, as far as that is known.
#[inline]
fn set<T: Copy + Default + PartialEq>(column: &mut Vec<T>, row: usize, rows: usize, value: T) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message as _;
    use prost_reflect::{DescriptorPool, DynamicMessage, Value};

    fn two_events() -> Vec<u8> {
        let mut builder = BatchBuilder::default();
        builder.text(Field::EventName, "login");
        builder.uuid(Field::EventId, 7 << 64 | 9);
        builder.push_list(Field::Tags, "music");
        builder.push_list(Field::Tags, "live");
        builder.end_row();
        builder.text(Field::EventName, "login");
        builder.number(Field::PlayedMs, -5);
        builder.end_row();
        builder.finish()
    }

    #[test]
    fn what_was_built_is_read_back() {
        let batch = Batch::decode(&two_events()).unwrap();
        assert_eq!(batch.rows(), 2);
        assert_eq!(batch.text(Field::EventName, 1), "login");
        assert_eq!(batch.uuid(Field::EventId, 0), 7 << 64 | 9);
        assert_eq!(batch.uuid(Field::EventId, 1), 0);
        assert_eq!((batch.number(Field::PlayedMs, 0), batch.number(Field::PlayedMs, 1)), (0, -5));
        let tags: Vec<&str> = batch.list(Field::Tags, 0).iter().map(|&t| batch.resolve(t)).collect();
        assert_eq!(tags, ["music", "live"]);
        assert!(batch.list(Field::Tags, 1).is_empty());
        assert_eq!(batch.text(Field::UserId, 0), "");
    }

    /// The batch as anybody reads it who has only the published schema.
    fn by_schema(bytes: &[u8]) -> DynamicMessage {
        let schemas = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas");
        let files = protox::compile(["event_batch.proto"], [schemas]).unwrap();
        let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
        let batch = pool.get_message_by_name("millrace.v1.EventBatch").unwrap();
        DynamicMessage::decode(batch, bytes).unwrap()
    }

    #[test]
    fn what_is_written_is_what_the_published_schema_says() {
        let message = by_schema(&two_events());
        let field =
            |message: &DynamicMessage, name: &str| message.get_field_by_name(name).unwrap().into_owned();
        let integers = |message: &DynamicMessage, name: &str| {
            let list = field(message, name);
            let list = list.as_message().unwrap();
            let bytes = field(list, "bytes").as_bytes().unwrap().to_vec();
            (field(list, "width").as_u32().unwrap(), field(list, "base").as_i64().unwrap(), bytes)
        };
        assert_eq!(field(&message, "format"), Value::U32(2));
        assert_eq!(field(&message, "rows"), Value::U32(2));
        assert_eq!(field(&message, "text"), Value::Bytes(b"loginmusiclive".as_slice().to_vec().into()));
        assert_eq!(integers(&message, "text_lengths"), (1, 0, vec![5, 5, 4]));
        let columns = field(&message, "columns");
        let columns: Vec<&DynamicMessage> =
            columns.as_list().unwrap().iter().map(|c| c.as_message().unwrap()).collect();
        let names: Vec<Value> = columns.iter().map(|column| field(column, "field")).collect();
        assert_eq!(
            names,
            ["event_name", "event_id", "tags", "played_ms"].map(|name| Value::String(name.into()))
        );
        assert_eq!(integers(columns[0], "values"), (1, 0, vec![1, 1]));
        let halves = [7u64.to_le_bytes(), 9u64.to_le_bytes()].concat();
        assert_eq!(integers(columns[1], "values"), (8, 0, halves));
        assert_eq!(integers(columns[2], "values"), (1, 0, vec![2, 3]));
        assert_eq!(integers(columns[2], "list_lengths"), (1, 0, vec![2]));
        assert_eq!(integers(columns[3], "values"), (1, -5, vec![5, 0]));
    }

    #[test]
    fn what_any_protobuf_library_writes_is_read() {
        let message = by_schema(&two_events());
        let batch = Batch::decode(&message.encode_to_vec()).unwrap();
        assert_eq!((batch.rows(), batch.number(Field::PlayedMs, 1)), (2, -5));
    }

    #[test]
    fn stamping_adds_and_replaces_columns_and_keeps_unknown_ones() {
        // Field 5, length-delimited: a column whose name this catalogue does not know.
        let newer = b"\x2a\x0f\x0a\x0dof_the_future";
        let message = [two_events().as_slice(), newer].concat();
        let mut builder = BatchBuilder::stamping(Batch::decode(&message).unwrap());
        builder.end_row();
        builder.text(Field::ChannelGroup, "direct");
        builder.text(Field::EventName, "logout");
        builder.end_row();
        let bytes = builder.finish();
        let batch = Batch::decode(&bytes).unwrap();
        assert_eq!((batch.text(Field::EventName, 0), batch.text(Field::EventName, 1)), ("login", "logout"));
        assert_eq!((batch.text(Field::ChannelGroup, 0), batch.text(Field::ChannelGroup, 1)), ("", "direct"));
        assert_eq!(batch.number(Field::PlayedMs, 1), -5);
        assert!(bytes.ends_with(newer));
    }

    #[test]
    fn a_builder_can_be_used_again() {
        let mut builder = BatchBuilder::default();
        builder.text(Field::EventName, "login");
        builder.end_row();
        builder.finish();
        builder.text(Field::EventName, "share");
        builder.end_row();
        let batch = Batch::decode(&builder.finish()).unwrap();
        assert_eq!((batch.rows(), batch.text(Field::EventName, 0)), (1, "share"));
    }

    proptest! {
        #[test]
        fn numbers_of_any_width_are_read_back(
            least in any::<i64>(),
            distances in prop::collection::vec(0u32..64, 0..9),
        ) {
            let value = |&distance: &u32| least.wrapping_add_unsigned(1 << distance);
            let numbers: Vec<i64> = distances.iter().map(value).collect();
            let mut builder = BatchBuilder::default();
            for &number in &numbers {
                builder.number(Field::PlayedMs, number);
                builder.end_row();
            }
            let batch = Batch::decode(&builder.finish()).unwrap();
            let read: Vec<i64> = (0..batch.rows()).map(|row| batch.number(Field::PlayedMs, row)).collect();
            prop_assert_eq!(read, numbers);
        }

        #[test]
        fn any_number_of_texts_is_read_back(count in prop::sample::select(vec![1usize, 254, 255, 256, 65_535, 65_536])) {
            let mut builder = BatchBuilder::default();
            (0..count).for_each(|nth| builder.push_list(Field::Tags, &nth.to_string()));
            builder.end_row();
            let batch = Batch::decode(&builder.finish()).unwrap();
            let tags = batch.list(Field::Tags, 0);
            prop_assert_eq!(tags.len(), count);
            prop_assert_eq!(batch.resolve(tags[count - 1]), (count - 1).to_string());
        }

        #[test]
        fn texts_are_the_same_when_their_bytes_are(
            a in prop::collection::vec(0u8..3, 0..80),
            change in any::<prop::sample::Index>(),
        ) {
            let mut b = a.clone();
            prop_assert!(same_text(&a, &b));
            prop_assert!(!same_text(&a, &[&b[..], b"x"].concat()));
            if !b.is_empty() {
                let at = change.index(b.len());
                b[at] += 1;
                prop_assert!(!same_text(&a, &b));
            }
        }

        #[test]
        fn damaged_bytes_are_refused_without_panic(at in 0usize..200, value: u8) {
            let mut bytes = two_events();
            let at = at % bytes.len();
            bytes[at] = value;
            if let Ok(batch) = Batch::decode(&bytes) {
                for row in 0..batch.rows() {
                    for &field in FIELDS {
                        match field.kind() {
                            FieldKind::Text => { batch.text(field, row); }
                            FieldKind::Number => { batch.number(field, row); }
                            FieldKind::Key => { batch.key(field, row); }
                            FieldKind::Uuid => { batch.uuid(field, row); }
                            FieldKind::List | FieldKind::Map => { batch.list(field, row); }
                        }
                    }
                }
            }
        }
    }
}
