//! The buffer of the optional lane `events`: one row per enriched event of any kind, with all fields of the catalogue as
//! columns. For drill-down, funnels and `millrace trace`; no cube reads it.
//!
//! A flush is a pure function of its records: the rows are in the order of the records, and each has its own position in
//! the topic.
use std::collections::BTreeMap;

use event::{Batch, FIELDS, Field, FieldKind};

use super::decode::decode;
use super::lane_fold::{Added, FlushCounts, Input, LaneFold, Unreadable};
use crate::block::{Block, BlockBuilder, MARKER_DAYS, Mark, MarkerRows, Value};
use crate::table::{self, EVENT_OWN_COLUMNS, EventColumns, MAP_VALUES_OFFSET};

/// What one row takes in a column of a block without its texts, at most.
const CELL_BYTES: usize = size_of::<u64>();

/// Holds the batches of each Kafka partition since its last flush.
#[derive(Debug)]
pub struct Events {
    columns: EventColumns,
    keep_days: u16,
    partitions: BTreeMap<i32, HeldBatches>,
}

/// The batches of one Kafka partition.
#[derive(Debug, Default)]
struct HeldBatches {
    batches: Vec<HeldBatch>,
    rows: usize,
    /// Bytes of the batches.
    heap_bytes: usize,
    /// Bytes of all texts of all rows in blocks.
    text_bytes: usize,
    /// Fields that at least one event has, by their index in the catalogue: every row of a block has a value there.
    is_present: Vec<bool>,
}

impl HeldBatches {
    fn add(&mut self, held: HeldBatch) {
        let batch = &held.batch;
        self.rows += batch.rows();
        self.heap_bytes += batch.heap_bytes();
        self.is_present.resize(FIELDS.len(), false);
        for field in present(batch) {
            self.is_present[field.index()] = true;
            self.text_bytes += (0..batch.rows()).map(|row| text_bytes(batch, field, row)).sum::<usize>();
        }
        self.batches.push(held);
    }

    /// Bytes of a row in a block without its texts.
    fn row_bytes(&self) -> usize {
        // A UUID takes two cells, a map has two columns.
        let cells = |field: &Field| match field.kind() {
            FieldKind::Uuid | FieldKind::Map => 2,
            FieldKind::Text | FieldKind::Number | FieldKind::Key | FieldKind::List => 1,
        };
        let present = FIELDS.iter().zip(&self.is_present).filter(|(_, is_present)| **is_present);
        (EVENT_OWN_COLUMNS + present.map(|(field, _)| cells(field)).sum::<usize>()) * CELL_BYTES
    }

    /// Bytes of memory that it takes now and that its rows will take.
    fn bytes(&self) -> usize {
        let rows = self.rows * self.row_bytes() + self.text_bytes;
        self.heap_bytes + self.batches.capacity() * size_of::<HeldBatch>() + rows
    }
}

#[derive(Debug)]
struct HeldBatch {
    offset: i64,
    batch: Batch,
}

impl Events {
    /// An empty buffer. Rows are kept for so many days.
    pub fn new(keep_days: u16) -> Self {
        Self { columns: EventColumns::default(), keep_days, partitions: BTreeMap::new() }
    }
}

impl LaneFold for Events {
    fn add(&mut self, input: &Input<'_>) -> Result<Added, Unreadable> {
        let batch = decode(input)?;
        let events = batch.rows() as u64;
        let held = self.partitions.entry(input.partition).or_default();
        let before = held.bytes();
        held.add(HeldBatch { offset: input.offset, batch });
        Ok(Added { events, bytes: held.bytes() - before, foreign: None })
    }

    fn flush(&mut self, partition: i32, mark: Mark) -> (Vec<Block>, FlushCounts) {
        let held = self.partitions.remove(&partition).unwrap_or_default();
        let row_bytes = held.row_bytes();
        let batches = held.batches;
        let mut counts = FlushCounts::default();
        for HeldBatch { batch, .. } in &batches {
            counts.events += batch.rows() as u64;
            let newest = batch.number_column(Field::ReceivedAt).iter().copied().max().unwrap_or(0);
            counts.received_max = counts.received_max.max(newest);
        }
        let columns = &self.columns;
        let markers = MarkerRows {
            mark: mark.with_ledger_of(counts.events),
            ledger: vec![(columns.ledger_events, counts.events as i64)],
            keep_days: MARKER_DAYS.max(self.keep_days),
            time_column: columns.field(Field::EventTime),
            keep_days_column: columns.keep_days,
            src_column: columns.src,
            src_end_column: columns.src_end,
        };
        let mut builder = BlockBuilder::new(columns.layout.clone(), markers);
        // A batch is dropped as soon as its rows are written.
        for held in batches {
            let rows = EventRowBuilder {
                columns,
                keep_days: self.keep_days,
                partition,
                present: present(&held.batch),
                row_bytes,
                held: &held,
            };
            (0..held.batch.rows()).for_each(|row| rows.write(row, &mut builder));
        }
        (builder.finish(), counts)
    }

