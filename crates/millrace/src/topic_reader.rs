//! Reads topics without joining a consumer group: their partitions, their bounds and their records.
use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use ::kafka::Probe;
pub(crate) use ::kafka::Read;
use event::NextOffset;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::Message as _,
};
use runtime::{config::Settings, shutdown::Shutdown, stage::Undecodable};

use crate::{error::Error, output};

/// Timeout of one request to the broker.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A read without --follow fails when no record arrives for this long.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A consumer that can read the committed offsets of `group`. It does not join the group.
pub(crate) fn group_observer(settings: &Settings, group: &str) -> Result<BaseConsumer, Error> {
    config(settings, group).create().map_err(Error::kafka("creating a client"))
}

fn config(settings: &Settings, group: &str) -> ClientConfig {
    let mut config = ::kafka::client(settings);
    config
        .set("client.id", "millrace-command")
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.wait.max.ms", "50")
        .set("queued.max.messages.kbytes", "65536");
    // The command finds the same batches undecodable as the stages.
    ::kafka::decoding(&mut config);
    config
}

/// A consumer that also reads records of open transactions.
pub(crate) fn uncommitted_observer(settings: &Settings) -> Result<BaseConsumer, Error> {
    let mut config = config(settings, &format!("{}-command", settings.pipeline));
    config.set("isolation.level", "read_uncommitted");
    config.create().map_err(Error::kafka("creating a client"))
}

/// A consumer for records. Kafka requires a group ID from every consumer.
pub(crate) fn connect(settings: &Settings) -> Result<BaseConsumer, Error> {
    group_observer(settings, &format!("{}-command", settings.pipeline))
}

/// The partitions of a topic.
pub(crate) fn partitions(
    settings: &Settings,
    consumer: &BaseConsumer,
    topic: &str,
) -> Result<Vec<i32>, Error> {
    let found = partitions_with_leader(settings, consumer, topic)?;
    Ok(found.into_iter().map(|(partition, _)| partition).collect())
}

/// The partitions of a topic, and whether each has a leader. Without a leader nothing can be read or written.
pub(crate) fn partitions_with_leader(
    settings: &Settings,
    consumer: &BaseConsumer,
    topic: &str,
) -> Result<Vec<(i32, bool)>, Error> {
    let metadata = ::kafka::metadata(consumer, settings, topic, REQUEST_TIMEOUT)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
    match found {
        Some(found) if !found.partitions().is_empty() => {
            Ok(found.partitions().iter().map(|partition| (partition.id(), partition.leader() >= 0)).collect())
        }
        _ => Err(::kafka::missing_topic(settings, topic, metadata.topics()).into()),
    }
}

/// First and next offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionBounds {
    pub(crate) partition: i32,
    pub(crate) low: i64,
    /// The last stable offset: records of open transactions are after it.
    pub(crate) high: i64,
}

/// The bounds of partitions. Retries for a while, because a new topic may still be electing its leaders.
pub(crate) fn bounds(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: &[i32],
) -> Result<Vec<PartitionBounds>, Error> {
    let started = Instant::now();
    let retried = |end: Offset| loop {
        match offsets(consumer, topic, partitions, end) {
            Ok(offsets) => return Ok(offsets),
            Err(_) if started.elapsed() < REQUEST_TIMEOUT => std::thread::sleep(Duration::from_millis(200)),
            Err(source) => {
                return Err(Error::Kafka { action: format!("reading the bounds of {topic}"), source });
            }
        }
    };
    let (lows, highs) = (retried(Offset::Beginning)?, retried(Offset::End)?);
    let bounds = partitions.iter().map(|&partition| {
        let of = |offsets: &HashMap<i32, i64>| offsets.get(&partition).copied().unwrap_or(0);
        PartitionBounds { partition, low: of(&lows), high: of(&highs) }
    });
    Ok(bounds.collect())
}

/// The offsets of all records that were written since a time (epoch milliseconds).
pub(crate) fn ranges_since(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: &[i32],
    since_ms: i64,
) -> Result<Vec<OffsetRange>, Error> {
    let bounds = bounds(consumer, topic, partitions)?;
    let starts = offsets(consumer, topic, partitions, Offset::Offset(since_ms.max(0)))
        .map_err(Error::kafka(format!("looking up a time in {topic}")))?;
    let range = |bounds: PartitionBounds| {
        // A partition without an offset for the time has no newer records.
        let start = starts.get(&bounds.partition).copied().unwrap_or(bounds.high);
        OffsetRange { start: start.clamp(bounds.low, bounds.high.max(bounds.low)), ..bounds.into() }
    };
    Ok(bounds.into_iter().map(range).collect())
}

