//! A Kafka transaction as a value: it borrows its producer, `commit` consumes it, and dropping it aborts it. Nothing else
//! in Millrace commits what a stage has sent.
use event::NextOffset;
use rdkafka::{
    ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
    util::Timeout,
};
use runtime::{
    config::Settings,
    failpoint::{self, Safeguard, Step},
    shutdown::Shutdown,
    stage::{self, Message, TransactionEnd},
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::{
    client,
    error::{Error, advice},
    group_consumer::Membership,
    offset_list::offsets_with_metadata,
};

/// How long a retriable step of a transaction is retried before the process gives up on its coordinator.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// The same, counted from the request to stop. Nothing is lost: the records are read again at the next start.
const GIVE_UP_AFTER_STOP: Duration = Duration::from_secs(8);
/// Timeout of one call, short so that a request to stop is seen soon. librdkafka goes on in the background, and the next
/// call continues where this one left off.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// An abort first waits for the delivery reports of the discarded messages, which are served between its calls.
const ABORT_CALL_TIMEOUT: Duration = Duration::from_millis(100);

/// A producer with one transactional ID.
pub struct TransactionalProducer {
    producer: BaseProducer<Deliveries>,
    id: String,
    shutdown: Shutdown,
}

impl TransactionalProducer {
    /// Initialises transactions for `id`. This fences off an earlier producer with the same ID and aborts its open
    /// transaction.
    ///
    /// # Errors
    /// The transaction coordinator did not answer within `startup_timeout`, or returned a permanent error.
    pub fn new(settings: &Settings, id: &str, shutdown: &Shutdown) -> Result<Self, Error> {
        let id = if failpoint::is_off(Safeguard::Fencing) {
            format!("{id}-{}", std::process::id())
        } else {
            id.to_owned()
        };
        let failed = |e| Error::call("initialising transactions", &id, e);
        let producer: BaseProducer<Deliveries> = client::transactional_producer(settings, &id)
            .create_with_context(Deliveries::default())
            .map_err(failed)?;
        let started = Instant::now();
        loop {
            match producer.init_transactions(Duration::from_secs(5)) {
                Ok(()) => return Ok(Self { producer, id, shutdown: shutdown.clone() }),
                Err(error)
                    if is_retriable(&error)
                        && started.elapsed() < settings.startup_timeout
                        && !shutdown.requested() =>
                {
                    tracing::warn!(id, %error, "waiting for the transaction coordinator");
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn retry(
        &self,
        step: impl Fn(&BaseProducer<Deliveries>) -> Result<(), KafkaError>,
    ) -> Result<(), KafkaError> {
        let started = Instant::now();
        loop {
            let result = step(&self.producer);
            let is_stopped = self.shutdown.requested_for().is_some_and(|since| since >= GIVE_UP_AFTER_STOP);
            match result {
                Err(error) if is_retriable(&error) && started.elapsed() < GIVE_UP_AFTER && !is_stopped => {
                    // Polling instead of sleeping: an abort ends only when the delivery reports are served.
                    self.producer.poll(Duration::from_millis(50));
                }
                result => return result,
            }
        }
    }

    fn error(&self, action: &'static str, error: KafkaError) -> Error {
        if is_retriable(&error) && self.shutdown.requested() {
            return Error::GivenUp { action, source: error };
        }
        Error::call(action, &self.id, error)
    }
}

impl stage::Producer for TransactionalProducer {
    type Membership = Membership;
    type Transaction<'p> = OpenTransaction<'p>;

    fn begin(&mut self) -> Result<OpenTransaction<'_>, runtime::Error> {
        failpoint::before(Step::BeginTransaction);
        self.producer.begin_transaction().map_err(|e| Error::call("beginning a transaction", &self.id, e))?;
        failpoint::after(Step::BeginTransaction);
        Ok(OpenTransaction { owner: self, is_open: true, broken: None })
    }
}

/// Remembers whether the broker refused a message for its size.
#[derive(Default)]
struct Deliveries {
    too_large: AtomicBool,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.as_ref().is_err_and(|(error, _)| is_too_large(error)) {
            self.too_large.store(true, Ordering::Relaxed);
        }
    }
}

/// An open transaction.
pub struct OpenTransaction<'a> {
    owner: &'a TransactionalProducer,
    is_open: bool,
    /// A message could not be sent, so the transaction must be aborted.
    broken: Option<KafkaError>,
}

impl OpenTransaction<'_> {
    fn abort_because(self, cause: &KafkaError) -> Result<TransactionEnd, Error> {
        let owner = self.owner;
        let text = format!("{cause}{}", advice(cause));
        tracing::warn!(id = owner.id, cause = text, "transaction aborted, its records will be read again");
        self.abort()?;
        let too_large = owner.producer.context().too_large.swap(false, Ordering::Relaxed);
        Ok(if too_large || is_too_large(cause) { TransactionEnd::TooLarge } else { TransactionEnd::Aborted })
    }

    fn abort(mut self) -> Result<(), Error> {
        self.is_open = false;
        let owner = self.owner;
        owner
            .retry(|producer| producer.abort_transaction(Timeout::After(ABORT_CALL_TIMEOUT)))
            .map_err(|e| owner.error("aborting a transaction", e))
    }

    fn commit(
        mut self,
        offsets: &[(i32, NextOffset, String)],
        membership: &Membership,
    ) -> Result<TransactionEnd, Error> {
        let owner = self.owner;
        if let Some(error) = self.broken.take() {
            return self.abort_because(&error);
        }
        let offsets = offsets_with_metadata(&membership.topic, offsets)
            .map_err(|e| Error::call("adding offsets to a transaction", &owner.id, e))?;
        let timeout = Timeout::After(CALL_TIMEOUT);
        failpoint::before(Step::SendOffsets);
        let sent = owner
            .retry(|producer| producer.send_offsets_to_transaction(&offsets, &membership.group, timeout));
        let ended = sent.and_then(|()| {
            failpoint::after(Step::SendOffsets);
            failpoint::before(Step::CommitTransaction);
            owner.retry(|producer| producer.commit_transaction(timeout))?;
            failpoint::after(Step::CommitTransaction);
            Ok(())
        });
        match ended {
            Ok(()) => {
                self.is_open = false;
                Ok(TransactionEnd::Committed)
            }
            Err(error) if requires_abort(&error) => self.abort_because(&error),
            Err(error) => {
                // It may have committed, so it must not be aborted here. The broker has the outcome.
                self.is_open = false;
                Err(owner.error("committing a transaction", error))
            }
        }
    }

    fn produce(&mut self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Error> {
        if self.broken.is_some() {
            return Ok(());
        }
        let TransactionalProducer { producer, id, .. } = self.owner;
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    producer.poll(Duration::from_millis(10));
                }
                // An earlier message of this transaction failed permanently. The producer accepts no more messages
                // until the abort.
                Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::State) => {
                    if producer.client().fatal_error().is_some() {
                        return Err(Error::call("producing", id, error));
                    }
                    self.broken = Some(error);
                    return Ok(());
                }
                // Larger than message.max.bytes.
                Err((error, _)) if is_too_large(&error) => {
                    self.broken = Some(error);
                    return Ok(());
                }
                Err((error, _)) => return Err(Error::call("producing", id, error)),
            }
        }
    }
}