    fn discard(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }
}

/// Fields that at least one event of the batch has: about a third of all, in most batches.
fn present(batch: &Batch) -> Vec<Field> {
    let has_values = |field: &Field| match field.kind() {
        FieldKind::Text => !batch.text_column(*field).is_empty(),
        FieldKind::Number => !batch.number_column(*field).is_empty(),
        FieldKind::Key => !batch.key_column(*field).is_empty(),
        FieldKind::Uuid | FieldKind::List | FieldKind::Map => true,
    };
    FIELDS.iter().copied().filter(has_values).collect()
}

struct EventRowBuilder<'a> {
    columns: &'a EventColumns,
    keep_days: u16,
    partition: i32,
    held: &'a HeldBatch,
    present: Vec<Field>,
    /// Bytes of a row without its texts.
    row_bytes: usize,
}

impl EventRowBuilder<'_> {
    fn write(&self, row: usize, builder: &mut BlockBuilder) {
        let Self { columns, held: HeldBatch { offset, batch }, .. } = self;
        let event_time = stored_time(batch.number(Field::EventTime, row));
        builder.begin_row(u32::try_from(event_time / 1000).unwrap_or(u32::MAX), self.bytes(row));
        builder.set(columns.keep_days, Value::Small(self.keep_days));
        builder.set(columns.enriched_partition, Value::Number(i64::from(self.partition)));
        builder.set(columns.enriched_offset, Value::Number(*offset));
        builder.set(columns.enriched_row, Value::Number(row as i64));
        for &field in &self.present {
            self.write_field(field, row, builder);
        }
        builder.end_row();
    }

    /// Sets a value that is not empty. Otherwise the default of the column is what the catalogue defines: '', 0 or an
    /// empty list.
    fn write_field(&self, field: Field, row: usize, builder: &mut BlockBuilder) {
        let batch = &self.held.batch;
        let column = self.columns.field(field);
        match field.kind() {
            FieldKind::Text => match batch.text(field, row) {
                "" => (),
                text => builder.set(column, Value::Text(text)),
            },
            FieldKind::Number => match batch.number(field, row) {
                0 => (),
                number if table::is_time(field) => builder.set(column, Value::Number(stored_time(number))),
                number => builder.set(column, Value::Number(number)),
            },
            FieldKind::Key => match batch.key(field, row) {
                0 => (),
                key => builder.set(column, Value::Offset(key)),
            },
            FieldKind::Uuid => builder.set(column, Value::Uuid(batch.uuid(field, row))),
            FieldKind::List => {
                let texts: Vec<&str> =
                    batch.list(field, row).iter().map(|&text| batch.resolve(text)).collect();
                if !texts.is_empty() {
                    builder.set(column, Value::Texts(&texts));
                }
            }
            FieldKind::Map => {
                let pairs = batch.list(field, row).chunks_exact(2);
                let (names, values): (Vec<&str>, Vec<&str>) =
                    pairs.map(|pair| (batch.resolve(pair[0]), batch.resolve(pair[1]))).unzip();
                if !names.is_empty() {
                    builder.set(column, Value::Texts(&names));
                    builder.set(column + MAP_VALUES_OFFSET, Value::Texts(&values));
                }
            }
        }
    }

    fn bytes(&self, row: usize) -> usize {
        let texts = self.present.iter().map(|&field| text_bytes(&self.held.batch, field, row));
        self.row_bytes + texts.sum::<usize>()
    }
}

/// Bytes of the texts of a field in a block. A text of a list has an end beside it.
fn text_bytes(batch: &Batch, field: Field, row: usize) -> usize {
    match field.kind() {
        FieldKind::Text => batch.text(field, row).len(),
        FieldKind::Number | FieldKind::Key | FieldKind::Uuid => 0,
        FieldKind::List | FieldKind::Map => {
            let texts = batch.list(field, row).iter();
            texts.map(|&text| size_of::<usize>() + batch.resolve(text).len()).sum()
        }
    }
}

