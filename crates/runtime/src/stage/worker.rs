//! One worker: rebalances, batches and transactions of its partitions, one after the other on one thread.
mod output;
mod too_large;
mod undecodable;

use event::{LedgerCounts, NextOffset, Offset, RejectCode};
use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use self::output::CountingOutput;
use super::{
    batch::{BatchLimits, Interruption, gather},
    contract::{Output, Record, Stage},
    ledger::Ledger,
    source::{Polled, Source},
    transaction::{Producer, Transaction, TransactionEnd},
};
use crate::{
    Error,
    config::UndecodableBatches,
    failpoint::{self, Step},
    health::{Degraded, Health},
    shutdown::Shutdown,
};

/// How long a worker goes on while each of its transactions is aborted.
const GIVE_UP_AFTER: Duration = Duration::from_secs(120);
/// How many workers run, and how large their batches are.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    /// Name of the stage: label of metrics, and part of the workers' names.
    pub stage: &'static str,
    /// Number of worker threads.
    pub workers: usize,
    /// Limits of one batch. It is one transaction, or several if its output is too large for one.
    pub batch: BatchLimits,
    /// Most bytes that one transaction sends, keys and headers included. The output of a single record may exceed it.
    pub output_bytes: usize,
    /// The code of the dead letter of a single record whose output is too large.
    pub too_large: RejectCode,
    /// How long a worker pauses after an aborted transaction: its cause is often gone a moment later.
    pub pause_after_abort: Duration,
    /// What to do about a batch that cannot be decoded.
    pub undecodable: UndecodableBatches,
}

/// What surrounds one worker.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// Its name in health and log.
    pub(super) name: &'a str,
    pub(super) options: WorkerOptions,
    pub(super) shutdown: &'a Shutdown,
    pub(super) health: &'a Health,
}

pub(super) struct Worker<'a, S, C, P> {
    surroundings: Surroundings<'a>,
    stage: S,
    source: &'a C,
    producer: P,
    /// Offset to read next of each assigned partition: what is committed.
    positions: BTreeMap<i32, NextOffset>,
    ledger: Ledger,
    /// Revoked partitions whose state is kept until the next assignment shows who owns them.
    parked: BTreeMap<i32, NextOffset>,
    is_restoring: bool,
    /// Most records of one transaction: fewer after one that was too large or aborted, and more after each batch.
    most_records: usize,
    /// Partitions that wait at a batch that cannot be decoded, and since when.
    waiting: BTreeMap<i32, Instant>,
    /// Since when every transaction has been aborted.
    aborting_since: Option<Instant>,
}

