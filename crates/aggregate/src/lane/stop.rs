//! A stop: what has been read is written and committed, unless a server is gone. Nothing is lost or doubled then:
//! what was not announced is not inserted, and what was announced is recovered.
use super::*;

impl Lane<'_> {
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let partitions: Vec<i32> = self.partitions.keys().copied().collect();
        if let Err(error) = self.source.pause(&partitions) {
            tracing::debug!(lane = self.options.lane, %error, "pausing failed");
        }
        let started = Instant::now();
        while !self.is_finished() {
            self.collect_answers()?;
            self.flush(Partition::is_ready);
            self.commit(true)?;
            let elapsed = started.elapsed();
            // A server that was away may be back, and only the next attempt tells.
            let is_hopeless = elapsed >= ONE_MORE_ATTEMPT && self.is_without_answers(GIVE_UP_AFTER);
            if elapsed >= STOP_WITHIN || is_hopeless {
                break;
            }
            match self.source.poll(BUSY_POLL)? {
                // Records that still come are read again by whoever is next.
                Polled::Idle | Polled::Record(_) | Polled::Assigned(_) => (),
                Polled::Revoked { partitions, lost } => self.revoked(&partitions, lost)?,
            }
        }
        let is_finished = self.is_finished();
        // Tasks that are left end before their next step.
        self.delivery.assignment.store(self.assignment + 1, Ordering::Release);
        if is_finished {
            return Ok(());
        }
        Err(Error::Stopped(format!(
            "lane {}: stopped before everything was written; the rest is written at the next start",
            self.options.lane
        )))
    }

    /// A halted partition, or one that still reads an earlier process's flush, has nothing to finish.
    fn is_finished(&self) -> bool {
        let is_finished = |state: &Partition| {
            let cannot = matches!(state.halted, Some(Halted::ForGood(_) | Halted::Refused(_)));
            let waits = state.replay.is_some() || !state.is_cleared;
            (cannot || waits || (!state.is_busy && !state.has_records())) && state.done.is_none()
        };
        self.commit.is_none() && self.partitions.values().all(is_finished)
    }

    /// Whether Kafka or ClickHouse has been silent for so long that waiting for it makes no sense.
    pub(super) fn is_without_answers(&self, patience: Duration) -> bool {
        let asked_since = self.commit.as_ref().map(|commit| commit.begun).into_iter();
        let kafka_is_gone =
            asked_since.chain(self.commit_failing_since).any(|since| since.elapsed() >= patience);
        let ends = self.partitions.values().any(|state| state.done.is_some());
        let waits_for_kafka = self.commit.is_some() || !self.to_announce.is_empty() || ends;
        let clickhouse_is_gone = self.delivery.writer.trouble().is_some_and(|trouble| trouble >= patience);
        if waits_for_kafka { kafka_is_gone } else { clickhouse_is_gone }
    }
}
