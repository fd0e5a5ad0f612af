//! A Kafka transaction as a value: it borrows its producer, `commit` consumes it, and dropping it aborts.
//! Nothing else in Millrace commits what a stage produced.
use rdkafka::{
    Offset as RdOffset, TopicPartitionList,
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
    util::Timeout,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    Error, NextOffset,
    config::Settings,
    drill::{self, Step},
    kafka,
    ledger::Counts,
    shutdown::Shutdown,
    stage::{Message, Output},
};

/// How long a retriable step of a transaction is repeated before the process gives up on its coordinator.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same, counted from the request to stop: nothing is lost, the next start reads the records again.
const STOP_PATIENCE: Duration = Duration::from_secs(8);
/// One call waits no longer than this, so that a stop is seen soon. librdkafka goes on in the background, and the
/// next call continues where this one left off.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// An abort first waits for the delivery reports of the messages it threw away, which are served between its calls.
const ABORT_CALL_TIMEOUT: Duration = Duration::from_millis(100);

/// A producer under one transactional ID.
pub(crate) struct TransactionalProducer {
    producer: BaseProducer,
    id: String,
    shutdown: Shutdown,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its messages and offsets are visible.
    Committed,
    /// None of them ever will be.
    Aborted,
}

impl TransactionalProducer {
    /// Registers the ID. Whoever used it before is shut out, and its open transaction is aborted.
    pub(crate) fn new(settings: &Settings, id: &str, shutdown: &Shutdown) -> Result<Self, Error> {
        let failed = |e| Error::kafka("starting transactions", id, e);
        let producer: BaseProducer = kafka::transactional_producer(settings, id).create().map_err(failed)?;
        let started = Instant::now();
        loop {
            match producer.init_transactions(Duration::from_secs(5)) {
                Ok(()) => {
                    let shutdown = shutdown.clone();
                    return Ok(Self { producer, id: id.to_owned(), shutdown });
                }
                Err(error)
                    if retriable(&error)
                        && started.elapsed() < settings.startup_timeout
                        && !shutdown.requested() =>
                {
                    tracing::warn!(id, %error, "waiting for the transaction coordinator");
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Begins a transaction.
    pub(crate) fn begin(&mut self) -> Result<Transaction<'_>, Error> {
        drill::before(Step::BeginTransaction);
        self.producer
            .begin_transaction()
            .map_err(|e| Error::kafka("beginning a transaction", &self.id, e))?;
        drill::after(Step::BeginTransaction);
        Ok(Transaction { owner: self, open: true, broken: None, counts: BTreeMap::new() })
    }

    fn repeat(&self, step: impl Fn(&BaseProducer) -> Result<(), KafkaError>) -> Result<(), KafkaError> {
        let started = Instant::now();
        loop {
            let result = step(&self.producer);
            let stopped = self.shutdown.requested_for().is_some_and(|since| since >= STOP_PATIENCE);
            match result {
                Err(error) if retriable(&error) && started.elapsed() < PATIENCE && !stopped => {
                    // Not a mere sleep: an abort ends only when somebody takes the delivery reports.
                    self.producer.poll(Duration::from_millis(50));
                }
                done => return done,
            }
        }
    }

    fn failed(&self, action: &'static str, error: KafkaError) -> Error {
        if retriable(&error) && self.shutdown.requested() {
            return Error::GivenUp { action, source: error };
        }
        Error::kafka(action, &self.id, error)
    }
}

/// An open transaction.
pub(crate) struct Transaction<'a> {
    owner: &'a TransactionalProducer,
    open: bool,
    /// A message could not be handed over: what was sent so far must never become visible.
    broken: Option<KafkaError>,
    counts: BTreeMap<i32, Counts>,
}

impl Transaction<'_> {
    /// What the stage has counted so far, by input partition.
    pub(crate) fn take_counts(&mut self) -> BTreeMap<i32, Counts> {
        std::mem::take(&mut self.counts)
    }

    /// Commits the messages together with the offsets they stand for, each offset with its metadata.
    ///
    /// # Errors
    /// The outcome is not known or the producer was shut out: the process must start again, and the broker then
    /// says what really happened.
    pub(crate) fn commit(
        mut self,
        topic: &str,
        positions: &[(i32, NextOffset, String)],
        group: &ConsumerGroupMetadata,
    ) -> Result<Ended, Error> {
        let owner = self.owner;
        if let Some(error) = self.broken.take() {
            tracing::warn!(id = owner.id, %error, "transaction aborted, its records will be read again");
            return self.abort();
        }
        let failed = |e| Error::kafka("adding offsets to a transaction", &owner.id, e);
        // A fresh list each time: setting an element's metadata twice leaks it.
        let mut offsets = TopicPartitionList::new();
        for (partition, next, metadata) in positions {
            let mut element = offsets.add_partition(topic, *partition);
            element.set_offset(RdOffset::Offset(next.0)).map_err(failed)?;
            element.set_metadata(metadata);
        }
        let timeout = Timeout::After(CALL_TIMEOUT);
        drill::before(Step::SendOffsets);
        let sent = owner.repeat(|producer| producer.send_offsets_to_transaction(&offsets, group, timeout));
        let ended = sent.and_then(|()| {
            drill::after(Step::SendOffsets);
            drill::before(Step::CommitTransaction);
            owner.repeat(|producer| producer.commit_transaction(timeout))?;
            drill::after(Step::CommitTransaction);
            Ok(())
        });
        match ended {
            Ok(()) => {
                self.open = false;
                Ok(Ended::Committed)
            }
            Err(error) if requires_abort(&error) => {
                tracing::warn!(id = owner.id, %error, "transaction aborted, its records will be read again");
                self.abort()
            }
            Err(error) => {
                // Whether it was committed is for the broker to say, so it must not be aborted here.
                self.open = false;
                Err(owner.failed("committing a transaction", error))
            }
        }
    }

    /// Gives up what was produced.
    pub(crate) fn abort(mut self) -> Result<Ended, Error> {
        self.open = false;
        let owner = self.owner;
        owner
            .repeat(|producer| producer.abort_transaction(Timeout::After(ABORT_CALL_TIMEOUT)))
            .map(|()| Ended::Aborted)
            .map_err(|e| owner.failed("aborting a transaction", e))
    }

    fn produce(&mut self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Error> {
        if self.broken.is_some() {
            return Ok(());
        }
        loop {
            match self.owner.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.owner.producer.poll(Duration::from_millis(10));
                }
                // An earlier message of this transaction failed for good, and the producer takes no more before the
                // abort.
                Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::State) => {
                    if self.owner.producer.client().fatal_error().is_some() {
                        return Err(Error::kafka("producing", &self.owner.id, error));
                    }
                    self.broken = Some(error);
                    return Ok(());
                }
                Err((error, _)) => return Err(Error::kafka("producing", &self.owner.id, error)),
            }
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            let _ = self.owner.producer.abort_transaction(Timeout::After(CALL_TIMEOUT));
        }
    }
}

impl Output for Transaction<'_> {
    fn send(&mut self, message: Message<'_>) -> Result<(), Error> {
        let mut record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(message.topic).partition(message.partition).payload(message.value);
        if let Some(key) = message.key {
            record = record.key(key);
        }
        if !message.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(message.headers.len());
            for &(key, value) in message.headers {
                headers = headers.insert(Header { key, value: Some(value) });
            }
            record = record.headers(headers);
        }
        self.produce(record)
    }

    fn send_tombstone(&mut self, topic: &str, partition: i32, key: &[u8]) -> Result<(), Error> {
        self.produce(BaseRecord::to(topic).partition(partition).key(key))
    }

    fn count(&mut self, partition: i32, counts: &Counts) {
        self.counts.entry(partition).or_default().add(counts);
    }
}

fn retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable(),
        // The first part of a commit: messages are still on their way.
        KafkaError::Flush(code) => *code == RDKafkaErrorCode::OperationTimedOut,
        _ => false,
    }
}

fn requires_abort(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.txn_requires_abort())
}
