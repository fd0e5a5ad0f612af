//! Reads partitions to their end, or on and on, without being a member of any group. Commits nothing.
//!
//! It waits at a batch that cannot be decoded, and says so: what its users read is what this pipeline has written, and a
//! gap in it would be a wrong state.
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Message as _},
};
use runtime::config::Settings;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use crate::{
    bounds::ends,
    client,
    security::set_options,
    undecodable::{is_position_gone, is_undecodable},
};

/// Pause before a batch that could not be decoded is read again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Which records a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Records of committed transactions, up to the first open one.
    ReadCommitted,
    /// All records, those of open transactions included.
    ReadUncommitted,
}

/// What [`PartitionReader::next`] returns.
pub enum Read<'a> {
    /// A record.
    Record(BorrowedMessage<'a>),
    /// No record within the timeout.
    Idle,
    /// Every partition has been read to its end.
    End,
}

/// Reads partitions of one topic at a time.
pub struct PartitionReader<C: ConsumerContext + 'static = ReaderContext> {
    consumer: BaseConsumer<C>,
    topic: String,
    /// The offset to read next of each assigned partition.
    positions: BTreeMap<i32, Offset>,
    ends: Ends,
    /// A batch could not be decoded, so librdkafka may move its position to an offset that does not exist.
    has_moved: bool,
}

/// Partitions that have not been read to their end yet.
enum Ends {
    /// Reads on and on.
    Never,
    /// Reads each partition until the broker reports its end.
    Reported(BTreeSet<i32>),
    /// Reads each partition up to, not including, an offset.
    Given(HashMap<i32, i64>),
}

/// The end of a partition is a normal event for a reader; rdkafka would log it as an error.
pub struct ReaderContext;

impl ClientContext for ReaderContext {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::warn!(%error, reason, "kafka client error, librdkafka retries");
        }
    }
}

impl ConsumerContext for ReaderContext {}

impl PartitionReader {
    /// A reader. librdkafka requires a group ID of every consumer, so it gets `{pipeline}-{name}`; nothing is committed
    /// under it.
    ///
    /// # Errors
    /// librdkafka does not accept the configuration.
    pub fn new(settings: &Settings, name: &str, isolation: Isolation) -> Result<Self, KafkaError> {
        let isolation = match isolation {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        };
        let mut config = client::client(settings);
        client::decoding(&mut config);
        config
            .set("group.id", format!("{}-{name}", settings.pipeline))
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", isolation)
            // For an offset that was deleted after the caller had looked it up. The default would jump to the end.
            .set("auto.offset.reset", "earliest")
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.wait.max.ms", "50")
            .set("max.partition.fetch.bytes", "4194304")
            // A restore has several readers while the state of its process is at its largest.
            .set("queued.max.messages.kbytes", client::prefetch_kib(settings).to_string());
        set_options(&mut config, &settings.kafka);
        Ok(Self::with_consumer(config.create_with_context(ReaderContext)?))
    }
}

