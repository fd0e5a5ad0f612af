//! The state of a lane's worker and how it turns what arrives into signals.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use kafka::GroupConsumer;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use runtime::health::Health;
use tokio::runtime::Handle;

use super::delivery::{Delivery, Reply};
use super::options::LaneOptions;
use super::partition::Partition;
use super::partitions::Partitions;
use super::signal::{Command, Signal};
use super::unwritten::Unwritten;
use crate::Error;
use crate::block::Block;
use crate::fold::{Added, Buffers, Input};
use crate::time::now_ms;

/// How long `poll` may block while nothing is awaited.
const IDLE_POLL: Duration = Duration::from_millis(100);
/// How long `poll` may block while replies are awaited.
pub(super) const BUSY_POLL: Duration = Duration::from_millis(10);
/// Records older than this are a backlog: they are written in larger and fewer inserts, which makes catching up fast.
const BACKLOG_AGE: Duration = Duration::from_secs(5);
const BACKLOG_INTERVALS: u32 = 4;
/// Least time between two log lines about foreign messages.
const FOREIGN_LOG_INTERVAL: Duration = Duration::from_secs(10);

pub(super) struct Lane<'a> {
    pub(super) options: LaneOptions,
    pub(super) source: &'a GroupConsumer,
    /// The contents of the partitions' buffers.
    pub(super) buffers: Buffers,
    pub(super) delivery: Arc<Delivery>,
    pub(super) tokio: Handle,
    pub(super) replies: Receiver<Reply>,
    pub(super) health: &'a Health,
    /// Name of this worker in `/status`.
    pub(super) component: String,
    pub(super) partitions: Partitions,
    /// The blocks of the partitions' flushes in progress.
    pub(super) flushes: BTreeMap<i32, BuiltFlush>,
    /// Which `src` the markers of each partition may carry: of this epoch, and of its intent's epoch.
    pub(super) marker_sources: BTreeMap<i32, Vec<String>>,
    pub(super) unwritten: Unwritten,
    pub(super) commit_sent: Option<Instant>,
    pub(super) commit_failed: Option<Instant>,
    pub(super) commits_fail_since: Option<Instant>,
    /// When the newest record of the flushes just built was received, epoch milliseconds.
    pub(super) flushed_received_max: Option<i64>,
    /// The newest record of the last flush belonged to a backlog.
    pub(super) is_behind: bool,
    /// When a foreign message was logged last, and how many were skipped since.
    pub(super) foreign_logged: Option<Instant>,
    pub(super) foreign_skipped: u64,
}

/// The blocks of a flush in progress.
pub(super) struct BuiltFlush {
    pub(super) blocks: Arc<[Block]>,
    /// How many of them go into the lane's table.
    pub(super) own_blocks: usize,
    /// Newest `received_at` among its records, epoch milliseconds.
    pub(super) received_max: i64,
    /// An earlier process announced it.
    pub(super) is_recovered: bool,
}

impl Drop for Lane<'_> {
    /// Tasks that are left end before their next step: the next owner of the partitions continues their flushes.
    fn drop(&mut self) {
        self.delivery.assignment.store(u64::MAX, Ordering::Release);
    }
}

impl Lane<'_> {
    pub(super) fn interval(&self) -> Duration {
        let inserts =
            self.partitions.iter().count() as f64 / f64::from(self.options.max_inserts_per_second.max(1));
        let interval = self.options.flush_interval.max(Duration::from_secs_f64(inserts));
        if self.is_behind { interval * BACKLOG_INTERVALS } else { interval }
    }

    pub(super) fn longest_poll(&self) -> Duration {
        let awaits =
            self.partitions.commits() || self.partitions.iter().any(|(_, partition)| partition.flushes());
        if awaits { BUSY_POLL } else { IDLE_POLL }
    }

    pub(super) fn record(&mut self, message: &BorrowedMessage<'_>) -> Result<(), Error> {
        let (partition, offset) = (message.partition(), message.offset());
        let commands =
            self.partitions.on(partition, Signal::Record { offset }, now_ms(), &self.options.rules);
        if !commands.iter().any(|(_, command)| *command == Command::Fold) {
            return self.execute(commands);
        }
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key, header.value.unwrap_or_default())).collect()
        });
        let input = Input {
            partition,
            offset,
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            key: message.key(),
            value: message.payload(),
            headers,
        };
        let signal = match self.buffers.add(&input) {
            Ok(Added { events, bytes, foreign }) => {
                if let Some(problem) = foreign {
                    self.report_foreign(partition, offset, &problem);
                }
                Signal::Folded { offset, events, bytes }
            }
            Err(problem) => Signal::Unreadable { offset, problem },
        };
        self.signal(partition, signal)
    }

    /// Counts a message that is skipped, and logs it: not more often than every ten seconds, because another program may
    /// write such messages without end.
    fn report_foreign(&mut self, partition: i32, offset: i64, reason: &str) {
        let (lane, topic) = (self.options.lane, &self.delivery.topic);
        let labels = [("lane", lane.to_owned()), ("topic", topic.clone())];
        metrics::counter!("millrace_aggregate_foreign_messages_total", &labels).increment(1);
        self.foreign_skipped += 1;
        if self.foreign_logged.is_none_or(|at| at.elapsed() >= FOREIGN_LOG_INTERVAL) {
            let count = std::mem::take(&mut self.foreign_skipped);
            self.foreign_logged = Some(Instant::now());
            tracing::warn!(
                lane,
                topic,
                partition,
                offset,
                reason,
                count,
                "skipped a message that no stage wrote"
            );
        }
    }

    /// Starts a flush of each partition that is meant, all at once.
    pub(super) fn flush(&mut self, is_meant: impl Fn(&Partition) -> bool) -> Result<(), Error> {
        for partition in self.partitions.ids(is_meant) {
            self.signal(partition, Signal::FlushDue)?;
        }
        if let Some(newest) = self.flushed_received_max.take() {
            self.is_behind = now_ms() - newest > BACKLOG_AGE.as_millis() as i64;
        }
        Ok(())
    }

    pub(super) fn signal(&mut self, partition: i32, signal: Signal) -> Result<(), Error> {
        let commands = self.partitions.on(partition, signal, now_ms(), &self.options.rules);
        self.execute(commands)
    }

    pub(super) fn collect_replies(&mut self) -> Result<(), Error> {
        while let Ok(reply) = self.replies.try_recv() {
            if reply.assignment() != self.partitions.assignment() {
                continue;
            }
            match reply {
                Reply::Delivered { partition, delivered, .. } => {
                    self.signal(partition, Signal::Delivered(delivered))?;
                }
                Reply::NewestMarkers { newest, .. } => self.newest_markers(&newest)?,
                Reply::NewestMarkersFailed { cause, .. } => {
                    for partition in self.partitions.ids(|_| true) {
                        self.signal(partition, Signal::NewestMarkerFailed(cause.clone()))?;
                    }
                }
            }
        }
        self.collect_commit_reply()
    }
}
