//! Counts the events between two stages.
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use event::{Batch, Topic};
use rdkafka::{Message, consumer::BaseConsumer};
use runtime::config::Settings;

use super::check::InFlight;
use crate::{
    error::Error,
    topic_reader::{self, OffsetRange, Read, TopicReader},
};

/// How long to wait for an open transaction.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// PartitionBounds of every partition of a topic.
pub(super) struct TopicBounds {
    topic: Topic,
    partitions: Vec<topic_reader::PartitionBounds>,
}

impl TopicBounds {
    pub(super) fn read(settings: &Settings, client: &BaseConsumer, topic: Topic) -> Result<Self, Error> {
        let name = settings.kafka.topic(topic);
        let partitions = topic_reader::partitions(settings, client, &name)?;
        Ok(Self { topic, partitions: topic_reader::bounds(client, &name, &partitions)? })
    }
}

/// The bounds of a topic, after every transaction is committed or aborted that is open now.
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
        if pairs.into_iter().all(|(visible, written)| visible.high >= written.high) {
            return Ok(visible);
        }
        if started.elapsed() > TRANSACTION_TIMEOUT {
            let name = settings.kafka.topic(topic);
            let seconds = TRANSACTION_TIMEOUT.as_secs();
            return Err(Error::Failed(format!(
                "a transaction in {name} has been open for {seconds} s: is a stage stuck? see `millrace status`"
            )));
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
    let topic = settings.kafka.topic(after.topic);
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
    let mut reader = TopicReader::new(topic_reader::connect(settings)?, &topic, &ranges, false)?;
    loop {
        let message = match reader.next(Duration::from_millis(100))? {
            Read::Record(message) => message,
            Read::Idle => continue,
            Read::End => return Ok(found),
        };
        let (partition, offset) = (message.partition(), message.offset());
        let events = match after.topic {
            Topic::DeadLetters => 1,
            _ => {
                let batch = Batch::decode(message.payload().unwrap_or_default());
                let undecodable =
                    |error| Error::Failed(format!("{topic} partition {partition}, offset {offset}: {error}"));
                batch.map_err(undecodable)?.rows() as u64
            }
        };
        let in_flight = found.entry(partition).or_default();
        in_flight.most += events;
        if ends_before.get(&partition).is_some_and(|&end| offset < end) {
            in_flight.least += events;
        }
    }
}