impl<C: ConsumerContext + 'static> PartitionReader<C> {
    /// A reader with a consumer of its own configuration, which must have `enable.partition.eof`.
    pub fn with_consumer(consumer: BaseConsumer<C>) -> Self {
        Self {
            consumer,
            topic: String::new(),
            positions: BTreeMap::new(),
            ends: Ends::Reported(BTreeSet::new()),
            has_moved: false,
        }
    }

    /// The consumer, for requests about offsets. Its assignment belongs to the reader.
    pub fn consumer(&self) -> &BaseConsumer<C> {
        &self.consumer
    }

    /// Reads these partitions of a topic from these offsets, until the broker reports the end of each. Replaces what was
    /// read before.
    ///
    /// # Errors
    /// librdkafka does not accept the assignment.
    pub fn read_to_end(&mut self, topic: &str, from: &[(i32, Offset)]) -> Result<(), KafkaError> {
        self.assign(topic, from.iter().copied())?;
        self.ends = Ends::Reported(from.iter().map(|&(partition, _)| partition).collect());
        Ok(())
    }

    /// Reads these partitions of a topic, each from the first offset up to, not including, the second. Replaces what was
    /// read before.
    ///
    /// # Errors
    /// librdkafka does not accept the assignment.
    pub fn read_up_to(&mut self, topic: &str, spans: &[(i32, i64, i64)]) -> Result<(), KafkaError> {
        let spans = || spans.iter().filter(|(_, start, end)| start < end);
        self.assign(topic, spans().map(|&(partition, start, _)| (partition, Offset::Offset(start))))?;
        self.ends = Ends::Given(spans().map(|&(partition, _, end)| (partition, end)).collect());
        Ok(())
    }

    /// From now on reads the assigned partitions on and on.
    pub fn follow(&mut self) {
        self.ends = Ends::Never;
    }

    /// Reads nothing any more. Requests about offsets would otherwise wait behind a fetch that waits for new records.
    ///
    /// # Errors
    /// The consumer is closed.
    pub fn unassign(&mut self) -> Result<(), KafkaError> {
        self.ends = Ends::Reported(BTreeSet::new());
        self.positions.clear();
        self.consumer.unassign()
    }

    /// The next record.
    ///
    /// # Errors
    /// librdkafka's error. It retries transient errors itself, so the caller may call again.
    pub fn next(&mut self, timeout: Duration) -> Result<Read<'_>, KafkaError> {
        loop {
            if self.ends.are_all_reached() {
                return Ok(Read::End);
            }
            match self.consumer.poll(timeout) {
                None => return Ok(Read::Idle),
                Some(Ok(message)) => {
                    self.positions.insert(message.partition(), Offset::Offset(message.offset() + 1));
                    if self.ends.include(message.partition(), message.offset()) {
                        return Ok(Read::Record(message));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => self.ends.reached(partition),
                Some(Err(error)) if is_undecodable(&error) => {
                    let (topic, positions) = (&self.topic, &self.positions);
                    tracing::error!(
                        topic,
                        ?positions,
                        %error,
                        "a batch cannot be decoded, and its partition waits there: the warning before this line has its offset"
                    );
                    self.has_moved = true;
                    self.read_on()?;
                    return Ok(Read::Idle);
                }
                Some(Err(error)) if self.has_moved && is_position_gone(&error) => self.read_on()?,
                Some(Err(error)) => return Err(error),
            }
        }
    }

    /// Reads again from where the last records were returned: behind a wrong checksum librdkafka skips records.
    fn read_on(&self) -> Result<(), KafkaError> {
        std::thread::sleep(TRY_AGAIN_AFTER);
        self.assign_positions()
    }

    fn assign(&mut self, topic: &str, from: impl Iterator<Item = (i32, Offset)>) -> Result<(), KafkaError> {
        topic.clone_into(&mut self.topic);
        self.positions = from.collect();
        self.has_moved = false;
        self.assign_positions()
    }

    fn assign_positions(&self) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for (&partition, &offset) in &self.positions {
            list.add_partition_offset(&self.topic, partition, offset)?;
        }
        self.consumer.assign(&list)
    }
}

impl Ends {
    fn are_all_reached(&self) -> bool {
        match self {
            Self::Never => false,
            Self::Reported(partitions) => partitions.is_empty(),
            Self::Given(ends) => ends.is_empty(),
        }
    }

    /// Only transaction markers are left, or nothing at all.
    fn reached(&mut self, partition: i32) {
        match self {
            Self::Never => (),
            Self::Reported(partitions) => _ = partitions.remove(&partition),
            Self::Given(ends) => _ = ends.remove(&partition),
        }
    }

    /// Whether a record lies before the end of its partition. Records that arrive after a reported end are included: who
    /// goes on with [`PartitionReader::follow`] must not miss them.
    fn include(&mut self, partition: i32, offset: i64) -> bool {
        let Self::Given(ends) = self else { return true };
        let Some(&end) = ends.get(&partition) else { return false };
        if offset + 1 >= end {
            ends.remove(&partition);
        }
        offset < end
    }
}

/// First offset of each of these partitions as a number. `Offset::Beginning` would cost half a second: librdkafka looks
/// it up before it knows the leader, and waits that long before it tries again. Used only if the lookup here fails.
pub fn first_offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
) -> Vec<(i32, Offset)> {
    const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
    let named: Vec<(&str, i32)> = partitions.iter().map(|&partition| (topic, partition)).collect();
    match ends(consumer, &named, Offset::Beginning, REQUEST_TIMEOUT) {
        Ok(first) => partitions.iter().copied().zip(first.into_iter().map(Offset::Offset)).collect(),
        Err(_) => partitions.iter().map(|&partition| (partition, Offset::Beginning)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_end_excludes_its_own_offset_and_everything_after_it() {
        let mut ends = Ends::Given(HashMap::from([(0, 3), (1, 5)]));
        assert!(ends.include(0, 1) && ends.include(0, 2));
        assert!(!ends.include(0, 3), "the partition has been read to its end");
        assert!(!ends.are_all_reached());
        // A transaction marker took the place of the last offsets.
        assert!(!ends.include(1, 5));
        assert!(ends.are_all_reached());
    }

    #[test]
    fn a_record_after_the_reported_end_is_not_lost() {
        let mut ends = Ends::Reported(BTreeSet::from([0, 1]));
        ends.reached(0);
        assert!(ends.include(0, 7) && !ends.are_all_reached());
        ends.reached(1);
        assert!(ends.are_all_reached());
    }
}
