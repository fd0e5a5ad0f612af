//! The buffer of the lane `dead_letters`: one row per dead letter, with reason and origin from the headers and the first
//! 64 KiB of the payload. The record in `dead-dead_letters` keeps all of it.
use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use event::header;

use super::lane_fold::{Added, FlushCounts, Input, LaneFold};
use crate::block::{Block, BlockBuilder, Layout, MARKER_DAYS, Mark, MarkerRows, Value};
use crate::table::{DEAD_LETTER_DAYS, dead_letters_column, dead_letters_layout};

/// Most bytes of a payload in the table.
const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

/// Holds the dead letters of each Kafka partition since its last flush.
#[derive(Debug)]
pub struct DeadLetters {
    layout: Layout,
    columns: Columns,
    partitions: BTreeMap<i32, Vec<DeadLetter>>,
}

/// Indexes of the columns, looked up once.
#[derive(Debug)]
struct Columns {
    received_at: usize,
    keep_days: usize,
    src: usize,
    src_end: usize,
    ledger_events: usize,
    texts: Vec<(&'static str, usize)>,
    numbers: Vec<(&'static str, usize)>,
    key: usize,
    payload: usize,
    payload_encoding: usize,
    payload_bytes: usize,
    letter_partition: usize,
    letter_offset: usize,
}

#[derive(Debug)]
struct DeadLetter {
    offset: i64,
    received_at: i64,
    headers: BTreeMap<String, String>,
    key: String,
    payload: String,
    encoding: &'static str,
    payload_bytes: usize,
}

impl Default for DeadLetters {
    fn default() -> Self {
        let at = dead_letters_column;
        let texts = [
            header::CODE,
            header::MESSAGE,
            header::POINTER,
            header::ORIGIN_TOPIC,
            header::STAGE,
            header::VERSION,
            header::APP_ID,
            header::PLATFORM,
            header::LIBRARY,
        ];
        let numbers = [header::ORIGIN_PARTITION, header::ORIGIN_OFFSET, header::ORIGIN_INDEX];
        Self {
            layout: dead_letters_layout(),
            columns: Columns {
                received_at: at("received_at"),
                keep_days: at("keep_days"),
                src: at("src"),
                src_end: at("src_end"),
                ledger_events: at("ledger_events"),
                texts: texts.map(|name| (name, at(name))).to_vec(),
                numbers: numbers.map(|name| (name, at(name))).to_vec(),
                key: at("key"),
                payload: at("payload"),
                payload_encoding: at("payload_encoding"),
                payload_bytes: at("payload_bytes"),
                letter_partition: at("letter_partition"),
                letter_offset: at("letter_offset"),
            },
            partitions: BTreeMap::new(),
        }
    }
}

impl LaneFold for DeadLetters {
    fn add(&mut self, input: &Input<'_>) -> Result<Added, String> {
        let headers: BTreeMap<String, String> = input
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), String::from_utf8_lossy(value).into_owned()))
            .collect();
        if !headers.contains_key(header::CODE) {
            return Err("the record has no header `code`, so this pipeline did not write it".into());
        }
        let bytes = input.value.unwrap_or_default();
        let (payload, encoding) = readable(bytes);
        let received_at = headers.get(header::RECEIVED_AT).and_then(|value| value.parse().ok());
        let dead_letter = DeadLetter {
            offset: input.offset,
            // Without this header the time of the Kafka record is used.
            received_at: received_at.unwrap_or(input.timestamp_ms).max(0),
            headers,
            key: String::from_utf8_lossy(input.key.unwrap_or_default()).into_owned(),
            payload,
            encoding,
            payload_bytes: bytes.len(),
        };
        let bytes = dead_letter.bytes();
        self.partitions.entry(input.partition).or_default().push(dead_letter);
        Ok(Added { events: 1, bytes })
    }

    fn flush(&mut self, partition: i32, mark: Mark) -> (Vec<Block>, FlushCounts) {
        let dead_letters = self.partitions.remove(&partition).unwrap_or_default();
        let columns = &self.columns;
        let markers = MarkerRows {
            mark,
            ledger: vec![(columns.ledger_events, dead_letters.len() as i64)],
            keep_days: MARKER_DAYS.max(DEAD_LETTER_DAYS),
            time_column: columns.received_at,
            keep_days_column: columns.keep_days,
            src_column: columns.src,
            src_end_column: columns.src_end,
        };
        let mut counts = FlushCounts { events: dead_letters.len() as u64, ..FlushCounts::default() };
        let mut builder = BlockBuilder::new(self.layout.clone(), markers);
        for dead_letter in &dead_letters {
            counts.received_max = counts.received_max.max(dead_letter.received_at);
            dead_letter.write(partition, columns, &mut builder);
        }
        (builder.finish(), counts)
    }

    fn discard(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }
}

