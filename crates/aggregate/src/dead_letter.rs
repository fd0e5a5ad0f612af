//! Dead letters as rows: the reason and origin from the headers, the bytes as far as a table should hold them.
//! The message in `dead-letters` keeps all of them.
use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use event::header;

use crate::accumulate::Tally;
use crate::block::{Block, Cutter, Layout, Mark, Marker, Value};
use crate::compile::MARKER_DAYS;
use crate::ddl::{DEAD_LETTER_DAYS, dead_letter_place, dead_letters_layout};
use crate::lane::{Added, Input, LaneFold};

/// Most bytes of a payload that the table holds.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// Holds the letters of each partition that have not been written yet.
#[derive(Debug)]
pub struct DeadLetters {
    layout: Layout,
    places: Places,
    partitions: BTreeMap<i32, Vec<Letter>>,
}

#[derive(Debug)]
struct Places {
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
struct Letter {
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
        let at = dead_letter_place;
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
            places: Places {
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
            return Err("a dead letter without the header `code` was not written by this pipeline".into());
        }
        let bytes = input.value.unwrap_or_default();
        let (payload, encoding) = shown(bytes);
        let received_at = headers.get(header::RECEIVED_AT).and_then(|value| value.parse().ok());
        let letter = Letter {
            offset: input.offset,
            // A letter without its own time is as old as its message.
            received_at: received_at.unwrap_or(input.timestamp_ms).max(0),
            headers,
            key: String::from_utf8_lossy(input.key.unwrap_or_default()).into_owned(),
            payload,
            encoding,
            payload_bytes: bytes.len(),
        };
        let bytes = letter.bytes();
        self.partitions.entry(input.partition).or_default().push(letter);
        Ok(Added { events: 1, bytes })
    }

    fn flush(&mut self, partition: i32, mark: Mark) -> (Vec<Block>, Tally) {
        let letters = self.partitions.remove(&partition).unwrap_or_default();
        let places = &self.places;
        let marker = Marker {
            mark,
            ledger: vec![(places.ledger_events, letters.len() as i64)],
            keep_days: MARKER_DAYS.max(DEAD_LETTER_DAYS),
            time: places.received_at,
            keep: places.keep_days,
            src: places.src,
            src_end: places.src_end,
        };
        let mut tally = Tally { events: letters.len() as u64, ..Tally::default() };
        let mut cutter = Cutter::new(self.layout.clone(), marker);
        for letter in &letters {
            tally.received_max = tally.received_max.max(letter.received_at);
            letter.write(partition, places, &mut cutter);
        }
        (cutter.finish(), tally)
    }

    fn discard(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }
}

impl Letter {
    fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        headers + self.key.len() + self.payload.len() + 128
    }

    fn write(&self, partition: i32, places: &Places, cutter: &mut Cutter) {
        let seconds = u32::try_from(self.received_at / 1000).unwrap_or(u32::MAX);
        cutter.begin_row(seconds, self.bytes());
        cutter.set(places.received_at, Value::Number(self.received_at.min(i64::from(u32::MAX) * 1000)));
        cutter.set(places.keep_days, Value::Small(DEAD_LETTER_DAYS));
        for &(name, place) in &places.texts {
            cutter.set(place, Value::Text(self.headers.get(name).map_or("", String::as_str)));
        }
        for &(name, place) in &places.numbers {
            let number = self.headers.get(name).and_then(|value| value.parse().ok());
            cutter.set(place, Value::Number(number.unwrap_or(0)));
        }
        cutter.set(places.key, Value::Text(&self.key));
        cutter.set(places.payload, Value::Text(&self.payload));
        cutter.set(places.payload_encoding, Value::Text(self.encoding));
        cutter.set(places.payload_bytes, Value::Number(self.payload_bytes as i64));
        cutter.set(places.letter_partition, Value::Number(i64::from(partition)));
        cutter.set(places.letter_offset, Value::Number(self.offset));
        cutter.end_row();
    }
}

/// The payload as text, or as base64 when it is none, of its first 64 KiB.
fn shown(bytes: &[u8]) -> (String, &'static str) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text[..text.floor_char_boundary(MAX_PAYLOAD)].to_owned(), "text"),
        Err(_) => (STANDARD.encode(&bytes[..bytes.len().min(MAX_PAYLOAD)]), "base64"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Column;

    fn letter<'a>(offset: i64, value: &'a [u8]) -> Input<'a> {
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
    fn a_letter_is_a_row_with_its_origin() {
        let mut letters = DeadLetters::default();
        letters.add(&letter(8, b"{}")).unwrap();
        let (blocks, tally) = letters.flush(3, Mark::new("1/dead-letters/3", 9));
        assert_eq!((tally.events, tally.received_max), (1, 1_700_000_000_123));
        assert_eq!((blocks[0].data_rows(), blocks[0].rows()), (1, 2));
        assert_eq!(column(&blocks[0], "origin_offset"), Column::Number(vec![77, 0]));
        assert_eq!(column(&blocks[0], "letter_offset"), Column::Number(vec![8, 0]));
        // The marker lies at the first instant of the week of 2023-11-14.
        assert_eq!(
            column(&blocks[0], "received_at"),
            Column::Millis(vec![1_700_000_000_123, 1_699_833_600_000])
        );
        assert!(letters.flush(3, Mark::new("", 9)).0.is_empty());
    }

    #[test]
    fn payloads_are_text_or_base64_and_cut_at_64_kib() {
        assert_eq!(shown("活".as_bytes()), ("活".to_owned(), "text"));
        assert_eq!(shown(&[0xff, 0xfe]), ("//4=".to_owned(), "base64"));
        let long = "活".repeat(30_000);
        assert_eq!(shown(long.as_bytes()).0.len(), 65_535);
        assert_eq!(shown(&[0xff; 70_000]).0.len(), MAX_PAYLOAD.div_ceil(3) * 4);
    }

    #[test]
    fn a_message_that_is_no_dead_letter_is_refused() {
        let mut input = letter(1, b"x");
        input.headers.clear();
        assert!(DeadLetters::default().add(&input).unwrap_err().contains("without the header `code`"));
    }
}