impl Drop for OpenTransaction<'_> {
    fn drop(&mut self) {
        if self.is_open {
            let _ = self.owner.producer.abort_transaction(Timeout::After(CALL_TIMEOUT));
        }
    }
}

impl stage::Transaction for OpenTransaction<'_> {
    type Membership = Membership;

    fn send(&mut self, message: Message<'_>) -> Result<(), runtime::Error> {
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
        Ok(self.produce(record)?)
    }

    fn send_tombstone(&mut self, topic: &str, partition: i32, key: &[u8]) -> Result<(), runtime::Error> {
        Ok(self.produce(BaseRecord::to(topic).partition(partition).key(key))?)
    }

    fn commit(
        self,
        offsets: &[(i32, NextOffset, String)],
        membership: &Membership,
    ) -> Result<TransactionEnd, runtime::Error> {
        Ok(self.commit(offsets, membership)?)
    }

    fn abort(self) -> Result<(), runtime::Error> {
        // The coordinator rejects the end of a transaction whose first partition it has not added yet, because it is still
        // completing the previous one. A message that is delivered shows that it has.
        let _ = self.owner.retry(|producer| producer.flush(CALL_TIMEOUT));
        Ok(self.abort()?)
    }
}

fn is_retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable(),
        // The first part of a commit: messages are still in flight.
        KafkaError::Flush(code) => *code == RDKafkaErrorCode::OperationTimedOut,
        _ => false,
    }
}

/// Whether a message was refused for its size, by librdkafka or by the broker.
fn is_too_large(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge))
}

fn requires_abort(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.txn_requires_abort())
}
