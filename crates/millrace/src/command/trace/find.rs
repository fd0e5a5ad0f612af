//! Where an event is looked for: the tables, where the lane `events` has written it, else the topics themselves.
use std::{collections::BTreeMap, fmt, io::IsTerminal, time::Duration};

use aggregate::server;
use base64::{Engine, engine::general_purpose::STANDARD};
use event::{Batch, Field, header};
use indicatif::{ProgressBar, ProgressStyle};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use runtime::{config::Settings, topic::Topic};
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::event::{DeadLetter, EnrichedPlace, Traced, columns};
use crate::{
    error::Error,
    kafka::{self, Read, Reader},
    output::note,
};

/// More occurrences of one ID than this help nobody.
const MOST: usize = 1_000;

/// Where the events came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// The tables in ClickHouse.
    Tables,
    /// The topics.
    Topics,
}

impl Source {
    pub(crate) fn described(self) -> &'static str {
        match self {
            Self::Tables => "the tables events and dead_letters",
            Self::Topics => "the topics enriched-events and dead-letters",
        }
    }
}

/// What is looked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) id: u128,
    /// Topics are read from here on, epoch milliseconds.
    pub(crate) since_ms: i64,
}

/// What was found, oldest first.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) source: Source,
    pub(crate) events: Vec<Traced>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// Raw records that name it, looked for when it is nowhere else.
    pub(crate) waiting: Vec<RawPlace>,
}

impl Found {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.dead_letters.is_empty()
    }
}

/// Where a raw event stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct RawPlace {
    pub(crate) topic: String,
    pub(crate) partition: i64,
    pub(crate) offset: i64,
    /// Its place in the record's array.
    pub(crate) index: i64,
}

impl fmt::Display for RawPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, offset, index } = self;
        write!(f, "{topic} partition {partition}, offset {offset}")?;
        if *index > 0 { write!(f, ", element {index}") } else { Ok(()) }
    }
}

/// Looks for the event, in the tables first unless `scan`.
pub(crate) fn find(
    settings: &Settings,
    tokio: &Runtime,
    wanted: &Wanted,
    scan: bool,
) -> Result<Found, Error> {
    if !scan {
        match tokio.block_on(in_tables(settings, wanted.id)) {
            Ok(Some(found)) if !found.is_empty() => return Ok(found),
            Ok(_) => (),
            Err(error) => note(format!("the tables cannot be asked, so the topics are read: {error}")),
        }
    }
    in_topics(settings, wanted)
}

/// None when the lane `events` has no table.
async fn in_tables(settings: &Settings, id: u128) -> Result<Option<Found>, Error> {
    let client = server::client(settings).with_database(&settings.clickhouse.database);
    if server::table(&client, settings, aggregate::table::EVENTS_LANE).await?.is_none() {
        return Ok(None);
    }
    let id_text = Uuid::from_u128(id).to_string();
    let events = format!("SELECT {} FROM events WHERE event_id = toUUID(?) LIMIT {MOST}", columns());
    let letters = format!(
        "SELECT * FROM dead_letters WHERE positionCaseInsensitive(if(payload_encoding = 'base64', \
         tryBase64Decode(payload), payload), ?) > 0 ORDER BY received_at LIMIT {MOST}"
    );
    let mut found =
        Found { source: Source::Tables, events: Vec::new(), dead_letters: Vec::new(), waiting: Vec::new() };
    for row in rows(settings, "events", client.query(&events).bind(&id_text)).await? {
        found.events.push(Traced::of_row(&row)?);
    }
    found.events.sort_by_key(|event| event.place);
    for row in rows(settings, "dead_letters", client.query(&letters).bind(&id_text)).await? {
        found.dead_letters.extend(letter_of_row(&row, id));
    }
    Ok(Some(found))
}

async fn rows(
    settings: &Settings,
    table: &str,
    query: clickhouse::query::Query,
) -> Result<Vec<Value>, Error> {
    let failed = |answer| Error::from(server::stop(settings, table, &answer));
    let mut cursor = query.fetch_bytes("JSONEachRow").map_err(failed)?;
    let bytes = cursor.collect().await.map_err(failed)?;
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let parsed = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
    parsed.map_err(|error| Error::Failed(format!("clickhouse answered no JSON for {table}: {error}")))
}

fn letter_of_row(row: &Value, id: u128) -> Option<DeadLetter> {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| match &row[name] {
        Value::String(text) => text.parse().unwrap_or(0),
        other => other.as_i64().unwrap_or(0),
    };
    let payload = text("payload");
    let payload = match row["payload_encoding"].as_str() {
        Some("base64") => STANDARD.decode(payload).unwrap_or_default(),
        _ => payload.into_bytes(),
    };
    let received: Option<jiff::Timestamp> = text("received_at").replace(' ', "T").parse().ok();
    let letter = DeadLetter {
        code: text("code"),
        message: text("message"),
        pointer: text("pointer"),
        stage: text("stage"),
        raw: RawPlace {
            topic: text("origin_topic"),
            partition: number("origin_partition"),
            offset: number("origin_offset"),
            index: number("origin_index"),
        },
        received_at: received.map_or(0, |at| at.as_millisecond()),
        app_id: text("app_id"),
        ..DeadLetter::default()
    };
    letter.reading(id, &payload)
}

