//! Partitions that come and go: where to begin, what an earlier process left unfinished, what to finish before
//! others take over.
use super::*;

impl Lane<'_> {
    pub(super) fn assigned(&mut self, partitions: &[i32]) -> Result<(), Error> {
        self.next_assignment();
        let lane = self.options.lane;
        let mut positions = Vec::new();
        let mut sources = BTreeSet::new();
        let mut halted = Vec::new();
        let found = self.source.committed(partitions)?;
        let asked: Vec<i32> = found.iter().map(|committed| committed.partition).collect();
        for (committed, (low, high)) in found.iter().zip(self.source.bounds(&asked)?) {
            let partition = committed.partition;
            let found = Found { committed: committed.next, metadata: &committed.metadata, low, high };
            let begin = match protocol::begin(found, self.options.start) {
                Ok(begin) => begin,
                Err(halt) => {
                    // Not read at all: the consumer must not meet the offsets that are gone.
                    halted.push((partition, Halted::ForGood(halt.to_string())));
                    Begin::Read(committed.next.unwrap_or(NextOffset(low)))
                }
            };
            sources.insert(protocol::source(self.options.rules.epoch, &self.delivery.topic, partition));
            if let Begin::Replay(begin, intent) = &begin {
                sources.insert(protocol::source(intent.epoch, &self.delivery.topic, partition));
                metrics::counter!("millrace_aggregate_recoveries_total", "lane" => lane).increment(1);
                let (begin, end) = (begin.0, intent.end.0);
                tracing::info!(lane, partition, begin, end, "recovery: an earlier process left an intent");
            }
            let state = Partition::new(begin, !self.options.rules.reads_markers);
            if !halted.iter().any(|(halted, _)| *halted == partition) {
                positions.push((partition, state.next));
            }
            self.partitions.insert(partition, state);
        }
        tracing::info!(lane, ?partitions, "partitions assigned");
        self.source.assign(&positions)?;
        for (partition, reason) in halted {
            self.halt(partition, reason);
        }
        if self.options.rules.reads_markers && !sources.is_empty() {
            let (delivery, assignment) = (Arc::clone(&self.delivery), self.assignment);
            self.tokio.spawn(async move { delivery.ask_newest(assignment, sources).await });
        }
        self.health.report(&self.component, "partitions", partitions.to_vec());
        self.health.set_ready(&self.component, true);
        Ok(())
    }

    /// The markers have been read: whoever would read again what is in the table halts, the others may flush.
    pub(super) fn compare_with_markers(&mut self, newest: &BTreeMap<String, u64>) {
        let mut above = Vec::new();
        let mut rebuilt = Vec::new();
        for (&partition, state) in &mut self.partitions {
            state.is_cleared = true;
            let of = |epoch| newest.get(&protocol::source(epoch, &self.delivery.topic, partition)).copied();
            let other = match &state.begun {
                Begin::Replay(_, intent) => of(intent.epoch),
                Begin::Read(_) => None,
            };
            let newest = of(self.options.rules.epoch).max(other);
            // Without intents every kill would leave markers above the offset; the drill wants them replayed.
            let checked = if self.options.rules.commits_intents {
                protocol::check_newest(&state.begun, newest)
            } else {
                Ok(())
            };
            match checked {
                Ok(()) => rebuilt.extend(state.replayed.take()),
                Err(halt) => above.push((partition, halt)),
            }
        }
        for (partition, halt) in above {
            self.halt(partition, Halted::ForGood(halt.to_string()));
        }
        for work in rebuilt {
            self.go_on(work);
        }
    }

    /// What was not flushed is dropped: its offsets are not committed, so the next owner reads it. What was announced
    /// and is not in the table yet is the next owner's too.
    pub(super) fn revoked(&mut self, partitions: &[i32], lost: bool) -> Result<(), Error> {
        tracing::info!(lane = self.options.lane, ?partitions, lost, "partitions revoked");
        if !lost {
            self.settle(Instant::now() + FINISH_WITHIN)?;
        }
        self.next_assignment();
        self.health.report(&self.component, "partitions", Vec::<i32>::new());
        Ok(self.source.unassign()?)
    }

    /// Waits for inserts under way and commits what they have finished, for a bounded time: the group waits with us.
    fn settle(&mut self, deadline: Instant) -> Result<(), Error> {
        loop {
            self.collect_answers()?;
            // A flush that has not begun to insert is left to its next owner.
            for (partition, _) in std::mem::take(&mut self.to_announce) {
                if let Some(state) = self.partitions.get_mut(&partition) {
                    state.is_busy = false;
                }
            }
            self.commit(true)?;
            let inserts = self.partitions.values().any(|state| state.is_busy && state.halted.is_none());
            let ends = self.partitions.values().any(|state| state.done.is_some());
            if !inserts && !ends && self.commit.is_none() {
                return Ok(());
            }
            if Instant::now() >= deadline || self.is_without_answers(GIVE_UP_AFTER) {
                tracing::warn!(
                    lane = self.options.lane,
                    "flushes still under way are left to the next owner of their partitions"
                );
                return Ok(());
            }
            // Records that still come belong to the next owner.
            self.source.poll(BUSY_POLL)?;
        }
    }

    /// Forgets all partitions; tasks that still work for them end before their next step.
    fn next_assignment(&mut self) {
        self.assignment += 1;
        self.delivery.assignment.store(self.assignment, Ordering::Release);
        self.to_announce.clear();
        (self.commit_failed, self.commit_failing_since) = (None, None);
        for (partition, state) in std::mem::take(&mut self.partitions) {
            self.fold.discard(partition);
            if state.halted.is_some() {
                self.report_halted(partition, false);
            }
        }
        self.report_all_halted();
    }
}