/// A time within the range of the table's partitioning function: 1970 to 2106.
fn stored_time(ms: i64) -> i64 {
    ms.clamp(0, i64::from(u32::MAX) * 1000)
}

#[cfg(test)]
mod tests {
    use event::BatchBuilder;

    use super::*;
    use crate::block::Column;

    const MONDAY: i64 = 1_772_409_600_000; // 2026-03-02 00:00 UTC

    fn batch(ids: &[u128]) -> Vec<u8> {
        let mut builder = BatchBuilder::default();
        for &id in ids {
            builder.text(Field::EventName, "content_view");
            builder.uuid(Field::EventId, id);
            builder.key(Field::DeviceKey, u64::MAX);
            builder.number(Field::EventTime, MONDAY + 5);
            builder.number(Field::ReceivedAt, MONDAY + 1000 + id as i64);
            for tag in ["music", "直播"] {
                builder.push_list(Field::Tags, tag);
            }
            for text in ["home", "B", "player", "A"] {
                builder.push_list(Field::Experiments, text);
            }
            builder.end_row();
        }
        builder.finish()
    }

    fn add(events: &mut Events, offset: i64, value: &[u8]) -> Added {
        let input = Input {
            partition: 3,
            offset,
            timestamp_ms: 0,
            key: None,
            value: Some(value),
            headers: Vec::new(),
        };
        events.add(&input).unwrap()
    }

    fn column<'a>(block: &'a Block, name: &str) -> &'a Column {
        block.columns().find(|(column, _)| *column == name).unwrap_or_else(|| panic!("no {name}")).1
    }

    #[test]
    fn each_event_is_a_row_with_its_position_and_the_marker_has_their_count() {
        let mut events = Events::new(30);
        assert_eq!(add(&mut events, 7, &batch(&[1, 2])).events, 2);
        add(&mut events, 9, &batch(&[3]));
        let (blocks, counts) = events.flush(3, Mark::new("1/enriched-events/3", 10));
        assert_eq!((counts.events, counts.received_max), (3, MONDAY + 1003));
        assert_eq!((blocks.len(), blocks[0].data_rows(), blocks[0].rows()), (1, 3, 4));
        for (name, expected) in [
            ("event_id", Column::Uuid(vec![1, 2, 3, 0])),
            ("enriched_offset", Column::Number(vec![7, 7, 9, 0])),
            ("enriched_row", Column::Number(vec![0, 1, 0, 0])),
            ("keep_days", Column::Small(vec![30, 30, 30, MARKER_DAYS])),
            ("ledger_events", Column::Number(vec![0, 0, 0, 3])),
            ("event_time", Column::Millis(vec![MONDAY + 5, MONDAY + 5, MONDAY + 5, MONDAY])),
            ("device_key", Column::Offset(vec![u64::MAX, u64::MAX, u64::MAX, 0])),
        ] {
            assert_eq!(column(&blocks[0], name), &expected, "{name}");
        }
        let Column::Texts { text, ends, lists } = column(&blocks[0], "experiments_values") else {
            panic!("the values of a map are lists of texts")
        };
        assert_eq!((text.as_str(), ends.len(), lists.as_slice()), ("BABABA", 6, &[2, 4, 6, 6][..]));
        assert!(blocks[0].columns().all(|(name, _)| name != "user_id"), "no event has a user_id");
        assert!(events.flush(3, Mark::new("", 10)).0.is_empty());
    }

    #[test]
    fn the_same_records_give_the_same_bytes_and_a_discarded_buffer_gives_none() {
        let flushed = |keep_days, discard| {
            let mut events = Events::new(keep_days);
            add(&mut events, 7, &batch(&[1, 2, 3]));
            if discard {
                events.discard(3);
            }
            events.flush(3, Mark::new("1/enriched-events/3", 8)).0
        };
        assert_eq!(flushed(30, false)[0].digest(), flushed(30, false)[0].digest());
        assert_ne!(flushed(30, false)[0].digest(), flushed(31, false)[0].digest());
        assert!(flushed(30, true).is_empty());
    }

    #[test]
    fn a_record_that_is_not_a_batch_is_an_error() {
        let mut events = Events::new(30);
        let input = Input {
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: None,
            value: Some(b"{}"),
            headers: Vec::new(),
        };
        assert!(events.add(&input).is_err());
        assert!(events.add(&Input { value: None, ..input }).is_err());
    }
}
