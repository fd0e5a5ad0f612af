//! From a buffer to a flush, and from one step of a flush to the next.
use super::*;

impl Lane<'_> {
    /// Freezes the buffers of these partitions, each of which has one and no flush under way.
    pub(super) fn flush(&mut self, is_meant: impl Fn(&Partition) -> bool) {
        let meant = self.partitions.iter().filter(|(_, state)| is_meant(state));
        let ready: Vec<i32> = meant.map(|(&partition, _)| partition).collect();
        let newest = ready.into_iter().map(|partition| self.freeze(partition)).max();
        if let Some(newest) = newest {
            self.is_behind = now_ms() - newest > BACKLOG_AGE.as_millis() as i64;
        }
    }

    /// Returns when the newest of its records was received, epoch milliseconds; 0 when that is not known.
    pub(super) fn freeze(&mut self, partition: i32) -> i64 {
        let epoch = self.options.rules.epoch;
        let Some((begin, end, blocks, tally)) = self.take_buffer(partition, epoch, None) else { return 0 };
        let first = blocks.first();
        let ledger_week = first.and_then(|block| block.table_partitions().first().copied()).unwrap_or(0);
        let markers = blocks.iter().map(|block| block.table_partitions().len()).sum();
        let (hash, chunks) = (digest(&blocks), blocks.len());
        let intent = Intent { end, committed_ms: 0, epoch, hash, chunks, markers, ledger_week };
        let weeks = blocks.iter().map(|block| block.table_partitions().clone()).collect();
        let received_max = tally.received_max;
        let (assignment, is_recovered) = (self.assignment, false);
        let flush = Flush::new(begin, intent, weeks);
        self.go_on(Work { partition, assignment, flush, blocks, received_max, is_recovered });
        received_max
    }

    /// Takes the buffer of a partition, which now has a flush under way, and reads on.
    fn take_buffer(
        &mut self,
        partition: i32,
        epoch: u32,
        ledger_week: Option<u32>,
    ) -> Option<(NextOffset, NextOffset, Vec<Block>, FlushCounts)> {
        let state = self.partitions.get_mut(&partition)?;
        let (begin, end) = (state.begin, state.next);
        (state.begin, state.events, state.bytes) = (end, 0, 0);
        state.is_busy = true;
        if std::mem::take(&mut state.is_paused)
            && state.reads()
            && let Err(error) = self.source.resume(&[partition])
        {
            tracing::warn!(lane = self.options.lane, partition, %error, "resuming failed");
        }
        let source = protocol::source(epoch, &self.delivery.topic, partition);
        let mark = Mark { source, end: end.0 as u64, ledger_table_partition: ledger_week };
        let (blocks, tally) = self.fold.flush(partition, mark);
        let lane = self.options.lane;
        metrics::counter!("millrace_aggregate_events_total", "lane" => lane).increment(tally.events);
        metrics::counter!("millrace_aggregate_overflowed_events_total", "lane" => lane)
            .increment(tally.overflowed);
        Some((begin, end, blocks, tally))
    }

    /// The records of an earlier process's flush have been read again, all of them.
    pub(super) fn rebuild(&mut self, partition: i32) {
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        let Some(old) = state.replay.take() else { return };
        let Some((begin, _, blocks, tally)) = self.take_buffer(partition, old.epoch, Some(old.ledger_week))
        else {
            return;
        };
        let weeks = blocks.iter().map(|block| block.table_partitions().clone()).collect();
        let flush = Flush::recovered(begin, &old, digest(&blocks), weeks, now_ms(), &self.options.rules);
        let lane = self.options.lane;
        metrics::counter!("millrace_aggregate_intents_replayed_total", "lane" => lane).increment(1);
        let (begin, end) = (begin.0, old.end.0);
        if flush.is_of_another_shape() {
            let waits_ms = (old.committed_ms - now_ms() + self.options.rules.longest_insert_ms).max(0);
            tracing::warn!(
                lane,
                partition,
                begin,
                end,
                waits_ms,
                "intent replayed, but this program or its cubes builds other rows; waiting until no insert of the \
                 earlier ones can be running, then the markers decide"
            );
        } else {
            tracing::info!(lane, partition, begin, end, "intent replayed");
        }
        let (assignment, received_max, is_recovered) = (self.assignment, tally.received_max, true);
        let work = Work { partition, assignment, flush, blocks, received_max, is_recovered };
        match self.partitions.get_mut(&partition) {
            Some(state) if !state.is_cleared => state.replayed = Some(work),
            _ => self.go_on(work),
        }
    }

    /// The next step of a flush: ours, or a task's.
    pub(super) fn go_on(&mut self, work: Work) {
        let partition = work.partition;
        match work.flush.next(now_ms(), &self.options.rules) {
            Action::Announce => {
                self.to_announce.insert(partition, work);
            }
            Action::Done => {
                if work.received_max > 0 {
                    self.delivery.writer.inserted_up_to(work.received_max);
                }
                if work.is_recovered {
                    let (begin, end) = (work.flush.begin().0, work.flush.end().0);
                    tracing::info!(lane = self.options.lane, partition, begin, end, "recovered");
                }
                if let Some(state) = self.partitions.get_mut(&partition) {
                    state.is_busy = false;
                    state.done = Some(work.flush.end());
                }
            }
            Action::Halt(halt) => self.halt(partition, Halted::ForGood(halt.to_string())),
            Action::WaitUntil(_) | Action::ReadMarkers { .. } | Action::Insert { .. } => {
                let delivery = Arc::clone(&self.delivery);
                self.tokio.spawn(async move { delivery.deliver(work).await });
            }
        }
    }
}

/// A fingerprint of all blocks of a flush.
fn digest(blocks: &[Block]) -> u128 {
    let mut hasher = Xxh3::new();
    for block in blocks {
        hasher.update(&block.digest().to_le_bytes());
    }
    hasher.digest128()
}
