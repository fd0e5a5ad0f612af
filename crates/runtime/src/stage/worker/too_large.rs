//! A single record whose output Kafka refuses because of its size costs its own dead letter.
use event::{LedgerCounts, header};

use super::{CountingOutput, Worker, report};
use crate::{
    Error,
    stage::{
        contract::{Message, Output, Record, Stage},
        source::Source,
        transaction::{Producer, Transaction, TransactionEnd},
    },
};

/// Most bytes of the value that the dead letter keeps; the original stays in the topic until its retention.
const KEPT_VALUE: usize = 64 * 1024;
/// Most bytes of the key.
const KEPT_KEY: usize = 1024;

impl<S, C, P> Worker<'_, S, C, P>
where
    S: Stage,
    C: Source,
    P: Producer<Membership = C::Membership>,
{
    pub(super) fn reject_too_large(&mut self, record: &Record<'_>) -> Result<TransactionEnd, Error> {
        let (stage, code) = (self.surroundings.options.stage, self.surroundings.options.too_large);
        let (partition, offset) = (record.partition, record.offset);
        let membership = self.source.membership()?;
        let transaction = self.producer.begin()?;
        let mut output = CountingOutput::new(transaction, &mut self.ledger, None);
        let counts = LedgerCounts { records: 1, events: 1, rejected: 1, ..LedgerCounts::default() };
        output.count(partition, &counts);
        let topics = self.source.topics();
        let value = record.value.unwrap_or_default();
        let key_bytes = record.key.map_or(0, <[u8]>::len);
        let texts = [
            partition.to_string(),
            offset.to_string(),
            record.timestamp_ms.to_string(),
            value.len().to_string(),
            key_bytes.to_string(),
        ];
        let [partition_text, offset_text, received_at, value_bytes, key_bytes_text] = &texts;
        let mut headers = vec![
            (header::CODE, code.as_str()),
            (
                header::MESSAGE,
                "Kafka refuses what this record becomes, because it is too large: send less in one record",
            ),
            (header::POINTER, ""),
            (header::ORIGIN_TOPIC, &topics.input),
            (header::ORIGIN_PARTITION, partition_text),
            (header::ORIGIN_OFFSET, offset_text),
            (header::ORIGIN_INDEX, "0"),
            (header::STAGE, stage),
            (header::VERSION, env!("CARGO_PKG_VERSION")),
            (header::RECEIVED_AT, received_at),
        ];
        if value.len() > KEPT_VALUE {
            headers.extend([(header::VALUE_BYTES, value_bytes.as_str()), (header::VALUE_TRUNCATED, "1")]);
        }
        if key_bytes > KEPT_KEY {
            headers.push((header::KEY_BYTES, key_bytes_text));
        }
        output.send(Message {
            topic: &topics.dead_letters,
            partition: 0,
            key: record.key.map(|key| &key[..key.len().min(KEPT_KEY)]),
            value: &value[..value.len().min(KEPT_VALUE)],
            headers: &headers,
        })?;
        let transaction = output.into_transaction();
        let next = event::Offset(offset).next();
        let end = transaction.commit(&[(partition, next, self.ledger.metadata(partition))], &membership)?;
        match end {
            TransactionEnd::Committed => {
                self.positions.insert(partition, next);
                self.ledger.commit(|partition, total| report(stage, partition, total));
                self.aborting_since = None;
                let labels = [("stage", stage), ("code", code.as_str())];
                metrics::counter!("millrace_dead_letters_total", &labels).increment(1);
                tracing::error!(
                    topic = topics.input,
                    partition,
                    offset,
                    bytes = value.len(),
                    "kafka refuses what a record becomes: the record is a dead letter"
                );
            }
            TransactionEnd::Aborted | TransactionEnd::TooLarge => self.ledger.abort(),
        }
        Ok(end)
    }
}
