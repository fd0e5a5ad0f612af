//! What a worker does about a batch that the client library cannot decode: it costs one dead letter, or its partition
//! waits.
//!
//! The dead letter has no bytes, because nobody has seen them. It names the range of offsets, and it commits in one
//! transaction with the offset behind the range.
use event::{LedgerCounts, RejectCode, header};
use std::time::{Duration, Instant};

use super::{CountingOutput, Surroundings, Worker, report};
use crate::{
    Error,
    config::UndecodableBatches,
    health::Degraded,
    stage::{
        contract::{Message, Output, Stage},
        source::{Source, SourceTopics, Undecodable},
        transaction::{Producer, Transaction, TransactionEnd},
    },
};

/// Longest text in the header `message`.
const MAX_MESSAGE_BYTES: usize = 300;
/// How long a partition waits before its batch is tried again, if it may not be skipped.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(30);

impl<S, C, P> Worker<'_, S, C, P>
where
    S: Stage,
    C: Source,
    P: Producer<Membership = C::Membership>,
{
    /// Skips or waits at each batch that cannot be decoded, then reads on at the committed offsets: the client may have
    /// skipped records behind such a batch.
    pub(super) fn pass_undecodable(&mut self) -> Result<(), Error> {
        let mut positions = self.committed_positions();
        positions.retain(|(partition, _)| !self.waiting.contains_key(partition));
        for batch in self.source.find_undecodable(&positions)? {
            match self.surroundings.options.undecodable {
                UndecodableBatches::DeadLetter => self.reject_undecodable(&batch)?,
                UndecodableBatches::Halt => self.wait_at(&batch)?,
            }
        }
        self.source.seek(&self.committed_positions())
    }

    /// Partitions that have waited long enough are read again.
    pub(super) fn try_waiting_partitions(&mut self) -> Result<(), Error> {
        let is_due = |since: &Instant| since.elapsed() >= TRY_AGAIN_AFTER;
        if !self.waiting.values().any(is_due) {
            return Ok(());
        }
        let due: Vec<i32> =
            self.waiting.iter().filter(|(_, since)| is_due(since)).map(|(&partition, _)| partition).collect();
        self.waiting.retain(|_, since| !is_due(since));
        self.report_waiting();
        self.source.resume(&due)
    }

    fn reject_undecodable(&mut self, batch: &Undecodable) -> Result<(), Error> {
        let Undecodable { partition, first, last, cause } = batch;
        let stage = self.surroundings.options.stage;
        let records = (last.0 - first.0 + 1) as u64;
        let membership = self.source.membership()?;
        let transaction = self.producer.begin()?;
        let mut output = CountingOutput::new(transaction, &mut self.ledger, None);
        output
            .count(*partition, &LedgerCounts { records, events: 1, rejected: 1, ..LedgerCounts::default() });
        send(stage, self.source.topics(), batch, &mut output)?;
        let transaction = output.into_transaction();
        let next = last.next();
        let offsets = [(*partition, next, self.ledger.metadata(*partition))];
        match transaction.commit(&offsets, &membership)? {
            TransactionEnd::Committed => {
                self.positions.insert(*partition, next);
                self.ledger.commit(|partition, total| report(stage, partition, total));
                let labels = [("stage", stage), ("code", RejectCode::Undecodable.as_str())];
                metrics::counter!("millrace_dead_letters_total", &labels).increment(1);
                metrics::counter!("millrace_undecodable_records_total", "stage" => stage).increment(records);
                tracing::error!(
                    topic = self.source.topics().input,
                    partition,
                    first = first.0,
                    last = last.0,
                    cause,
                    "records cannot be decoded: one dead letter has their offsets, and reading goes on behind them"
                );
            }
            // The seek to the committed offset brings the same error again.
            TransactionEnd::Aborted | TransactionEnd::TooLarge => self.ledger.abort(),
        }
        Ok(())
    }

    fn wait_at(&mut self, batch: &Undecodable) -> Result<(), Error> {
        let Undecodable { partition, first, last, cause } = batch;
        tracing::error!(
            topic = self.source.topics().input,
            partition,
            first = first.0,
            last = last.0,
            cause,
            "records cannot be decoded: the partition waits, as ingest.undecodable = \"halt\" says"
        );
        self.source.pause(&[*partition])?;
        self.waiting.insert(*partition, Instant::now());
        self.report_waiting();
        Ok(())
    }

    pub(super) fn report_waiting(&self) {
        let waiting: Vec<i32> = self.waiting.keys().copied().collect();
        let cause = (!waiting.is_empty()).then(|| {
            format!("partitions {waiting:?} wait at a batch that cannot be decoded; the log has its offsets")
        });
        let Surroundings { name, health, .. } = self.surroundings;
        health.set_degraded(name, Degraded::UndecodableBatch, cause);
    }
}

fn send(
    stage: &str,
    topics: &SourceTopics,
    batch: &Undecodable,
    output: &mut dyn Output,
) -> Result<(), Error> {
    let Undecodable { partition, first, last, cause } = batch;
    let mut message = format!("the records from offset {} to {} cannot be decoded: {cause}", first.0, last.0);
    message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
    output.send(Message {
        topic: &topics.dead_letters,
        // Every topic has it; there are few of these dead letters.
        partition: 0,
        key: None,
        value: &[],
        headers: &[
            (header::CODE, RejectCode::Undecodable.as_str()),
            (header::MESSAGE, &message),
            (header::POINTER, ""),
            (header::ORIGIN_TOPIC, &topics.input),
            (header::ORIGIN_PARTITION, &partition.to_string()),
            (header::ORIGIN_OFFSET, &first.0.to_string()),
            (header::ORIGIN_LAST_OFFSET, &last.0.to_string()),
            (header::ORIGIN_INDEX, "0"),
            (header::STAGE, stage),
            (header::VERSION, env!("CARGO_PKG_VERSION")),
        ],
    })
}
