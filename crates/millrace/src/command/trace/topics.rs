//! Looks for an event in the topics.
use std::{collections::BTreeMap, io::IsTerminal, time::Duration};

use event::{Batch, Field, Topic, header};
use indicatif::{ProgressBar, ProgressStyle};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use runtime::config::Settings;
use uuid::Uuid;

use super::{
    dead_letter::TracedDeadLetter,
    event::TracedEvent,
    position::{EnrichedPosition, RawPosition},
    result::{FoundIn, TraceResult},
};
use crate::{
    error::Error,
    topic_reader::{self, Read, TopicReader},
};

pub(super) fn find_in_topics(settings: &Settings, id: u128, since_ms: i64) -> Result<TraceResult, Error> {
    let mut events = Vec::new();
    let pattern = stored_bytes(id);
    scan(settings, Topic::EnrichedEvents, since_ms, |message| {
        let payload = message.payload().unwrap_or_default();
        if !contains(payload, &pattern) {
            return Ok(());
        }
        let Ok(batch) = Batch::decode(payload) else { return Ok(()) };
        for row in (0..batch.rows()).filter(|&row| batch.uuid(Field::EventId, row) == id) {
            let position = EnrichedPosition { partition: message.partition(), offset: message.offset(), row };
            events.push(TracedEvent::of_batch(&batch, position)?);
        }
        Ok(())
    })?;
    events.sort_by_key(|event| event.position);
    let mut dead_letters = Vec::new();
    scan(settings, Topic::DeadLetters, since_ms, |message| {
        dead_letters.extend(dead_letter_of_message(message, id));
        Ok(())
    })?;
    let mut found = TraceResult { source: FoundIn::Topics, events, dead_letters, waiting: Vec::new() };
    if found.is_empty() {
        let id_text = Uuid::from_u128(id).to_string();
        scan(settings, Topic::RawEvents, since_ms, |message| {
            let payload = message.payload().unwrap_or_default();
            if payload.windows(id_text.len()).any(|part| part.eq_ignore_ascii_case(id_text.as_bytes())) {
                found.waiting.push(RawPosition {
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

/// The bytes of an ID in a batch: two 64-bit halves, the high one first, each little-endian. Searching for these bytes is
/// much cheaper than decoding every batch.
fn stored_bytes(id: u128) -> [u8; 16] {
    id.rotate_left(64).to_le_bytes()
}

fn contains(bytes: &[u8], pattern: &[u8; 16]) -> bool {
    bytes.windows(pattern.len()).any(|part| part == pattern)
}

fn dead_letter_of_message(message: &BorrowedMessage<'_>, id: u128) -> Option<TracedDeadLetter> {
    let headers: BTreeMap<&str, String> = message
        .headers()
        .into_iter()
        .flat_map(|headers| headers.iter())
        .map(|header| (header.key, String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned()))
        .collect();
    let text = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let number = |name: &str| headers.get(name).and_then(|value| value.parse().ok()).unwrap_or(0);
    let letter = TracedDeadLetter {
        code: text(header::CODE),
        message: text(header::MESSAGE),
        pointer: text(header::POINTER),
        stage: text(header::STAGE),
        raw: RawPosition {
            topic: text(header::ORIGIN_TOPIC),
            partition: number(header::ORIGIN_PARTITION),
            offset: number(header::ORIGIN_OFFSET),
            index: number(header::ORIGIN_INDEX),
        },
        received_at: number(header::RECEIVED_AT),
        app_id: text(header::APP_ID),
        cut_from_bytes: number(header::VALUE_BYTES),
        ..TracedDeadLetter::default()
    };
    letter.with_payload(id, message.payload().unwrap_or_default())
}

/// Reads a topic from a time (epoch milliseconds) to its current end.
fn scan(
    settings: &Settings,
    topic: Topic,
    since_ms: i64,
    mut visit: impl FnMut(&BorrowedMessage<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let topic = settings.kafka.topic(topic);
    let consumer = topic_reader::connect(settings)?;
    let partitions = topic_reader::partitions(settings, &consumer, &topic)?;
    let ranges = topic_reader::ranges_since(&consumer, &topic, &partitions, since_ms)?;
    let bar = progress_bar(&topic, ranges.iter().map(|range| (range.end - range.start).unsigned_abs()).sum());
    let mut reader = TopicReader::new(settings, consumer, &topic, &ranges, false)?;
    loop {
        match reader.next(Duration::from_millis(100))? {
            Read::Record(message) => {
                visit(&message)?;
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
    fn a_batch_contains_the_bytes_that_are_searched_for() {
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