impl<'a, S, C, P> Worker<'a, S, C, P>
where
    S: Stage,
    C: Source,
    P: Producer<Membership = C::Membership>,
{
    pub(super) fn new(surroundings: Surroundings<'a>, stage: S, source: &'a C, producer: P) -> Self {
        Self {
            surroundings,
            stage,
            source,
            producer,
            positions: BTreeMap::new(),
            ledger: Ledger::default(),
            parked: BTreeMap::new(),
            is_restoring: false,
            most_records: surroundings.options.batch.records,
            waiting: BTreeMap::new(),
            aborting_since: None,
        }
    }

    /// Works until a shutdown is requested. A batch that has been begun is committed first.
    pub(super) fn run(mut self) -> Result<(), Error> {
        let Surroundings { name, options: WorkerOptions { stage, .. }, health, .. } = self.surroundings;
        health.set_degraded(name, Degraded::Restarting, None);
        let ended = self.work();
        if ended.is_err() {
            // The next owner reports it; a value left here would be added to its value.
            for &partition in self.positions.keys() {
                report(stage, partition, &LedgerCounts::default());
            }
        }
        ended
    }

    fn work(&mut self) -> Result<(), Error> {
        let Surroundings { name, shutdown, health, .. } = self.surroundings;
        while !shutdown.requested() {
            health.set_degraded(name, Degraded::KafkaUnreachable, self.source.outage());
            if self.is_restoring {
                self.continue_restore()?;
            } else {
                self.process_batch()?;
            }
        }
        Ok(())
    }

    fn process_batch(&mut self) -> Result<(), Error> {
        self.try_waiting_partitions()?;
        let (batch, interruption) = gather(self.source, self.surroundings.options.batch)?;
        let lost = matches!(interruption, Some(Interruption::Revoked { lost: true, .. }));
        if !batch.is_empty() && !lost {
            let end = self.transact(&batch)?;
            // Partitions that are being revoked are read again by their next owner.
            if end == TransactionEnd::Aborted && interruption.is_none() {
                self.source.seek(&self.committed_positions())?;
            }
        }
        drop(batch);
        match interruption {
            Some(Interruption::Assigned(partitions)) => self.assigned(&partitions),
            Some(Interruption::Revoked { partitions, lost }) => self.revoked(&partitions, lost),
            Some(Interruption::Undecodable) => self.pass_undecodable(),
            None => Ok(()),
        }
    }

    /// Processes the batch, in one transaction if its output allows.
    fn transact(&mut self, batch: &[C::Message<'_>]) -> Result<TransactionEnd, Error> {
        let records: Vec<Record<'_>> = batch.iter().map(|message| C::record(message)).collect();
        let mut rest = &records[..];
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(rest.len().min(self.most_records));
            match self.transact_part(part)? {
                TransactionEnd::Committed => rest = behind,
                TransactionEnd::TooLarge => match part {
                    [record] if self.reject_too_large(record)? == TransactionEnd::Committed => rest = behind,
                    [_] => return Ok(TransactionEnd::Aborted),
                    _ => self.most_records = part.len() / 2,
                },
                TransactionEnd::Aborted => {
                    // Its size may be the cause: never repeated unchanged.
                    self.most_records = (part.len() / 2).max(1);
                    return Ok(TransactionEnd::Aborted);
                }
            }
        }
        let more = self.most_records + self.most_records / 4 + 1;
        self.most_records = more.min(self.surroundings.options.batch.records);
        Ok(TransactionEnd::Committed)
    }

    /// One transaction: process, send, and commit together with the offsets.
    fn transact_part(&mut self, records: &[Record<'_>]) -> Result<TransactionEnd, Error> {
        let membership = self.source.membership()?;
        let transaction = self.producer.begin()?;
        let most_bytes = (records.len() > 1).then_some(self.surroundings.options.output_bytes);
        let mut output = CountingOutput::new(transaction, &mut self.ledger, most_bytes);
        let mut reached: BTreeMap<i32, NextOffset> = BTreeMap::new();
        for record in records {
            reached.insert(record.partition, Offset(record.offset).next());
            output.count(record.partition, &LedgerCounts { records: 1, ..LedgerCounts::default() });
        }
        let started = Instant::now();
        failpoint::before(Step::Process);
        self.stage.process(records, &mut output)?;
        failpoint::after(Step::Process);
        let is_too_large = output.is_too_large();
        let transaction = output.into_transaction();
        let processed = Instant::now();
        let ledger = &self.ledger;
        let offsets: Vec<_> =
            reached.iter().map(|(&partition, &next)| (partition, next, ledger.metadata(partition))).collect();
        let end = if is_too_large {
            transaction.abort()?;
            TransactionEnd::TooLarge
        } else {
            transaction.commit(&offsets, &membership)?
        };
        let stage = self.surroundings.options.stage;
        let labels = [("stage", stage)];
        metrics::counter!("millrace_records_total", &labels).increment(records.len() as u64);
        metrics::histogram!("millrace_process_seconds", &labels).record(processed - started);
        metrics::histogram!("millrace_commit_seconds", &labels).record(processed.elapsed());
        let outcome = match end {
            TransactionEnd::Committed => {
                failpoint::before(Step::ApplyState);
                self.stage.committed();
                failpoint::after(Step::ApplyState);
                self.positions.extend(reached);
                self.ledger.commit(|partition, total| report(stage, partition, total));
                self.aborting_since = None;
                "committed"
            }
            TransactionEnd::TooLarge => {
                self.stage.aborted();
                self.ledger.abort();
                "too_large"
            }
            TransactionEnd::Aborted => {
                self.aborted()?;
                "aborted"
            }
        };
        metrics::counter!("millrace_transactions_total", "stage" => stage, "outcome" => outcome).increment(1);
        Ok(end)
    }

    fn aborted(&mut self) -> Result<(), Error> {
        self.stage.aborted();
        self.ledger.abort();
        if self.aborting_since.get_or_insert_with(Instant::now).elapsed() > GIVE_UP_AFTER {
            let seconds = GIVE_UP_AFTER.as_secs();
            let problem =
                format!("every transaction was aborted for {seconds} s; the log lines above have the cause");
            return Err(Error::Unavailable(problem.into()));
        }
        thread::sleep(self.surroundings.options.pause_after_abort);
        Ok(())
    }

    fn revoked(&mut self, partitions: &[i32], lost: bool) -> Result<(), Error> {
        let Surroundings { name, options: WorkerOptions { stage, .. }, health, .. } = self.surroundings;
        let positions = std::mem::take(&mut self.positions);
        for &partition in partitions {
            self.ledger.revoked(partition);
            // The next owner reports it now; a value left here would be added to its value.
            report(stage, partition, &LedgerCounts::default());
            match positions.get(&partition) {
                // Often the same worker gets it back a moment later, and no other process has changed it.
                Some(&next) if !lost && !self.is_restoring => {
                    self.parked.insert(partition, next);
                }
                _ => self.stage.revoked(partition),
            }
        }
        self.is_restoring = false;
        self.waiting.clear();
        self.report_waiting();
        health.set_ready(name, false);
        self.source.unassign()?;
        tracing::info!(worker = name, ?partitions, lost, "partitions revoked");
        health.report(name, "partitions", Vec::<i32>::new());
        Ok(())
    }

    fn assigned(&mut self, partitions: &[i32]) -> Result<(), Error> {
        let Surroundings { name, options: WorkerOptions { stage, .. }, health, .. } = self.surroundings;
        let found = self.source.start_positions(partitions)?;
        self.positions = found.iter().map(|start| (start.partition, start.next)).collect();
        let mut untouched = BTreeSet::new();
        for (partition, parked) in std::mem::take(&mut self.parked) {
            // No other process has committed, so the state in memory still belongs to the committed offset.
            if self.positions.get(&partition) == Some(&parked) {
                untouched.insert(partition);
            } else {
                self.stage.revoked(partition);
            }
        }
        for start in &found {
            if !untouched.contains(&start.partition) {
                self.stage.assigned(start.partition);
            }
            let opened = self.ledger.assigned(start.partition, start.next, &start.metadata);
            if let Some(error) = opened.unreadable {
                tracing::warn!(partition = start.partition, %error, "the ledger of a partition begins at 0 again");
            }
            report(stage, start.partition, &opened.total);
        }
        self.source.assign(&self.committed_positions())?;
        tracing::info!(worker = name, ?partitions, kept = ?untouched, "partitions assigned");
        health.report(name, "partitions", partitions.to_vec());
        self.is_restoring = true;
        failpoint::before(Step::RestoreState);
        if !self.restore()? {
            health.set_ready(name, false);
            self.source.pause(partitions)?;
        }
        Ok(())
    }

    /// The partitions are paused and their state is being restored. Polling goes on, so that the group keeps the
    /// member and can revoke its partitions.
    fn continue_restore(&mut self) -> Result<(), Error> {
        match self.source.poll(Duration::ZERO)? {
            Polled::Assigned(partitions) => return self.assigned(&partitions),
            Polled::Revoked { partitions, lost } => return self.revoked(&partitions, lost),
            // What was prefetched before the pause is read again afterwards.
            Polled::Record(_) | Polled::Undecodable | Polled::Idle => (),
        }
        if self.restore()? {
            let partitions: Vec<i32> = self.positions.keys().copied().collect();
            self.source.resume(&partitions)?;
            self.source.seek(&self.committed_positions())?;
        }
        Ok(())
    }

    fn restore(&mut self) -> Result<bool, Error> {
        if !self.stage.restore()? {
            return Ok(false);
        }
        failpoint::after(Step::RestoreState);
        self.is_restoring = false;
        self.surroundings.health.set_ready(self.surroundings.name, true);
        Ok(true)
    }

    fn committed_positions(&self) -> Vec<(i32, NextOffset)> {
        self.positions.iter().map(|(&partition, &next)| (partition, next)).collect()
    }
}

fn report(stage: &'static str, partition: i32, total: &LedgerCounts) {
    let partition = partition.to_string();
    for (count, value) in total.entries() {
        let labels =
            [("stage", stage.to_owned()), ("partition", partition.clone()), ("count", count.to_owned())];
        metrics::gauge!("millrace_ledger_count", &labels).set(value as f64);
    }
}
