//! A Kafka consumer whose rebalances are ordinary return values.
//!
//! librdkafka announces a rebalance through a callback and then waits until the application answers with assign
//! or unassign; it need not answer inside the callback. So the callback only takes a note, [`Source::poll`] returns
//! it, and the worker answers with [`Source::start`] or [`Source::release`] when its work is in order. The group
//! waits as long: a revoked partition is not given away before its last transaction or insert is finished.
use rdkafka::{
    ClientContext, Offset as RdOffset, Statistics, TopicPartitionList,
    bindings::rd_kafka_resp_err_t,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, ConsumerGroupMetadata},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
    types::RDKafkaRespErr,
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    Error, NextOffset,
    config::{Settings, Start},
    kafka,
    shutdown::Shutdown,
};

/// How long one question to the broker may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it is asked again: a broker that restarts is away for seconds.
const ASK_PATIENCE: Duration = Duration::from_secs(60);

/// What [`Source::poll`] saw.
#[derive(Debug)]
pub enum Polled<'a> {
    /// Nothing within the time given.
    Idle,
    /// A record.
    Record(BorrowedMessage<'a>),
    /// These partitions are now ours: answer with [`Source::start`].
    Assigned(Vec<i32>),
    /// These partitions are no longer ours: finish what is unfinished, then answer with [`Source::release`].
    Revoked {
        /// All partitions that were ours.
        partitions: Vec<i32>,
        /// The group has already given them away: nothing may be committed any more.
        lost: bool,
    },
}

/// What a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The partition.
    pub partition: i32,
    /// Where to read on; nothing when the group never committed.
    pub next: Option<NextOffset>,
    /// The text stored beside the offset.
    pub metadata: String,
}

/// A consumer of one topic in one group.
pub struct Source {
    consumer: Arc<BaseConsumer<Context>>,
    group: String,
    topic: String,
    member: String,
    start: Start,
    shutdown: Shutdown,
}

#[derive(Default)]
struct Context {
    rebalance: Mutex<Option<(RDKafkaRespErr, Vec<i32>)>>,
    closing: AtomicBool,
    /// What became of the commit begun last, once its answer is here.
    commit: Mutex<Option<Result<(), KafkaError>>>,
    group: String,
    /// Partitions whose lag was reported last.
    reported: Mutex<BTreeSet<(String, i32)>>,
}

impl Context {
    fn report_lag(&self, topic: &str, partition: i32, lag: i64) {
        let labels = [
            ("group", self.group.clone()),
            ("topic", topic.to_owned()),
            ("partition", partition.to_string()),
        ];
        metrics::gauge!("millrace_consumer_lag_records", &labels).set(lag as f64);
    }
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        let mut ours = BTreeSet::new();
        for (topic, stats) in &statistics.topics {
            for (partition, stats) in stats.partitions.iter().filter(|(id, stats)| **id >= 0 && stats.desired)
            {
                // librdkafka's own lag counts from offsets committed by this consumer, but a transaction's are
                // committed by its producer.
                let position = if stats.app_offset >= 0 { stats.app_offset } else { stats.next_offset };
                if position >= 0 && stats.ls_offset >= 0 {
                    self.report_lag(topic, *partition, (stats.ls_offset - position).max(0));
                    ours.insert((topic.clone(), *partition));
                }
            }
        }
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        // Another process reports these now: an old value here would be added to its.
        for (topic, partition) in reported.difference(&ours) {
            self.report_lag(topic, *partition, 0);
        }
        *reported = ours;
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(group = self.group, %error, reason, "kafka client reports trouble, it keeps trying");
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, tpl: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Acquire) {
            // Nobody polls any more: the work was finished before the source was dropped.
            let _ = consumer.unassign();
            return;
        }
        let partitions = tpl.elements().iter().map(|element| element.partition()).collect();
        *self.rebalance.lock().unwrap_or_else(PoisonError::into_inner) = Some((err, partitions));
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.consumer.context().closing.store(true, Ordering::Release);
        // A rebalance that was announced, but not answered because an error came first: closing would wait for the
        // answer for ever.
        let _ = self.consumer.unassign();
    }
}

