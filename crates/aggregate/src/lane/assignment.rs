//! Assignment and revocation of partitions: where each starts, and what is finished before the next owner takes over.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use event::NextOffset;
use runtime::health::Degraded;

use super::partition::Partition;
use super::signal::Signal;
use super::stop::GIVE_UP_AFTER;
use super::unwritten::Unwritten;
use super::worker::{BUSY_POLL, Lane};
use crate::Error;
use crate::protocol::{self, CommittedOffset, Start};

/// How long a rebalance waits for running inserts.
const FINISH_WITHIN: Duration = Duration::from_secs(20);

impl Lane<'_> {
    pub(super) fn assigned(&mut self, partitions: &[i32]) -> Result<(), Error> {
        self.next_assignment();
        let (lane, rules) = (self.options.lane, self.options.rules);
        let mut positions = Vec::new();
        let found = self.source.committed(partitions)?;
        let ids: Vec<i32> = found.iter().map(|committed| committed.partition).collect();
        for (committed, (low, high)) in found.iter().zip(self.source.bounds(&ids)?) {
            let id = committed.partition;
            let offset = CommittedOffset { next: committed.next, metadata: &committed.metadata, low, high };
            let start = match protocol::start(offset) {
                Ok(start) => start,
                Err(halt) => {
                    // Not read at all: the consumer must not ask for offsets that no longer exist.
                    let (topic, reason) = (&self.delivery.topic, halt.to_string());
                    tracing::error!(lane, topic, partition = id, reason, "partition halted");
                    let committed = committed.next.unwrap_or(NextOffset(low));
                    self.partitions.insert(id, Partition::halted(reason, committed));
                    continue;
                }
            };
            let mut sources = vec![protocol::source(rules.epoch, &self.delivery.topic, id)];
            if let Start::Replay(begin, intent) = &start {
                sources.push(protocol::source(intent.epoch, &self.delivery.topic, id));
                metrics::counter!("millrace_aggregate_recoveries_total", "lane" => lane).increment(1);
                let (begin, end) = (begin.0, intent.end.0);
                tracing::info!(
                    lane,
                    partition = id,
                    begin,
                    end,
                    "recovery: an earlier process left an intent"
                );
            }
            self.marker_sources.insert(id, sources);
            let partition = Partition::new(start, rules.reads_markers);
            positions.extend(partition.position().map(|next| (id, next)));
            self.partitions.insert(id, partition);
        }
        tracing::info!(lane, ?partitions, "partitions assigned");
        self.source.assign(&positions)?;
        self.report_halted();
        let sources: BTreeSet<String> = self.marker_sources.values().flatten().cloned().collect();
        if rules.reads_markers && !sources.is_empty() {
            let (delivery, assignment) = (Arc::clone(&self.delivery), self.partitions.assignment());
            self.tokio.spawn(async move { delivery.read_newest_markers(assignment, sources).await });
        }
        self.health.report(&self.component, "partitions", partitions.to_vec());
        self.health.set_ready(&self.component, true);
        self.health.set_degraded(&self.component, Degraded::Restarting, None);
        Ok(())
    }

    /// The newest marker of each source was read.
    pub(super) fn newest_markers(&mut self, newest: &BTreeMap<String, u64>) -> Result<(), Error> {
        for id in self.partitions.ids(|_| true) {
            let sources = self.marker_sources.get(&id).into_iter().flatten();
            let marker = sources.filter_map(|source| newest.get(source).copied()).max();
            self.signal(id, Signal::NewestMarker(marker))?;
        }
        Ok(())
    }

    /// Drops what was not flushed: its offsets are not committed, so the next owner reads it. The next owner also
    /// finishes what was announced and is not in the table yet.
    pub(super) fn revoked(&mut self, partitions: &[i32], lost: bool) -> Result<(), Error> {
        tracing::info!(lane = self.options.lane, ?partitions, lost, "partitions revoked");
        if !lost {
            self.settle(Instant::now() + FINISH_WITHIN)?;
        }
        self.next_assignment();
        self.health.report(&self.component, "partitions", Vec::<i32>::new());
        Ok(self.source.unassign()?)
    }

    /// Waits for running inserts and commits what they finished, for a bounded time: the group waits for this process.
    fn settle(&mut self, deadline: Instant) -> Result<(), Error> {
        for partition in self.partitions.ids(|_| true) {
            self.signal(partition, Signal::Revoked)?;
        }
        loop {
            self.collect_replies()?;
            self.commit(true)?;
            let inserts = self.partitions.iter().any(|(_, partition)| partition.delivers());
            let ends = self.partitions.iter().any(|(_, partition)| partition.uncommitted_end().is_some());
            if !inserts && !ends && !self.partitions.commits() {
                return Ok(());
            }
            if Instant::now() >= deadline || self.is_without_replies(GIVE_UP_AFTER) {
                tracing::warn!(
                    lane = self.options.lane,
                    "unfinished flushes are left to the next owner of their partitions"
                );
                return Ok(());
            }
            // Records that still arrive belong to the next owner.
            self.source.poll(BUSY_POLL)?;
        }
    }

    /// Forgets all partitions. Tasks that work for them end before their next step.
    fn next_assignment(&mut self) {
        let revoked = self.partitions.next_assignment();
        self.delivery.assignment.store(self.partitions.assignment(), Ordering::Release);
        (self.commit_failed, self.commits_fail_since) = (None, None);
        self.flushes.clear();
        self.unwritten = Unwritten::default();
        self.marker_sources.clear();
        for (id, partition) in revoked {
            self.buffers.discard(id);
            if partition.halt_reason().is_some() {
                self.report_halted_metric(id, false);
            }
        }
        self.report_halted();
    }
}