/// For each partition the beginning, the end, or the first offset since a time, in one request.
fn offsets(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: &[i32],
    end: Offset,
) -> Result<HashMap<i32, i64>, KafkaError> {
    let mut list = TopicPartitionList::new();
    for &partition in partitions {
        list.add_partition_offset(topic, partition, end)?;
    }
    let reply = consumer.offsets_for_times(list, REQUEST_TIMEOUT)?;
    let mut offsets = HashMap::new();
    for element in reply.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert(element.partition(), offset);
        }
    }
    Ok(offsets)
}

/// Waits until a broker is reachable, for at most `startup_timeout`.
pub(crate) fn wait_until_up(settings: &Settings, mut waiting: impl FnMut(&str)) -> Result<(), Error> {
    let consumer = connect(settings)?;
    let started = Instant::now();
    loop {
        let left = settings.startup_timeout.saturating_sub(started.elapsed());
        match consumer.fetch_metadata(None, left.min(Duration::from_secs(2)).max(Duration::from_millis(100)))
        {
            Ok(metadata) if !metadata.brokers().is_empty() => return Ok(()),
            Ok(_) => waiting("no broker yet"),
            Err(error) => match ::kafka::unreachable(settings, started, &error) {
                ::kafka::Error::Unreachable { cause, .. } if started.elapsed() < settings.startup_timeout => {
                    waiting(&cause);
                }
                error => return Err(error.into()),
            },
        }
    }
}

/// Reads ranges of partitions of one topic, or follows them. Skips batches that cannot be decoded, with a note on stderr.
pub(crate) struct TopicReader {
    consumer: BaseConsumer,
    settings: Settings,
    topic: String,
    /// Waits for new records at the end.
    follow: bool,
    last_record_at: Instant,
    /// What is left of each range.
    left: BTreeMap<i32, OffsetRange>,
    undecodable: Vec<OffsetRange>,
    /// Some partition waits at an undecodable batch.
    is_stopped: bool,
    /// When the positions were set because of such a batch.
    moved_at: Option<Instant>,
}

impl TopicReader {
    /// Reads each range. With `follow`, waits for new records at its end.
    pub(crate) fn new(
        settings: &Settings,
        consumer: BaseConsumer,
        topic: &str,
        ranges: &[OffsetRange],
        follow: bool,
    ) -> Result<Self, Error> {
        let wanted = ranges.iter().filter(|range| follow || range.start < range.end);
        let reader = Self {
            consumer,
            settings: settings.clone(),
            topic: topic.to_owned(),
            follow,
            last_record_at: Instant::now(),
            left: wanted.map(|range| (range.partition, *range)).collect(),
            undecodable: Vec::new(),
            is_stopped: false,
            moved_at: None,
        };
        reader.assign()?;
        Ok(reader)
    }