impl Source {
    /// Joins `group` as the static member `member`, to read `topic`. After a request to stop, questions to the
    /// broker are not asked again.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn new(
        settings: &Settings,
        group: &str,
        topic: &str,
        member: &str,
        shutdown: &Shutdown,
    ) -> Result<Self, Error> {
        let failed = |e| Error::kafka("subscribing", member, e);
        let context = Context { group: group.to_owned(), ..Context::default() };
        let consumer: BaseConsumer<Context> =
            kafka::consumer(settings, group, member).create_with_context(context).map_err(failed)?;
        consumer.subscribe(&[topic]).map_err(failed)?;
        Ok(Self {
            consumer: Arc::new(consumer),
            group: group.to_owned(),
            topic: topic.to_owned(),
            member: member.to_owned(),
            start: settings.kafka.start,
            shutdown: shutdown.clone(),
        })
    }

    /// The next record or rebalance. Must be called at least every few minutes, or the group gives up on us.
    ///
    /// # Errors
    /// The consumer cannot go on: fenced, or its offsets are gone. Trouble that heals is logged and waited out.
    pub fn poll(&self, timeout: Duration) -> Result<Polled<'_>, Error> {
        let polled = self.consumer.poll(timeout);
        match polled {
            Some(Ok(message)) => Ok(Polled::Record(message)),
            Some(Err(error)) => self.judge(error).map(|()| Polled::Idle),
            None => Ok(self.take_rebalance()),
        }
    }

    fn take_rebalance(&self) -> Polled<'static> {
        let mut pending = self.consumer.context().rebalance.lock().unwrap_or_else(PoisonError::into_inner);
        match pending.take() {
            None => Polled::Idle,
            Some((rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS, partitions)) => {
                Polled::Assigned(partitions)
            }
            Some((_, partitions)) => Polled::Revoked { partitions, lost: self.consumer.assignment_lost() },
        }
    }

    fn judge(&self, error: KafkaError) -> Result<(), Error> {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Err(Error::Stage(format!(
                "group {} stands at an offset of {} that is no longer there: records were removed before they were \
                 read; set the group's offsets on purpose (kafka-consumer-groups --reset-offsets) to go on",
                self.group, self.topic
            ))),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => {
                Err(Error::MissingTopic(self.topic.clone()))
            }
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                Err(Error::kafka("reading", &self.member, error))
            }
            Some(Code::FencedInstanceId) => Err(Error::Fenced(self.member.clone())),
            _ => {
                tracing::warn!(group = self.group, topic = self.topic, %error, "reading failed, trying on");
                Ok(())
            }
        }
    }

    /// What the group has committed; waits while an earlier owner's transaction is undecided.
    ///
    /// # Errors
    /// The broker refused or did not answer.
    pub fn committed(&self, partitions: &[i32]) -> Result<Vec<Committed>, Error> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let mut asked = TopicPartitionList::new();
        for &partition in partitions {
            asked.add_partition(&self.topic, partition);
        }
        let answer = self.retrying("reading committed offsets", || {
            self.consumer.committed_offsets(asked.clone(), ASK_TIMEOUT)
        })?;
        let elements = answer.elements();
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

    /// Where to read each partition: its committed offset, or `kafka.start` where there is none.
    ///
    /// # Errors
    /// The broker did not answer, or the committed records are gone.
    pub fn committed_or_start(&self, partitions: &[i32]) -> Result<Vec<(i32, NextOffset)>, Error> {
        self.positions(&self.committed(partitions)?)
    }

    /// As [`committed_or_start`](Self::committed_or_start), of offsets that were already asked for.
    ///
    /// # Errors
    /// The broker did not answer, or the committed records are gone.
    pub fn positions(&self, committed: &[Committed]) -> Result<Vec<(i32, NextOffset)>, Error> {
        let mut positions = Vec::new();
        let partitions: Vec<i32> = committed.iter().map(|committed| committed.partition).collect();
        for (committed, (low, high)) in committed.iter().zip(self.bounds(&partitions)?) {
            let partition = committed.partition;
            let next = match (committed.next, self.start) {
                (Some(next), _) if next.0 < low => {
                    return Err(Error::RecordsGone {
                        group: self.group.clone(),
                        topic: self.topic.clone(),
                        partition,
                        offset: next.0,
                        low,
                    });
                }
                (Some(next), _) => next,
                (None, Start::Earliest) => NextOffset(low),
                (None, Start::Latest) => NextOffset(high),
            };
            positions.push((partition, next));
        }
        Ok(positions)
    }

    /// Offset of the first record of each of these partitions, and the one after its last, in the order asked.
    ///
    /// # Errors
    /// The broker did not answer.
    pub fn bounds(&self, partitions: &[i32]) -> Result<Vec<(i64, i64)>, Error> {
        let asked: Vec<(&str, i32)> = partitions.iter().map(|&partition| (&*self.topic, partition)).collect();
        let ask = || kafka::bounds(&self.consumer, &asked, ASK_TIMEOUT);
        self.retrying("reading the bounds of partitions", ask)
    }

    /// Answers [`Polled::Assigned`], or moves an assignment: read on at these offsets.
    ///
    /// # Errors
    /// The consumer has been fenced or closed.
    pub fn start(&self, positions: &[(i32, NextOffset)]) -> Result<(), Error> {
        let failed = |e| Error::kafka("starting to read", &self.member, e);
        let mut assignment = TopicPartitionList::new();
        for &(partition, next) in positions {
            assignment
                .add_partition_offset(&self.topic, partition, RdOffset::Offset(next.0))
                .map_err(failed)?;
        }
        self.consumer.assign(&assignment).map_err(failed)
    }

    /// Goes back to these offsets; what was fetched beyond them is forgotten. Unlike [`start`](Self::start) it may be
    /// called while a rebalance is on its way.
    ///
    /// # Errors
    /// The consumer has been fenced or closed, or a partition is not being read.
    pub fn seek(&self, positions: &[(i32, NextOffset)]) -> Result<(), Error> {
        let failed = |e| Error::kafka("going back after an abort", &self.member, e);
        let mut list = TopicPartitionList::new();
        for &(partition, next) in positions {
            list.add_partition_offset(&self.topic, partition, RdOffset::Offset(next.0)).map_err(failed)?;
        }
        let answer = self.consumer.seek_partitions(list, ASK_TIMEOUT).map_err(failed)?;
        answer.elements().iter().try_for_each(|element| element.error()).map_err(failed)
    }

    /// Answers [`Polled::Revoked`].
    ///
    /// # Errors
    /// The consumer has been fenced or closed.
    pub fn release(&self) -> Result<(), Error> {
        self.consumer.unassign().map_err(|e| Error::kafka("releasing partitions", &self.member, e))
    }

    /// Begins to commit offsets, each with its text, on a thread of its own: a broker that is gone answers late, and
    /// the worker has more to do than wait. [`commit_answer`](Self::commit_answer) hands out the answer; until it is
    /// here, no other commit may begin.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn begin_commit(&self, offsets: &[(i32, NextOffset, &str)]) -> Result<(), Error> {
        let list = self.offsets(offsets)?;
        self.take_commit();
        let consumer = Arc::clone(&self.consumer);
        let commit = move || {
            // librdkafka tells nobody how an asynchronous commit ended.
            let answer = consumer.commit(&list, CommitMode::Sync);
            *consumer.context().commit.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        };
        let spawned = std::thread::Builder::new().name("commit".into()).spawn(commit);
        spawned.map(|_| ()).map_err(|source| Error::System { action: "cannot start a thread", source })
    }

    /// The answer to [`begin_commit`](Self::begin_commit), once.
    pub fn commit_answer(&self) -> Option<Result<(), Error>> {
        let answer = self.take_commit()?;
        Some(answer.map_err(|e| Error::kafka("committing offsets", &self.member, e)))
    }

    fn take_commit(&self) -> Option<Result<(), KafkaError>> {
        self.consumer.context().commit.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn offsets(&self, offsets: &[(i32, NextOffset, &str)]) -> Result<TopicPartitionList, Error> {
        let failed = |e| Error::kafka("committing offsets", &self.member, e);
        // A fresh list each time: setting an element's metadata twice leaks it.
        let mut list = TopicPartitionList::new();
        for &(partition, next, metadata) in offsets {
            let mut element = list.add_partition(&self.topic, partition);
            element.set_offset(RdOffset::Offset(next.0)).map_err(failed)?;
            if !metadata.is_empty() {
                element.set_metadata(metadata);
            }
        }
        Ok(list)
    }

    /// Stops reading these partitions until [`resume`](Self::resume).
    ///
    /// # Errors
    /// A partition is not ours.
    pub fn pause(&self, partitions: &[i32]) -> Result<(), Error> {
        self.consumer.pause(&self.list(partitions)).map_err(|e| Error::kafka("pausing", &self.member, e))
    }

    /// Reads these partitions again.
    ///
    /// # Errors
    /// A partition is not ours.
    pub fn resume(&self, partitions: &[i32]) -> Result<(), Error> {
        self.consumer.resume(&self.list(partitions)).map_err(|e| Error::kafka("resuming", &self.member, e))
    }

    /// The topic read.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What a transaction needs to commit offsets for this group; fresh for each transaction.
    pub(crate) fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.consumer.group_metadata()
    }

    fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for &partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        list
    }

    fn retrying<T>(
        &self,
        action: &'static str,
        mut ask: impl FnMut() -> Result<T, KafkaError>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(source) if self.shutdown.requested() => return Err(Error::GivenUp { action, source }),
                Err(error) if started.elapsed() < ASK_PATIENCE => {
                    tracing::warn!(group = self.group, topic = self.topic, %error, action, "asking kafka again");
                    std::thread::sleep(Duration::from_millis(500));
                }
                Err(error) => return Err(Error::kafka(action, &self.member, error)),
            }
        }
    }
}
