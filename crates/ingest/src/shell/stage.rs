//! The shell of ingest: a stage of the runtime's transactional loop. Each event of a record is decided; accepted
//! events go to the partition of their device in `clean-events`, in batches, rejected ones to `dead-letters` with
//! their original bytes.
#[cfg(test)]
mod tests;

use event::{BatchBuilder, LedgerCounts, Verdict};
use runtime::{
    Error,
    stage::{Message, Output, Record, Stage},
};

use super::{dead_letter, telemetry::Telemetry, topics::IngestTopics};
use crate::{
    batch_counts::BatchCounts,
    decide::decide,
    encode::{RecordOrigin, encode, partition},
    parse::KeyOrder,
    policy::EventPolicy,
    rejection_log::RejectedEvent,
};

/// Ingest in one worker. Apart from telemetry, no state outlives a transaction.
#[derive(Debug)]
pub(crate) struct Ingest {
    topics: IngestTopics,
    policy: EventPolicy,
    order: KeyOrder,
    /// One open batch for each partition of `clean-events`.
    batches: Vec<BatchBuilder>,
    /// Reused buffer for partition keys.
    key: Vec<u8>,
    counts: BatchCounts,
    telemetry: Telemetry,
}

impl Ingest {
    /// A stage that accepts events by `policy`.
    pub(crate) fn new(topics: IngestTopics, policy: EventPolicy) -> Self {
        let batches = vec![BatchBuilder::default(); topics.clean_partitions.max(1) as usize];
        Self {
            topics,
            policy,
            order: KeyOrder::default(),
            batches,
            key: Vec::new(),
            counts: BatchCounts::default(),
            telemetry: Telemetry::default(),
        }
    }

    fn decide(&mut self, record: &Record<'_>, output: &mut dyn Output) -> Result<(), Error> {
        let Self { topics, policy, order, batches, key, counts, telemetry } = self;
        let mut ledger = LedgerCounts::default();
        decide(record.value, record.timestamp_ms, policy, order, |decision| {
            counts.unknown_fields += decision.event.unknown_fields;
            match &decision.verdict {
                Verdict::Emit(validated) => {
                    counts.emitted(validated.time.source, decision.event.cut_texts());
                    ledger.emitted += 1;
                    let partition = partition(decision.event, validated, topics.clean_partitions, key);
                    let batch = &mut batches[partition as usize];
                    let origin = RecordOrigin {
                        partition: record.partition,
                        offset: record.offset,
                        index: decision.index,
                        received_at: record.timestamp_ms,
                    };
                    encode(decision.event, validated, origin, batch);
                    if batch.is_full() { send(topics, partition, batch, output) } else { Ok(()) }
                }
                Verdict::Reject(rejection) => {
                    ledger.rejected += 1;
                    if counts.rejected(rejection.code) {
                        let (partition, offset) = (record.partition, record.offset);
                        let pointer = rejection.pointer.clone().into_owned();
                        telemetry.log().example(rejection.code, RejectedEvent { partition, offset, pointer });
                    }
                    dead_letter::send(topics, record, &decision, rejection, output)
                }
            }
        })?;
        ledger.events = ledger.emitted + ledger.rejected;
        output.count(record.partition, &ledger);
        counts.record(record.partition, ledger.rejected > 0);
        Ok(())
    }
}

impl Stage for Ingest {
    fn assigned(&mut self, partition: i32) {
        self.telemetry.assigned(partition);
    }

    fn revoked(&mut self, partition: i32) {
        self.telemetry.revoked(partition);
    }

    fn process(&mut self, records: &[Record<'_>], output: &mut dyn Output) -> Result<(), Error> {
        for record in records {
            self.decide(record, output)?;
        }
        for (partition, batch) in self.batches.iter_mut().enumerate() {
            if batch.rows() > 0 {
                send(&self.topics, partition as u32, batch, output)?;
            }
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "the shell reads the clock, once per transaction")]
    fn committed(&mut self) {
        self.telemetry.publish(&self.counts, std::time::Instant::now());
        self.counts.clear();
    }

    fn aborted(&mut self) {
        self.counts.clear();
    }
}

fn send(
    topics: &IngestTopics,
    partition: u32,
    batch: &mut BatchBuilder,
    output: &mut dyn Output,
) -> Result<(), Error> {
    let value = batch.finish();
    output.send(Message {
        topic: &topics.clean,
        partition: partition as i32,
        key: None,
        value: &value,
        headers: &[],
    })
}
