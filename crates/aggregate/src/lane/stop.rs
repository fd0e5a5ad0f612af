//! A stop: everything read is written and committed, unless a server does not reply. Giving up loses and doubles
//! nothing: what was not announced is not inserted, and what was announced is recovered.
use std::time::{Duration, Instant};

use kafka::Polled;

use super::delivery::LONGEST_BACKOFF;
use super::partition::Partition;
use super::worker::{BUSY_POLL, Lane};
use crate::Error;

/// How long a stop waits for running inserts, the last flush and its commit together.
const STOP_WITHIN: Duration = Duration::from_secs(12);
/// How long a stop or rebalance waits for a server that does not reply.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_secs(3);
/// A stop gives up on a server only after this: until then each insert that backs off has been retried once.
const ONE_MORE_RETRY: Duration = LONGEST_BACKOFF.saturating_add(Duration::from_secs(1));

impl Lane<'_> {
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let partitions = self.partitions.ids(|_| true);
        if let Err(error) = self.source.pause(&partitions) {
            tracing::debug!(lane = self.options.lane, %error, "pausing partitions failed");
        }
        let started = Instant::now();
        while !self.is_finished() {
            self.collect_replies()?;
            self.flush(Partition::can_flush)?;
            self.commit(true)?;
            let elapsed = started.elapsed();
            let gives_up = elapsed >= ONE_MORE_RETRY && self.is_without_replies(GIVE_UP_AFTER);
            if elapsed >= STOP_WITHIN || gives_up {
                break;
            }
            match self.source.poll(BUSY_POLL)? {
                // Records that still arrive are read again by the next owner.
                Polled::Idle | Polled::Record(_) | Polled::Undecodable | Polled::Assigned(_) => (),
                Polled::Revoked { partitions, lost } => self.revoked(&partitions, lost)?,
            }
        }
        if !self.is_finished() {
            tracing::warn!(
                lane = self.options.lane,
                "stopped before everything was written; the rest is written at the next start"
            );
        }
        Ok(())
    }

    fn is_finished(&self) -> bool {
        !self.partitions.commits() && self.partitions.iter().all(|(_, partition)| partition.is_finished())
    }

    /// Whether the server that is waited for, Kafka or ClickHouse, has not replied for this long.
    pub(super) fn is_without_replies(&self, timeout: Duration) -> bool {
        let waits_for_kafka = self.partitions.commits()
            || self
                .partitions
                .iter()
                .any(|(_, partition)| partition.announces() || partition.uncommitted_end().is_some());
        if waits_for_kafka {
            [self.commit_sent, self.commits_fail_since]
                .into_iter()
                .flatten()
                .any(|since| since.elapsed() >= timeout)
        } else {
            self.delivery.writers.own.failing_for().is_some_and(|(failing, _)| failing >= timeout)
        }
    }
}
