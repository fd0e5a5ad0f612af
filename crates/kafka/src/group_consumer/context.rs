//! Callbacks of a group consumer. They run on threads of librdkafka and only record what happened, or report lag.
use rdkafka::{
    ClientContext, Statistics, TopicPartitionList,
    bindings::rd_kafka_resp_err_t,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    types::RDKafkaRespErr,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::{backlog::Backlog, outage::outage};

/// A rebalance that the group has announced.
pub(super) enum Announced {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
}

pub(super) struct Context {
    group: String,
    rebalance: Mutex<Option<Announced>>,
    is_closing: AtomicBool,
    /// Result of the last commit, once it is there.
    commit: Mutex<Option<Result<(), KafkaError>>>,
    /// A commit is on its way.
    is_committing: AtomicBool,
    reported: Mutex<Reported>,
    /// What of Kafka did not answer, by the last statistics.
    outage: Mutex<Option<String>>,
}

/// What the last statistics reported.
#[derive(Default)]
struct Reported {
    /// Every partition of the topic.
    known: BTreeSet<(String, i32)>,
    /// The partitions that this consumer reads.
    backlogs: BTreeMap<(String, i32), Backlog>,
}

impl Context {
    pub(super) fn new(group: &str) -> Self {
        Self {
            group: group.to_owned(),
            rebalance: Mutex::default(),
            is_closing: AtomicBool::new(false),
            commit: Mutex::default(),
            is_committing: AtomicBool::new(false),
            reported: Mutex::default(),
            outage: Mutex::default(),
        }
    }

    pub(super) fn outage(&self) -> Option<String> {
        lock(&self.outage).clone()
    }

    pub(super) fn take_rebalance(&self) -> Option<Announced> {
        lock(&self.rebalance).take()
    }

    /// From now on, rebalances end the assignment without asking anyone, and nothing is reported as read.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        for (topic, partition) in std::mem::take(&mut lock(&self.reported).backlogs).into_keys() {
            self.report_backlog(&topic, partition, 0, 0.0);
            self.add_readers(&topic, partition, -1.0);
        }
    }

    /// A commit begins. The result of an earlier one is dropped.
    pub(super) fn begin_commit(&self) {
        self.take_commit_result();
        self.is_committing.store(true, Ordering::Release);
    }

    pub(super) fn commit_failed_to_begin(&self) {
        self.is_committing.store(false, Ordering::Release);
    }

    /// Whether a commit has begun and has no result yet.
    pub(super) fn is_committing(&self) -> bool {
        self.is_committing.load(Ordering::Acquire)
    }

    pub(super) fn set_commit_result(&self, result: Result<(), KafkaError>) {
        *lock(&self.commit) = Some(result);
        self.is_committing.store(false, Ordering::Release);
    }

    pub(super) fn take_commit_result(&self) -> Option<Result<(), KafkaError>> {
        lock(&self.commit).take()
    }

    fn labels(&self, topic: &str, partition: i32) -> [(&'static str, String); 3] {
        [("group", self.group.clone()), ("topic", topic.to_owned()), ("partition", partition.to_string())]
    }

    fn report_backlog(&self, topic: &str, partition: i32, records: i64, open_seconds: f64) {
        let labels = self.labels(topic, partition);
        metrics::gauge!("millrace_consumer_lag_records", &labels).set(records as f64);
        metrics::gauge!("millrace_open_transaction_seconds", &labels).set(open_seconds);
    }

    /// Adds to the number of consumers of this process that read a partition. 0 makes a partition known that this
    /// process does not read.
    fn add_readers(&self, topic: &str, partition: i32, change: f64) {
        let labels = self.labels(topic, partition);
        metrics::gauge!("millrace_partition_readers", &labels).increment(change);
    }
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        if self.is_closing.load(Ordering::Acquire) {
            return;
        }
        *lock(&self.outage) = outage(&statistics);
        let now = Instant::now();
        let mut reported = lock(&self.reported);
        let mut backlogs = BTreeMap::new();
        for (topic, stats) in &statistics.topics {
            for (&partition, stats) in stats.partitions.iter().filter(|(id, _)| **id >= 0) {
                let key = (topic.clone(), partition);
                if reported.known.insert(key.clone()) {
                    self.add_readers(topic, partition, 0.0);
                }
                if !stats.desired {
                    continue;
                }
                // librdkafka's own lag counts from offsets committed by this consumer, but a transaction's offsets
                // are committed by its producer.
                let position = if stats.app_offset >= 0 { stats.app_offset } else { stats.next_offset };
                let earlier = reported.backlogs.get(&key).copied();
                let backlog = Backlog::new(position, stats.ls_offset, stats.hi_offset, now, earlier);
                self.report_backlog(topic, partition, backlog.records(), backlog.open_for(now).as_secs_f64());
                if earlier.is_none() {
                    self.add_readers(topic, partition, 1.0);
                }
                backlogs.insert(key, backlog);
            }
        }
        // The next owner reports these now; a value left here would be added to its value.
        for (topic, partition) in reported.backlogs.keys().filter(|key| !backlogs.contains_key(key)) {
            self.report_backlog(topic, *partition, 0, 0.0);
            self.add_readers(topic, *partition, -1.0);
        }
        reported.backlogs = backlogs;
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(group = self.group, %error, reason, "kafka client error, librdkafka retries");
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, tpl: &mut TopicPartitionList) {
        if self.is_closing.load(Ordering::Acquire) {
            // Nobody polls any more: the work was finished before the consumer was dropped.
            let _ = consumer.unassign();
            return;
        }
        let partitions = tpl.elements().iter().map(|element| element.partition()).collect();
        let announced = match err {
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Announced::Assigned(partitions),
            _ => Announced::Revoked(partitions),
        };
        *lock(&self.rebalance) = Some(announced);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
