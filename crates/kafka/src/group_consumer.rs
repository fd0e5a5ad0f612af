//! A member of a consumer group, whose rebalances are return values.
//!
//! librdkafka announces a rebalance through a callback and then waits until the application calls assign or unassign; it
//! need not do so inside the callback. So the callback only records the rebalance, [`GroupConsumer::poll`] returns it,
//! and the worker answers with [`GroupConsumer::assign`] or [`GroupConsumer::unassign`] when its work is done. The
//! group waits as long: a revoked partition gets no new owner before its last transaction or insert has ended.
mod backlog;
mod commit;
mod context;
mod member;
mod outage;
mod start;

use event::{NextOffset, Topic};
use rdkafka::{
    ClientConfig, Offset as RdOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata},
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Headers as _, Message as _},
};
use runtime::{
    config::Settings,
    failpoint::{self, Safeguard},
    shutdown::Shutdown,
    stage::{Polled, Record, Source, SourceTopics, StartPosition, Undecodable},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use self::context::{Announced, Context};
pub use self::member::GroupMember;
use crate::{
    bounds::bounds,
    client,
    error::Error,
    undecodable::{Probe, is_position_gone, is_undecodable},
};

/// Timeout of one request to the broker.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request is retried: a broker that restarts is away for seconds.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// What a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The partition.
    pub partition: i32,
    /// The committed offset; none when the group has never committed.
    pub next: Option<NextOffset>,
    /// Metadata of the committed offset.
    pub metadata: String,
}

/// What a transaction needs to commit offsets for a group.
pub struct Membership {
    pub(crate) topic: String,
    pub(crate) group: ConsumerGroupMetadata,
}

/// A consumer of one topic, member of one group.
pub struct GroupConsumer {
    consumer: Arc<BaseConsumer<Context>>,
    group: String,
    topic: String,
    member: String,
    /// Partitions that appeared while no process ran. A group that still has this member assigns them only when it
    /// joins again.
    appeared: Mutex<Vec<i32>>,
    shutdown: Shutdown,
    topics: SourceTopics,
    /// Of a client that reads as this consumer does.
    config: ClientConfig,
    /// With the safeguard `fencing` off: a client outside the group, whose offsets the broker accepts without checking
    /// a membership.
    outsider: Option<BaseConsumer>,
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        self.consumer.context().close();
        // Closing waits for the answer to an announced rebalance, for ever if an error came before the answer.
        let _ = self.consumer.unassign();
    }
}

impl GroupConsumer {
    /// Decides where the group starts, unless it has decided before, and joins it. After `shutdown` was requested, failed requests to
    /// the broker are not retried.
    ///
    /// # Errors
    /// Kafka did not answer until `startup_timeout`, or librdkafka does not accept the configuration.
    pub fn new(settings: &Settings, member: GroupMember<'_>, shutdown: &Shutdown) -> Result<Self, Error> {
        let appeared = start::decide(settings, member, shutdown)?;
        let GroupMember { group, topic, name: member, .. } = member;
        let failed = |e| Error::call("subscribing", member, e);
        let config = client::consumer(settings, group, member);
        let consumer: BaseConsumer<Context> =
            config.create_with_context(Context::new(group)).map_err(failed)?;
        consumer.subscribe(&[topic]).map_err(failed)?;
        let outsider = if failpoint::is_off(Safeguard::Fencing) {
            Some(client::client(settings).set("group.id", group).create().map_err(failed)?)
        } else {
            None
        };
        Ok(Self {
            consumer: Arc::new(consumer),
            group: group.to_owned(),
            topic: topic.to_owned(),
            member: member.to_owned(),
            appeared: Mutex::new(appeared),
            shutdown: shutdown.clone(),
            topics: SourceTopics {
                input: topic.to_owned(),
                dead_letters: settings.kafka.topic(Topic::DeadLetters),
            },
            config,
            outsider,
        })
    }

    /// What of Kafka does not answer, as of the last statistics; none when all is well.
    pub fn outage(&self) -> Option<String> {
        self.consumer.context().outage()
    }