fn in_topics(settings: &Settings, wanted: &Wanted) -> Result<Found, Error> {
    let mut events = Vec::new();
    let pattern = stored_bytes(wanted.id);
    scan(settings, Topic::EnrichedEvents, wanted.since_ms, |message| {
        let payload = message.payload().unwrap_or_default();
        if !contains(payload, &pattern) {
            return Ok(());
        }
        let Ok(batch) = Batch::decode(payload) else { return Ok(()) };
        for row in (0..batch.rows()).filter(|&row| batch.uuid(Field::EventId, row) == wanted.id) {
            let place = EnrichedPlace { partition: message.partition(), offset: message.offset(), row };
            events.push(Traced::of_batch(&batch, place)?);
        }
        Ok(())
    })?;
    events.sort_by_key(|event| event.place);
    let mut dead_letters = Vec::new();
    scan(settings, Topic::DeadLetters, wanted.since_ms, |message| {
        dead_letters.extend(letter_of_message(message, wanted.id));
        Ok(())
    })?;
    let mut found = Found { source: Source::Topics, events, dead_letters, waiting: Vec::new() };
    if found.is_empty() {
        let id = Uuid::from_u128(wanted.id).to_string();
        scan(settings, Topic::RawEvents, wanted.since_ms, |message| {
            let payload = message.payload().unwrap_or_default();
            if payload.windows(id.len()).any(|part| part.eq_ignore_ascii_case(id.as_bytes())) {
                found.waiting.push(RawPlace {
                    topic: message.topic().to_owned(),
                    partition: message.partition().into(),
                    offset: message.offset(),
                    index: 0,
                });
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// How a batch stores an ID: two 64-bit numbers, the high one first, each with its lowest byte first. To look for
/// these bytes costs a fraction of decoding every batch.
fn stored_bytes(id: u128) -> [u8; 16] {
    id.rotate_left(64).to_le_bytes()
}

fn contains(bytes: &[u8], pattern: &[u8; 16]) -> bool {
    bytes.windows(pattern.len()).any(|part| part == pattern)
}

fn letter_of_message(message: &BorrowedMessage<'_>, id: u128) -> Option<DeadLetter> {
    let headers: BTreeMap<&str, String> = message
        .headers()
        .into_iter()
        .flat_map(|headers| headers.iter())
        .map(|header| (header.key, String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned()))
        .collect();
    let text = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let number = |name: &str| headers.get(name).and_then(|value| value.parse().ok()).unwrap_or(0);
    let letter = DeadLetter {
        code: text(header::CODE),
        message: text(header::MESSAGE),
        pointer: text(header::POINTER),
        stage: text(header::STAGE),
        raw: RawPlace {
            topic: text(header::ORIGIN_TOPIC),
            partition: number(header::ORIGIN_PARTITION),
            offset: number(header::ORIGIN_OFFSET),
            index: number(header::ORIGIN_INDEX),
        },
        received_at: number(header::RECEIVED_AT),
        app_id: text(header::APP_ID),
        ..DeadLetter::default()
    };
    letter.reading(id, message.payload().unwrap_or_default())
}

/// Reads a topic from a time on up to its present end.
fn scan(
    settings: &Settings,
    topic: Topic,
    since_ms: i64,
    mut see: impl FnMut(&BorrowedMessage<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let topic = settings.kafka.topic(topic);
    let consumer = kafka::connect(settings)?;
    let partitions = kafka::partitions(settings, &consumer, &topic)?;
    let spans = kafka::spans_since(&consumer, &topic, &partitions, since_ms)?;
    let bar = progress_bar(&topic, spans.iter().map(|span| (span.end - span.start).unsigned_abs()).sum());
    let mut reader = Reader::new(consumer, &topic, &spans, false)?;
    loop {
        match reader.next(Duration::from_millis(100))? {
            Read::Record(message) => {
                see(&message)?;
                bar.inc(1);
            }
            Read::Idle => (),
            Read::End => break,
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn progress_bar(topic: &str, records: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} records  {eta} left");
    let bar = ProgressBar::new(records).with_message(topic.to_owned());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use event::BatchBuilder;

    use super::*;

    #[test]
    fn the_bytes_looked_for_are_those_that_a_batch_holds() {
        let ids = [1_u128, 0x0199_f0a0_7c1e_7abc_8def_0123_4567_89ab, u128::MAX - 1];
        let mut builder = BatchBuilder::default();
        for id in ids {
            builder.uuid(Field::EventId, id);
            builder.end_row();
        }
        let bytes = builder.finish();
        assert!(ids.iter().all(|&id| contains(&bytes, &stored_bytes(id))));
        assert!(!contains(&bytes, &stored_bytes(2)));
    }
}