impl DeadLetter {
    fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        headers + self.key.len() + self.payload.len() + 128
    }

    fn write(&self, partition: i32, columns: &Columns, builder: &mut BlockBuilder) {
        let seconds = u32::try_from(self.received_at / 1000).unwrap_or(u32::MAX);
        builder.begin_row(seconds, self.bytes());
        builder.set(columns.received_at, Value::Number(self.received_at.min(i64::from(u32::MAX) * 1000)));
        builder.set(columns.keep_days, Value::Small(DEAD_LETTER_DAYS));
        for &(name, column) in &columns.texts {
            builder.set(column, Value::Text(self.headers.get(name).map_or("", String::as_str)));
        }
        for &(name, column) in &columns.numbers {
            let number = self.headers.get(name).and_then(|value| value.parse().ok());
            builder.set(column, Value::Number(number.unwrap_or(0)));
        }
        builder.set(columns.key, Value::Text(&self.key));
        builder.set(columns.payload, Value::Text(&self.payload));
        builder.set(columns.payload_encoding, Value::Text(self.encoding));
        builder.set(columns.payload_bytes, Value::Number(self.payload_bytes as i64));
        builder.set(columns.letter_partition, Value::Number(i64::from(partition)));
        builder.set(columns.letter_offset, Value::Number(self.offset));
        builder.end_row();
    }
}

/// The first 64 KiB of a payload: as text if it is UTF-8, else as base64.
fn readable(bytes: &[u8]) -> (String, &'static str) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text[..text.floor_char_boundary(MAX_PAYLOAD_BYTES)].to_owned(), "text"),
        Err(_) => (STANDARD.encode(&bytes[..bytes.len().min(MAX_PAYLOAD_BYTES)]), "base64"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Column;

    fn input<'a>(offset: i64, value: &'a [u8]) -> Input<'a> {
        Input {
            partition: 3,
            offset,
            timestamp_ms: 5_000,
            key: Some(b"k"),
            value: Some(value),
            headers: vec![
                ("code", b"too_old".as_slice()),
                ("origin_offset", b"77"),
                ("received_at", b"1700000000123"),
            ],
        }
    }

    fn column(block: &Block, name: &str) -> Column {
        block.columns().find(|(column, _)| *column == name).unwrap().1.clone()
    }

    #[test]
    fn a_dead_letter_is_a_row_with_its_origin() {
        let mut dead_letters = DeadLetters::default();
        dead_letters.add(&input(8, b"{}")).unwrap();
        let (blocks, counts) = dead_letters.flush(3, Mark::new("1/dead-letters/3", 9));
        assert_eq!((counts.events, counts.received_max), (1, 1_700_000_000_123));
        assert_eq!((blocks[0].data_rows(), blocks[0].rows()), (1, 2));
        assert_eq!(column(&blocks[0], "origin_offset"), Column::Number(vec![77, 0]));
        assert_eq!(column(&blocks[0], "letter_offset"), Column::Number(vec![8, 0]));
        // The marker has the first instant of the week of 2023-11-14.
        assert_eq!(
            column(&blocks[0], "received_at"),
            Column::Millis(vec![1_700_000_000_123, 1_699_833_600_000])
        );
        assert!(dead_letters.flush(3, Mark::new("", 9)).0.is_empty());
    }

    #[test]
    fn payloads_are_text_or_base64_and_cut_at_64_kib() {
        assert_eq!(readable("活".as_bytes()), ("活".to_owned(), "text"));
        assert_eq!(readable(&[0xff, 0xfe]), ("//4=".to_owned(), "base64"));
        let long = "活".repeat(30_000);
        assert_eq!(readable(long.as_bytes()).0.len(), 65_535);
        assert_eq!(readable(&[0xff; 70_000]).0.len(), MAX_PAYLOAD_BYTES.div_ceil(3) * 4);
    }

    #[test]
    fn a_record_that_is_not_a_dead_letter_is_an_error() {
        let mut record = input(1, b"x");
        record.headers.clear();
        assert!(DeadLetters::default().add(&record).unwrap_err().contains("no header `code`"));
    }
}
