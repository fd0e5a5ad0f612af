//! Callbacks of a group consumer. They run on threads of librdkafka and only record what happened, or report lag.
use rdkafka::{
    ClientContext, Statistics, TopicPartitionList,
    bindings::rd_kafka_resp_err_t,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    types::RDKafkaRespErr,
};
use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

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
    /// Partitions whose lag was reported last.
    reported: Mutex<BTreeSet<(String, i32)>>,
}

impl Context {
    pub(super) fn new(group: &str) -> Self {
        Self {
            group: group.to_owned(),
            rebalance: Mutex::default(),
            is_closing: AtomicBool::new(false),
            commit: Mutex::default(),
            reported: Mutex::default(),
        }
    }

    pub(super) fn take_rebalance(&self) -> Option<Announced> {
        lock(&self.rebalance).take()
    }

    /// From now on, rebalances end the assignment without asking anyone.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
    }

    pub(super) fn set_commit_result(&self, result: Result<(), KafkaError>) {
        *lock(&self.commit) = Some(result);
    }

    pub(super) fn take_commit_result(&self) -> Option<Result<(), KafkaError>> {
        lock(&self.commit).take()
    }

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
        let mut assigned = BTreeSet::new();
        for (topic, stats) in &statistics.topics {
            for (partition, stats) in stats.partitions.iter().filter(|(id, stats)| **id >= 0 && stats.desired)
            {
                // librdkafka's own lag counts from offsets committed by this consumer, but a transaction's offsets
                // are committed by its producer.
                let position = if stats.app_offset >= 0 { stats.app_offset } else { stats.next_offset };
                if position >= 0 && stats.ls_offset >= 0 {
                    self.report_lag(topic, *partition, (stats.ls_offset - position).max(0));
                    assigned.insert((topic.clone(), *partition));
                }
            }
        }
        let mut reported = lock(&self.reported);
        // The next owner reports these now; a value left here would be added to its value.
        for (topic, partition) in reported.difference(&assigned) {
            self.report_lag(topic, *partition, 0);
        }
        *reported = assigned;
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
