//! The buffer of the lane `dead_letters`: one row per dead letter, with reason and origin from the headers, the first KiB
//! of the key and the first 64 KiB of the payload, without the IP address of the client. The record in `dead-letters` keeps
//! all of it.
//!
//! A message without the headers of a dead letter was not written by this pipeline. It becomes a row too, of stage
//! `aggregate`, but it is not counted: nobody has sent it.
use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use event::{RejectCode, Rejection, header};

use super::address::without_addresses;
use super::lane_fold::{Added, FlushCounts, Input, LaneFold, Unreadable};
use crate::block::{Block, BlockBuilder, Layout, MARKER_DAYS, Mark, MarkerRows, Value};
use crate::table::{DEAD_LETTER_COLUMNS, DEAD_LETTER_DAYS, dead_letters_column, dead_letters_layout};

/// Most bytes of a payload in the table.
const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// Most bytes of a key or header in the table.
const MAX_TEXT_BYTES: usize = 1024;
/// A stage writes a dead letter this long after the broker received the record, at most: longer than any retention.
const OLDEST_RECEIVED_MS: i64 = 400 * 24 * 3600 * 1000;

/// Headers that are texts.
const TEXTS: [&str; 9] = [
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
/// Headers that are numbers.
const NUMBERS: [&str; 3] = [header::ORIGIN_PARTITION, header::ORIGIN_OFFSET, header::ORIGIN_INDEX];

/// Holds the dead letters of each Kafka partition since its last flush.
#[derive(Debug)]
pub struct DeadLetters {
    topic: String,
    /// Whether the topic is `dead-letters`. Otherwise the buffer holds the foreign messages of another topic.
    reads_dead_letters: bool,
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
    texts: [usize; TEXTS.len()],
    numbers: [usize; NUMBERS.len()],
    key: usize,
    payload: usize,
    payload_encoding: usize,
    payload_bytes: usize,
    letter_partition: usize,
    letter_offset: usize,
}

#[derive(Debug)]
struct DeadLetter {
    /// Whether a stage of this pipeline wrote it.
    counts: bool,
    /// Its position in `dead-letters`, or -1.
    position: (i32, i64),
    received_at: i64,
    texts: [String; TEXTS.len()],
    numbers: [i64; NUMBERS.len()],
    key: String,
    payload: String,
    encoding: &'static str,
    payload_bytes: usize,
}

impl DeadLetters {
    /// The buffer of the lane that reads `topic`, the topic of dead letters.
    pub fn new(topic: &str) -> Self {
        Self::of_topic(topic, true)
    }

    /// A buffer for the messages of another topic that no stage wrote.
    pub fn foreign_to(topic: &str) -> Self {
        Self::of_topic(topic, false)
    }

    fn of_topic(topic: &str, reads_dead_letters: bool) -> Self {
        let at = dead_letters_column;
        Self {
            topic: topic.to_owned(),
            reads_dead_letters,
            layout: dead_letters_layout(),
            columns: Columns {
                received_at: at("received_at"),
                keep_days: at("keep_days"),
                src: at("src"),
                src_end: at("src_end"),
                ledger_events: at("ledger_events"),
                texts: TEXTS.map(at),
                numbers: NUMBERS.map(at),
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

    /// Adds a message that no stage of this pipeline wrote.
    pub(super) fn add_foreign(&mut self, input: &Input<'_>, problem: String) -> Added {
        let rejection = Rejection::new(RejectCode::Undecodable, "", problem.as_str());
        let texts = TEXTS.map(|name| match name {
            header::CODE => rejection.code.as_str().to_owned(),
            header::MESSAGE => rejection.message.clone(),
            header::ORIGIN_TOPIC => self.topic.clone(),
            header::STAGE => "aggregate".to_owned(),
            header::VERSION => env!("CARGO_PKG_VERSION").to_owned(),
            _ => String::new(),
        });
        let numbers = [i64::from(input.partition), input.offset, 0];
        let (position, received_at) = (self.position(input), input.timestamp_ms);
        let letter = DeadLetter::new(false, position, received_at, texts, numbers, input);
        Added { foreign: Some(problem), ..self.push(input, letter) }
    }

    fn position(&self, input: &Input<'_>) -> (i32, i64) {
        if self.reads_dead_letters { (input.partition, input.offset) } else { (-1, -1) }
    }

    fn push(&mut self, input: &Input<'_>, dead_letter: DeadLetter) -> Added {
        let dead_letters = self.partitions.entry(input.partition).or_default();
        let places = dead_letters.capacity();
        let (events, bytes) =
            (u64::from(dead_letter.counts), dead_letter.heap_bytes() + dead_letter.row_bytes());
        dead_letters.push(dead_letter);
        let new_places = dead_letters.capacity() - places;
        Added { events, bytes: bytes + new_places * size_of::<DeadLetter>(), foreign: None }
    }
}

impl LaneFold for DeadLetters {
    fn add(&mut self, input: &Input<'_>) -> Result<Added, Unreadable> {
        let texts = TEXTS.map(|name| cut(last_header(input, name), MAX_TEXT_BYTES));
        let number = |name| std::str::from_utf8(last_header(input, name)).ok()?.parse::<i64>().ok();
        for name in [header::CODE, header::STAGE, header::ORIGIN_TOPIC] {
            if last_header(input, name).is_empty() {
                return Ok(self.add_foreign(input, format!("the message has no header `{name}`")));
            }
        }
        for name in [header::ORIGIN_PARTITION, header::ORIGIN_OFFSET] {
            if number(name).is_none() {
                return Ok(self.add_foreign(input, format!("the header `{name}` is not a number")));
            }
        }
        let numbers = NUMBERS.map(|name| number(name).unwrap_or(0));
        // Without this header the time of the Kafka record is used.
        let received_at = number(header::RECEIVED_AT)
            .filter(|at| (0..=OLDEST_RECEIVED_MS).contains(&input.timestamp_ms.saturating_sub(*at)));
        let received_at = received_at.unwrap_or(input.timestamp_ms);
        let position = self.position(input);
        Ok(self.push(input, DeadLetter::new(true, position, received_at, texts, numbers, input)))
    }

    fn flush(&mut self, partition: i32, mark: Mark) -> (Vec<Block>, FlushCounts) {
        let dead_letters = self.partitions.remove(&partition).unwrap_or_default();
        let columns = &self.columns;
        let events = dead_letters.iter().filter(|dead_letter| dead_letter.counts).count() as u64;
        let markers = MarkerRows {
            mark: mark.with_ledger_of(events),
            ledger: vec![(columns.ledger_events, events as i64)],
            keep_days: MARKER_DAYS.max(DEAD_LETTER_DAYS),
            time_column: columns.received_at,
            keep_days_column: columns.keep_days,
            src_column: columns.src,
            src_end_column: columns.src_end,
        };
        let mut counts = FlushCounts { events, ..FlushCounts::default() };
        let mut builder = BlockBuilder::new(self.layout.clone(), markers);
        // A dead letter is dropped as soon as its row is written.
        for dead_letter in dead_letters {
            counts.received_max = counts.received_max.max(dead_letter.received_at);
            dead_letter.write(columns, &mut builder);
        }
        (builder.finish(), counts)
    }

    fn discard(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }
}

impl DeadLetter {
    fn new(
        counts: bool,
        position: (i32, i64),
        received_at: i64,
        texts: [String; TEXTS.len()],
        numbers: [i64; NUMBERS.len()],
        input: &Input<'_>,
    ) -> Self {
        let bytes = input.value.unwrap_or_default();
        let (payload, encoding) = match without_addresses(bytes) {
            Some(bytes) => readable(&bytes),
            None => readable(bytes),
        };
        // A stage that cut the value says how long it was.
        let whole_bytes = std::str::from_utf8(last_header(input, header::VALUE_BYTES)).ok();
        let whole_bytes = whole_bytes.and_then(|bytes| bytes.parse::<u32>().ok()).map(|bytes| bytes as usize);
        Self {
            counts,
            position,
            received_at: received_at.clamp(0, i64::from(u32::MAX) * 1000),
            texts,
            numbers,
            key: cut(input.key.unwrap_or_default(), MAX_TEXT_BYTES),
            payload,
            encoding,
            payload_bytes: whole_bytes.unwrap_or(bytes.len()),
        }
    }

    fn heap_bytes(&self) -> usize {
        let texts: usize = self.texts.iter().map(String::capacity).sum();
        texts + self.key.capacity() + self.payload.capacity()
    }

    /// Bytes of its row in a block.
    fn row_bytes(&self) -> usize {
        const COLUMN_BYTES: usize = size_of::<u64>();
        let texts: usize = self.texts.iter().map(String::len).sum();
        DEAD_LETTER_COLUMNS * COLUMN_BYTES + texts + self.key.len() + self.payload.len()
    }

    fn write(&self, columns: &Columns, builder: &mut BlockBuilder) {
        let seconds = u32::try_from(self.received_at / 1000).unwrap_or(u32::MAX);
        builder.begin_row(seconds, self.row_bytes());
        builder.set(columns.received_at, Value::Number(self.received_at));
        builder.set(columns.keep_days, Value::Small(DEAD_LETTER_DAYS));
        for (&column, text) in columns.texts.iter().zip(&self.texts) {
            builder.set(column, Value::Text(text));
        }
        for (&column, &number) in columns.numbers.iter().zip(&self.numbers) {
            builder.set(column, Value::Number(number));
        }
        builder.set(columns.key, Value::Text(&self.key));
        builder.set(columns.payload, Value::Text(&self.payload));
        builder.set(columns.payload_encoding, Value::Text(self.encoding));
        builder.set(columns.payload_bytes, Value::Number(self.payload_bytes as i64));
        builder.set(columns.letter_partition, Value::Number(i64::from(self.position.0)));
        builder.set(columns.letter_offset, Value::Number(self.position.1));
        builder.end_row();
    }
}

/// The value of a header; of several with this name the last one, empty when there is none.
fn last_header<'a>(input: &Input<'a>, wanted: &str) -> &'a [u8] {
    input.headers.iter().rev().find(|(name, _)| *name == wanted).map_or(b"", |(_, value)| value)
}

/// The first bytes as text, cut between two characters. What is not UTF-8 is replaced.
fn cut(bytes: &[u8], most: usize) -> String {
    // A byte 10xxxxxx continues a character, of which it is at most the fourth.
    let is_between = |&end: &usize| bytes.get(end).is_none_or(|byte| byte & 0xc0 != 0x80);
    let most = bytes.len().min(most);
    let end = (most.saturating_sub(3)..=most).rev().find(is_between).unwrap_or(most);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
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

    const RECEIVED: i64 = 1_700_000_000_123;

    fn input<'a>(offset: i64, value: &'a [u8]) -> Input<'a> {
        Input {
            partition: 3,
            offset,
            timestamp_ms: RECEIVED + 5_000,
            key: Some(b"k"),
            value: Some(value),
            headers: vec![
                ("code", b"too_old".as_slice()),
                ("stage", b"ingest"),
                ("origin_topic", b"raw-events"),
                ("origin_partition", b"1"),
                ("origin_offset", b"77"),
                ("received_at", b"1700000000123"),
            ],
        }
    }

    fn letters() -> DeadLetters {
        DeadLetters::new("dead-letters")
    }

    fn column(block: &Block, name: &str) -> Column {
        block.columns().find(|(column, _)| *column == name).unwrap().1.clone()
    }

    fn texts(block: &Block, name: &str) -> Vec<String> {
        let Column::Text { text, ends } = column(block, name) else { panic!("{name} is a text") };
        let starts = std::iter::once(&0).chain(&ends);
        starts.zip(&ends).map(|(&start, &end)| text[start..end].to_owned()).collect()
    }

    #[test]
    fn a_dead_letter_is_a_row_with_its_origin() {
        let mut dead_letters = letters();
        dead_letters.add(&input(8, b"{}")).unwrap();
        let (blocks, counts) = dead_letters.flush(3, Mark::new("1/dead-letters/3", 9));
        assert_eq!((counts.events, counts.received_max), (1, RECEIVED));
        assert_eq!((blocks[0].data_rows(), blocks[0].rows()), (1, 2));
        assert_eq!(column(&blocks[0], "origin_offset"), Column::Number(vec![77, 0]));
        assert_eq!(column(&blocks[0], "letter_offset"), Column::Number(vec![8, 0]));
        assert_eq!(column(&blocks[0], "ledger_events"), Column::Number(vec![0, 1]));
        // The marker has the first instant of the week of 2023-11-14.
        assert_eq!(column(&blocks[0], "received_at"), Column::Millis(vec![RECEIVED, 1_699_833_600_000]));
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
    fn a_message_that_is_not_a_dead_letter_is_a_row_of_stage_aggregate_that_is_not_counted() {
        let without = |name| Input {
            headers: input(4, b"x").headers.into_iter().filter(|(header, _)| *header != name).collect(),
            ..input(4, b"x")
        };
        let not_a_number = Input {
            headers: [input(4, b"x").headers, vec![("origin_offset", b"\xff")]].concat(),
            ..input(4, b"x")
        };
        for (message, problem) in [
            (without("code"), "no header `code`"),
            (without("stage"), "no header `stage`"),
            (without("origin_offset"), "`origin_offset` is not a number"),
            (not_a_number, "`origin_offset` is not a number"),
            (Input { headers: Vec::new(), key: None, value: None, ..input(4, b"") }, "no header `code`"),
        ] {
            let mut dead_letters = letters();
            assert_eq!(dead_letters.add(&message).unwrap().events, 0, "{problem}");
            let (blocks, counts) = dead_letters.flush(3, Mark::new("1/dead-letters/3", 5));
            assert_eq!((counts.events, blocks[0].data_rows()), (0, 1));
            assert!(texts(&blocks[0], "message")[0].contains(problem), "{:?}", texts(&blocks[0], "message"));
            assert_eq!(texts(&blocks[0], "code")[0], "undecodable");
            assert_eq!(texts(&blocks[0], "stage")[0], "aggregate");
            assert_eq!(texts(&blocks[0], "origin_topic")[0], "dead-letters");
            assert_eq!(column(&blocks[0], "origin_offset"), Column::Number(vec![4, 0]));
            assert_eq!(column(&blocks[0], "ledger_events"), Column::Number(vec![0, 0]));
        }
    }

    #[test]
    fn huge_keys_and_headers_are_cut_and_impossible_times_are_replaced() {
        let (key, text) = ("活".repeat(3_000_000), "é".repeat(100_000));
        let mut message = input(1, b"x");
        message.key = Some(key.as_bytes());
        message.headers.extend([
            ("app_id", text.as_bytes()),
            ("received_at", b"9223372036854775807"),
            ("x", text.as_bytes()),
        ]);
        message.headers.extend([("library", b"\xff\xfe".as_slice())]);
        let mut dead_letters = letters();
        let added = dead_letters.add(&message).unwrap();
        assert!(added.events == 1 && added.bytes < 8192, "{added:?}");
        let (blocks, counts) = dead_letters.flush(3, Mark::new("1/dead-letters/3", 5));
        assert_eq!(counts.received_max, message.timestamp_ms);
        assert_eq!(texts(&blocks[0], "key")[0], "活".repeat(341));
        assert_eq!(texts(&blocks[0], "app_id")[0], "é".repeat(512));
        assert_eq!(texts(&blocks[0], "library")[0], "\u{fffd}\u{fffd}");
    }
}
