//! Counts the events between two stages.
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use event::{Batch, Topic, header};
use rdkafka::{
    Message,
    consumer::BaseConsumer,
    message::{BorrowedMessage, Headers},
};
use runtime::config::Settings;

use super::check::InFlight;
use crate::{
    error::Error,
    topic_reader::{self, OffsetRange, Read, TopicReader},
};

/// How long to wait for an open transaction of the pipeline itself. The transaction of a foreign program can stay open for
/// longer; what is behind it counts as in flight.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// PartitionBounds of every partition of a topic.
pub(super) struct TopicBounds {
    topic: Topic,
    /// Up to the last stable offset.
    partitions: Vec<topic_reader::PartitionBounds>,
    /// Up to the high watermark, if it was read.
    written: Vec<topic_reader::PartitionBounds>,
}

impl TopicBounds {
    pub(super) fn read(settings: &Settings, client: &BaseConsumer, topic: Topic) -> Result<Self, Error> {
        let name = settings.kafka.topic(topic);
        let partitions = topic_reader::partitions(settings, client, &name)?;
        Ok(Self { topic, partitions: topic_reader::bounds(client, &name, &partitions)?, written: Vec::new() })
    }
}

/// The bounds of a topic, after every transaction is committed or aborted that is open now, or after a while.
pub(super) fn settled_bounds(
    settings: &Settings,
    client: &BaseConsumer,
    topic: Topic,
) -> Result<TopicBounds, Error> {
    let started = Instant::now();
    let written = TopicBounds::read(settings, &topic_reader::uncommitted_observer(settings)?, topic)?;
    loop {
        let visible = TopicBounds::read(settings, client, topic)?;
        let pairs = visible.partitions.iter().zip(&written.partitions);
        if pairs.into_iter().all(|(visible, written)| visible.high >= written.high)
            || started.elapsed() > TRANSACTION_TIMEOUT
        {
            return Ok(TopicBounds { written: written.partitions, ..visible });
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Counts the events of each partition behind the committed offset (`reached`). Events before the end in `before` were
/// there before the sender's ledger was read, events up to the end in `after` may have been.
pub(super) fn in_flight(
    settings: &Settings,
    reached: &BTreeMap<i32, i64>,
    before: &TopicBounds,
    after: &TopicBounds,
) -> Result<BTreeMap<i32, InFlight>, Error> {
    let ranges: Vec<OffsetRange> = after
        .partitions
        .iter()
        .map(|bounds| {
            let start = reached.get(&bounds.partition).copied().unwrap_or(bounds.low).max(bounds.low);
            OffsetRange { partition: bounds.partition, start, end: bounds.high.max(start) }
        })
        .collect();
    let mut found: BTreeMap<i32, InFlight> =
        ranges.iter().map(|range| (range.partition, InFlight::default())).collect();
    let ends_before: BTreeMap<i32, i64> =
        before.partitions.iter().map(|bounds| (bounds.partition, bounds.high)).collect();
    count_events(
        settings,
        topic_reader::connect(settings)?,
        after.topic,
        &ranges,
        |partition, offset, events| {
            let in_flight = found.entry(partition).or_default();
            in_flight.most += events;
            if ends_before.get(&partition).is_some_and(|&end| offset < end) {
                in_flight.least += events;
            }
        },
    )?;
    // The transaction of a foreign program keeps these records back. They may be the sender's, or may be aborted.
    let blocked: Vec<OffsetRange> = ranges
        .iter()
        .zip(&after.written)
        .filter(|(visible, written)| written.high > visible.end)
        .map(|(visible, written)| OffsetRange { start: visible.end, end: written.high, ..*visible })
        .collect();
    if !blocked.is_empty() {
        let consumer = topic_reader::uncommitted_observer(settings)?;
        count_events(settings, consumer, after.topic, &blocked, |partition, _, events| {
            found.entry(partition).or_default().most += events;
        })?;
    }
    Ok(found)
}

/// Calls `each` with partition, offset and number of events of every message. A message that is no batch of the pipeline has
/// no events of the pipeline: the next stage rejects it.
fn count_events(
    settings: &Settings,
    consumer: BaseConsumer,
    topic: Topic,
    ranges: &[OffsetRange],
    mut each: impl FnMut(i32, i64, u64),
) -> Result<(), Error> {
    let name = settings.kafka.topic(topic);
    let mut reader = TopicReader::new(settings, consumer, &name, ranges, false)?;
    loop {
        let message = match reader.next(Duration::from_millis(100))? {
            Read::Record(message) => message,
            Read::Idle => continue,
            Read::End => return Ok(()),
        };
        let events = match topic {
            Topic::DeadLetters => u64::from(is_dead_letter(&message)),
            _ => Batch::decode(message.payload().unwrap_or_default()).map_or(0, |batch| batch.rows() as u64),
        };
        each(message.partition(), message.offset(), events);
    }
}

/// Whether a stage of the pipeline wrote this message of `dead-letters`. Aggregate does not count others.
fn is_dead_letter(message: &BorrowedMessage<'_>) -> bool {
    let headers = message.headers();
    let value = |name: &str| {
        let found = headers.into_iter().flat_map(|headers| headers.iter()).filter(|found| found.key == name);
        found.last().and_then(|found| found.value).unwrap_or_default()
    };
    let is_number = |name: &str| str::from_utf8(value(name)).is_ok_and(|text| text.parse::<i64>().is_ok());
    [header::CODE, header::STAGE, header::ORIGIN_TOPIC].iter().all(|name| !value(name).is_empty())
        && is_number(header::ORIGIN_PARTITION)
        && is_number(header::ORIGIN_OFFSET)
}