    /// The topic it reads.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The next record or rebalance. Must be called at least every few minutes, or the group removes the member.
    ///
    /// # Errors
    /// The consumer cannot go on: fenced off, or its position no longer exists. Transient errors are logged.
    pub fn poll(&self, timeout: Duration) -> Result<Polled<BorrowedMessage<'_>>, Error> {
        match self.consumer.poll(timeout) {
            Some(Ok(message)) => Ok(Polled::Record(message)),
            Some(Err(error)) => self.classify(error),
            None => Ok(self.take_rebalance()),
        }
    }

    fn take_rebalance<M>(&self) -> Polled<M> {
        match self.consumer.context().take_rebalance() {
            None => Polled::Idle,
            Some(Announced::Assigned(partitions)) => {
                let mut appeared = self.appeared.lock().unwrap_or_else(PoisonError::into_inner);
                appeared.retain(|partition| !partitions.contains(partition));
                Polled::Assigned(partitions)
            }
            Some(Announced::Revoked(partitions)) => {
                Polled::Revoked { partitions, lost: self.consumer.assignment_lost() }
            }
        }
    }

    /// A permanent error is returned, a transient one logged.
    fn classify<M>(&self, error: KafkaError) -> Result<Polled<M>, Error> {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            _ if is_undecodable(&error) => Ok(Polled::Undecodable),
            // Behind a wrong checksum librdkafka moves its position to an offset that no record has.
            _ if is_position_gone(&error) => Ok(Polled::Undecodable),
            // A broker that has just started may not know its topics. Whether it is missing shows when the worker is
            // rebuilt.
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => {
                Err(Error::call("reading", &self.member, error))
            }
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                Err(Error::call("reading", &self.member, error))
            }
            Some(Code::FencedInstanceId) => Err(Error::FencedOff(self.member.clone())),
            _ => {
                tracing::warn!(group = self.group, topic = self.topic, %error, "reading failed, librdkafka retries");
                Ok(Polled::Idle)
            }
        }
    }

    /// The batches at these positions that cannot be decoded, after several attempts. After [`Polled::Undecodable`] ask this,
    /// then [`seek`](Self::seek), because librdkafka may have skipped records. Empty when there is none, or when a broker
    /// does not answer.
    ///
    /// # Errors
    /// The records at a position no longer exist.
    pub fn find_undecodable(&self, positions: &[(i32, NextOffset)]) -> Result<Vec<Undecodable>, Error> {
        let partitions: Vec<i32> = positions.iter().map(|&(partition, _)| partition).collect();
        let mut spans = Vec::new();
        for (&(partition, next), (low, high)) in positions.iter().zip(self.bounds(&partitions)?) {
            spans.push((partition, next, high));
            if next.0 < low {
                return Err(self.records_gone(partition, next, low));
            }
            if next.0 > high {
                return Err(Error::PositionGone { group: self.group.clone(), topic: self.topic.clone() });
            }
        }
        Ok(Probe::new(&self.config, &self.topic, &self.shutdown).find(spans))
    }

    fn records_gone(&self, partition: i32, committed: NextOffset, low: i64) -> Error {
        let (group, topic) = (self.group.clone(), self.topic.clone());
        Error::RecordsGone { group, topic, partition, offset: committed.0, low }
    }

    /// The committed offsets. Waits while a transaction of an earlier owner is open.
    ///
    /// # Errors
    /// The broker returned an error or did not answer.
    pub fn committed(&self, partitions: &[i32]) -> Result<Vec<Committed>, Error> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let request = self.list(partitions);
        let response = self.retry("reading committed offsets", || {
            self.consumer.committed_offsets(request.clone(), REQUEST_TIMEOUT)
        })?;
        let elements = response.elements();
        let read = elements.iter().map(|element| Committed {
            partition: element.partition(),
            next: match element.offset() {
                RdOffset::Offset(offset) => Some(NextOffset(offset)),
                _ => None,
            },
            metadata: element.metadata().to_owned(),
        });
        Ok(read.collect())
    }

    /// Where to read each partition from: its committed offset, or its beginning where there is none, because it has
    /// appeared after the group has started.
    ///
    /// # Errors
    /// The broker did not answer, or the committed records no longer exist.
    pub fn start_positions(&self, partitions: &[i32]) -> Result<Vec<StartPosition>, Error> {
        let committed = self.committed(partitions)?;
        let partitions: Vec<i32> = committed.iter().map(|committed| committed.partition).collect();
        let mut positions = Vec::new();
        for (Committed { partition, next, metadata }, (low, _)) in
            committed.into_iter().zip(self.bounds(&partitions)?)
        {
            let next = match next {
                Some(next) if next.0 < low => {
                    return Err(self.records_gone(partition, next, low));
                }
                Some(next) => next,
                None => NextOffset(low),
            };
            positions.push(StartPosition { partition, next, metadata });
        }
        Ok(positions)
    }

    /// First offset of each of these partitions and the offset after its last record, in the given order.
    ///
    /// # Errors
    /// The broker did not answer.
    pub fn bounds(&self, partitions: &[i32]) -> Result<Vec<(i64, i64)>, Error> {
        let named: Vec<(&str, i32)> = partitions.iter().map(|&partition| (&*self.topic, partition)).collect();
        self.retry("reading the bounds of partitions", || bounds(&self.consumer, &named, REQUEST_TIMEOUT))
    }

    /// Answers [`Polled::Assigned`], or changes the positions of an assignment: reads these partitions from these offsets.
    ///
    /// # Errors
    /// The consumer is fenced off or closed.
    pub fn assign(&self, positions: &[(i32, NextOffset)]) -> Result<(), Error> {
        let failed = |e| Error::call("assigning partitions", &self.member, e);
        let assignment = self.list_at(positions).map_err(failed)?;
        self.consumer.assign(&assignment).map_err(failed)?;
        self.join_again_for_new_partitions()
    }

    /// Kafka returns the old assignment to a static member that restarts, though the topic has more partitions now. The
    /// leader of the group gets a new one when it joins again; of other members this changes nothing.
    fn join_again_for_new_partitions(&self) -> Result<(), Error> {
        let appeared = std::mem::take(&mut *self.appeared.lock().unwrap_or_else(PoisonError::into_inner));
        if appeared.is_empty() {
            return Ok(());
        }
        let (group, topic) = (&self.group, &self.topic);
        tracing::info!(group, topic, partitions = ?appeared, "the topic has new partitions, joining the group again");
        self.consumer.subscribe(&[topic]).map_err(|e| Error::call("subscribing", &self.member, e))
    }

    /// Answers [`Polled::Revoked`], once no commit is on its way.
    ///
    /// # Errors
    /// The consumer is fenced off or closed.
    pub fn unassign(&self) -> Result<(), Error> {
        self.finish_commit();
        self.consumer.unassign().map_err(|e| Error::call("ending the assignment", &self.member, e))
    }

    /// Continues at these offsets and discards prefetched records. Unlike [`assign`](Self::assign) it may be called while
    /// a rebalance is pending.
    ///
    /// # Errors
    /// The consumer is fenced off or closed, or a partition is not assigned.
    pub fn seek(&self, positions: &[(i32, NextOffset)]) -> Result<(), Error> {
        let failed = |e| Error::call("seeking to the committed offsets after an abort", &self.member, e);
        let list = self.list_at(positions).map_err(failed)?;
        let response = self.consumer.seek_partitions(list, REQUEST_TIMEOUT).map_err(failed)?;
        let result = response.elements().iter().try_for_each(|element| element.error());
        match result {
            // librdkafka no longer fetches a partition whose position the broker does not have. It has answered the seek
            // behind whatever it still had to stop, so this assignment replaces none that is being stopped (see `Probe`).
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::State) => {
                self.assign(positions)
            }
            result => result.map_err(failed),
        }
    }

    /// Stops reading these partitions until [`resume`](Self::resume).
    ///
    /// # Errors
    /// A partition is not assigned.
    pub fn pause(&self, partitions: &[i32]) -> Result<(), Error> {
        self.consumer.pause(&self.list(partitions)).map_err(|e| Error::call("pausing", &self.member, e))
    }

    /// Reads these partitions again.
    ///
    /// # Errors
    /// A partition is not assigned.
    pub fn resume(&self, partitions: &[i32]) -> Result<(), Error> {
        self.consumer.resume(&self.list(partitions)).map_err(|e| Error::call("resuming", &self.member, e))
    }

    /// The group membership as of now.
    ///
    /// # Errors
    /// librdkafka has no group metadata for this consumer.
    pub fn membership(&self) -> Result<Membership, Error> {
        let group = match &self.outsider {
            Some(outsider) => outsider.group_metadata(),
            None => self.consumer.group_metadata(),
        };
        let group = group.ok_or_else(|| Error::NoGroupMetadata(self.member.clone()))?;
        Ok(Membership { topic: self.topic.clone(), group })
    }

    fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for &partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        list
    }

    fn list_at(&self, positions: &[(i32, NextOffset)]) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        for &(partition, next) in positions {
            list.add_partition_offset(&self.topic, partition, RdOffset::Offset(next.0))?;
        }
        Ok(list)
    }

    fn retry<T>(
        &self,
        action: &'static str,
        mut request: impl FnMut() -> Result<T, KafkaError>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        loop {
            match request() {
                Ok(response) => return Ok(response),
                Err(source) if self.shutdown.requested() => return Err(Error::GivenUp { action, source }),
                Err(error) if started.elapsed() < GIVE_UP_AFTER => {
                    tracing::warn!(group = self.group, topic = self.topic, %error, action, "request to kafka failed, retrying");
                    std::thread::sleep(Duration::from_millis(500));
                }
                Err(error) => return Err(Error::call(action, &self.member, error)),
            }
        }
    }
}