    /// The next record. Returns [`Read::Idle`] after `timeout` without one.
    pub(crate) fn next(&mut self, timeout: Duration) -> Result<Read<'_>, Error> {
        if std::mem::take(&mut self.is_stopped) {
            self.skip_undecodable()?;
        }
        loop {
            if self.left.is_empty() && !self.follow {
                return Ok(Read::End);
            }
            match self.consumer.poll(timeout) {
                None if !self.follow && self.last_record_at.elapsed() > READ_TIMEOUT => {
                    let seconds = READ_TIMEOUT.as_secs();
                    return Err(Error::Failed(format!(
                        "no record from kafka for {seconds} s: check that every broker is running"
                    )));
                }
                None => return Ok(Read::Idle),
                Some(Ok(message)) => {
                    self.last_record_at = Instant::now();
                    if advance(&mut self.left, self.follow, message.partition(), message.offset()) {
                        return Ok(Read::Record(message));
                    }
                }
                // Only control records of transactions are left, or nothing at all.
                Some(Err(KafkaError::PartitionEOF(partition))) if !self.follow => {
                    self.left.remove(&partition);
                }
                Some(Err(error)) => {
                    self.last_record_at = Instant::now();
                    self.is_stopped = self.is_stopped_by(&error);
                    if !self.is_stopped && !is_retried(&error) {
                        return Err(Error::Kafka { action: "reading".into(), source: error });
                    }
                    return Ok(Read::Idle);
                }
            }
        }
    }

    fn is_stopped_by(&self, error: &KafkaError) -> bool {
        // Behind a wrong checksum librdkafka moves its position to an offset that no record has.
        let is_gone = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
        );
        ::kafka::is_undecodable(error)
            || is_gone && self.moved_at.is_none_or(|moved_at| moved_at.elapsed() > REQUEST_TIMEOUT)
    }

    fn assign(&self) -> Result<(), Error> {
        let failed = || Error::kafka(format!("reading {}", self.topic));
        let mut list = TopicPartitionList::new();
        for range in self.left.values() {
            list.add_partition_offset(&self.topic, range.partition, Offset::Offset(range.start))
                .map_err(failed())?;
        }
        self.consumer.assign(&list).map_err(failed())
    }

    /// Reads to the end of all ranges, and returns the number of records of each partition.
    pub(crate) fn count_to_end(&mut self) -> Result<BTreeMap<i32, i64>, Error> {
        let mut counts = BTreeMap::new();
        loop {
            match self.next(Duration::from_millis(100))? {
                Read::Record(message) => *counts.entry(message.partition()).or_default() += 1,
                Read::Idle => (),
                Read::End => return Ok(counts),
            }
        }
    }

    /// The offsets that were skipped, because their batches cannot be decoded.
    pub(crate) fn undecodable(&self) -> &[OffsetRange] {
        &self.undecodable
    }

    /// Moves every partition that waits at an undecodable batch behind it, and all others to where they were: the error does
    /// not tell the partition, and librdkafka may have skipped records.
    fn skip_undecodable(&mut self) -> Result<(), Error> {
        let partitions: Vec<i32> = self.left.keys().copied().collect();
        let ends = bounds(&self.consumer, &self.topic, &partitions)?;
        let mut positions = Vec::new();
        for (left, ends) in self.left.values_mut().zip(ends) {
            // Retention may have removed records meanwhile.
            left.start = left.start.max(ends.low);
            positions.push((left.partition, NextOffset(left.start), ends.high));
        }
        let mut config = config(&self.settings, &format!("{}-command", self.settings.pipeline));
        config.set("isolation.level", "read_uncommitted");
        let shutdown = Shutdown::default();
        let mut probe = Probe::new(&config, &self.topic, &shutdown);
        for Undecodable { partition, first, last, cause } in probe.find(positions) {
            let (first, last) = (first.0, last.0);
            output::note(format!(
                "note: skipped {} partition {partition}, offsets {first} to {last}: {cause}",
                self.topic
            ));
            self.undecodable.push(OffsetRange { partition, start: first, end: last + 1 });
            advance(&mut self.left, self.follow, partition, last);
        }
        self.moved_at = Some(Instant::now());
        self.assign()
    }
}

/// Moves behind a record. Returns whether it lies in what was left of its range.
fn advance(left: &mut BTreeMap<i32, OffsetRange>, follow: bool, partition: i32, offset: i64) -> bool {
    let Some(range) = left.get_mut(&partition) else { return false };
    let end = range.end;
    range.start = offset + 1;
    if !follow && range.start >= end {
        left.remove(&partition);
    }
    follow || offset < end
}

/// Whether librdkafka goes on by itself after this error.
fn is_retried(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::PartitionEOF
                | RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
        )
    )
}

/// Offsets of a partition to read. `end` is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetRange {
    pub(crate) partition: i32,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

impl From<PartitionBounds> for OffsetRange {
    fn from(bounds: PartitionBounds) -> Self {
        Self { partition: bounds.partition, start: bounds.low, end: bounds.high }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_before_its_end_and_a_followed_one_never() {
        let ranges =
            || [0, 1].map(|partition| (partition, OffsetRange { partition, start: 0, end: 3 })).into();
        let mut left = ranges();
        assert!(advance(&mut left, false, 0, 1) && advance(&mut left, false, 0, 2));
        assert!(!left.contains_key(&0), "it has been read to its end");
        assert!(!advance(&mut left, false, 0, 3));
        // A control record took the place of the last offset.
        assert!(!advance(&mut left, false, 1, 7) && left.is_empty());

        let mut left = ranges();
        assert!(advance(&mut left, true, 0, 2) && advance(&mut left, true, 0, 90));
        assert_eq!(left[&0].start, 91);
    }
}