impl Source for GroupConsumer {
    type Message<'s> = BorrowedMessage<'s>;
    type Membership = Membership;

    #[inline]
    fn record<'m, 's>(message: &'m BorrowedMessage<'s>) -> Record<'m>
    where
        Self: 's,
    {
        Record {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            key: message.key(),
            value: message.payload(),
        }
    }

    fn bytes(message: &BorrowedMessage<'_>) -> usize {
        let headers = message.headers().map_or(0, |headers| {
            headers.iter().map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len)).sum()
        });
        message.key().map_or(0, <[u8]>::len) + message.payload().map_or(0, <[u8]>::len) + headers
    }

    fn poll(&self, timeout: Duration) -> Result<Polled<BorrowedMessage<'_>>, runtime::Error> {
        Ok(self.poll(timeout)?)
    }

    fn start_positions(&self, partitions: &[i32]) -> Result<Vec<StartPosition>, runtime::Error> {
        Ok(self.start_positions(partitions)?)
    }

    fn assign(&self, positions: &[(i32, NextOffset)]) -> Result<(), runtime::Error> {
        Ok(self.assign(positions)?)
    }

    fn unassign(&self) -> Result<(), runtime::Error> {
        Ok(self.unassign()?)
    }

    fn seek(&self, positions: &[(i32, NextOffset)]) -> Result<(), runtime::Error> {
        Ok(self.seek(positions)?)
    }

    fn find_undecodable(&self, positions: &[(i32, NextOffset)]) -> Result<Vec<Undecodable>, runtime::Error> {
        Ok(self.find_undecodable(positions)?)
    }

    fn topics(&self) -> &SourceTopics {
        &self.topics
    }

    fn pause(&self, partitions: &[i32]) -> Result<(), runtime::Error> {
        Ok(self.pause(partitions)?)
    }

    fn resume(&self, partitions: &[i32]) -> Result<(), runtime::Error> {
        Ok(self.resume(partitions)?)
    }

    fn outage(&self) -> Option<String> {
        self.outage()
    }

    fn membership(&self) -> Result<Membership, runtime::Error> {
        Ok(self.membership()?)
    }
}
