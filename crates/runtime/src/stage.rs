//! The consume-transform-commit loop that ingest and enrich share.
//!
//! Each worker is one OS thread with its own consumer, producer and stage. It reads a batch, begins a transaction,
//! lets the stage decide about every record, and commits what the stage sent together with the offsets read. The
//! stage never sees Kafka: it gets borrowed bytes and an [`Output`].
use rdkafka::message::{BorrowedMessage, Message as _};
use std::{collections::BTreeMap, thread, time::Instant};

use crate::{
    Error, NextOffset, Offset, Polled, Source,
    config::Settings,
    health::Health,
    kafka,
    shutdown::Shutdown,
    topic::Topic,
    transaction::{Ended, TransactionalProducer},
};

/// A record as the stage sees it.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Partition it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The record's own time, epoch milliseconds: when the broker received it.
    pub timestamp_ms: i64,
    /// Its key, if any.
    pub key: Option<&'a [u8]>,
    /// Its bytes; none for a tombstone.
    pub value: Option<&'a [u8]>,
}

/// A message a stage wants to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Full topic name.
    pub topic: &'a str,
    /// Partition, always explicit: who shares a partition is part of the contract.
    pub partition: i32,
    /// Key, if any.
    pub key: Option<&'a [u8]>,
    /// Bytes.
    pub value: &'a [u8],
    /// Headers, in order.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Takes what a stage sends. It becomes visible when the batch commits, or never.
pub trait Output {
    /// Takes one message; its bytes are copied.
    ///
    /// # Errors
    /// The process cannot go on.
    fn send(&mut self, message: Message<'_>) -> Result<(), Error>;
}

/// The deciding part of a stage.
pub trait Stage {
    /// A partition is now ours; its state begins.
    fn assigned(&mut self, _partition: i32) {}

    /// A partition is no longer ours; its state ends.
    fn revoked(&mut self, _partition: i32) {}

    /// Decides about records of any of our partitions, in the order read, and sends what follows from them.
    ///
    /// # Errors
    /// Only when the process cannot go on; trouble with a record is a dead letter.
    fn process(&mut self, records: &[Record<'_>], output: &mut dyn Output) -> Result<(), Error>;

    /// What `process` sent is visible: changes of state it made may stay.
    fn committed(&mut self) {}

    /// What `process` sent will never be visible, and its records come again: changes of state must be undone.
    fn aborted(&mut self) {}
}

/// Which stage runs.
#[derive(Debug, Clone, Copy)]
pub struct StageOptions {
    /// Its name, part of group and transaction names.
    pub name: &'static str,
    /// What it reads.
    pub input: Topic,
}

/// Runs a stage until `shutdown`: `settings.workers` threads, each with a stage of its own.
///
/// # Errors
/// The first error of any worker; the others are stopped before it is returned.
pub fn run<S: Stage>(
    options: StageOptions,
    settings: &Settings,
    shutdown: &Shutdown,
    health: &Health,
    make_stage: impl Fn(usize) -> Result<S, Error> + Sync,
) -> Result<(), Error> {
    let make_stage = &make_stage;
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for index in 0..settings.workers {
            let name = format!("{}-{index}", options.name);
            let worker = Worker { options, settings, shutdown, health, index, name: name.clone() };
            let spawned = thread::Builder::new().name(name.clone()).spawn_scoped(scope, move || {
                let ended = make_stage(index).and_then(|stage| worker.run(stage));
                if let Err(error) = &ended {
                    tracing::error!(worker = worker.name, %error, "worker failed");
                }
                // One worker's end is the process's end: a supervisor restarts it whole.
                worker.shutdown.trigger();
                ended
            });
            workers.push((
                name,
                spawned.map_err(|source| Error::System { action: "starting a thread", source }),
            ));
        }
        let mut first = Ok(());
        for (name, worker) in workers {
            let ended = worker.and_then(|worker| worker.join().unwrap_or(Err(Error::Panicked(name))));
            if first.is_ok() {
                first = ended;
            }
        }
        first
    })
}

struct Worker<'a> {
    options: StageOptions,
    settings: &'a Settings,
    shutdown: &'a Shutdown,
    health: &'a Health,
    index: usize,
    name: String,
}

impl Worker<'_> {
    fn run<S: Stage>(&self, mut stage: S) -> Result<(), Error> {
        let settings = self.settings;
        let topic = settings.kafka.topic(self.options.input);
        self.health.set_ready(&self.name, false);
        kafka::partition_count(settings, &topic, self.shutdown)?;
        let group = format!("{}-{}", settings.pipeline, self.options.name);
        let member = format!("{group}-{}-{}", settings.instance, self.index);
        // Before the group gives us partitions, whoever had our names must be shut out.
        let mut producer = TransactionalProducer::new(settings, &member, self.shutdown)?;
        let source = Source::new(settings, &group, &topic, &member, self.shutdown)?;
        let mut positions: BTreeMap<i32, NextOffset> = BTreeMap::new();
        while !self.shutdown.requested() {
            let (batch, rebalance) = self.gather(&source)?;
            self.health.beat(&self.name);
            let lost = matches!(rebalance, Some(Rebalance::Revoked { lost: true, .. }));
            if !batch.is_empty() && !lost {
                let ended = self.transact(&mut stage, &mut producer, &source, &batch, &mut positions)?;
                // Partitions that are being revoked are read again by their next owner.
                if ended == Ended::Aborted && rebalance.is_none() {
                    let back: Vec<_> =
                        positions.iter().map(|(&partition, &next)| (partition, next)).collect();
                    source.start(&back)?;
                }
            }
            drop(batch);
            match rebalance {
                None => (),
                Some(Rebalance::Assigned(partitions)) => {
                    let found = source.committed_or_start(&partitions)?;
                    for &(partition, next) in &found {
                        stage.assigned(partition);
                        positions.insert(partition, next);
                    }
                    source.start(&found)?;
                    tracing::info!(worker = self.name, ?partitions, "partitions assigned");
                    self.health.report(&self.name, "partitions", partitions);
                    self.health.set_ready(&self.name, true);
                }
                Some(Rebalance::Revoked { partitions, lost }) => {
                    for &partition in &partitions {
                        stage.revoked(partition);
                        positions.remove(&partition);
                    }
                    source.release()?;
                    tracing::info!(worker = self.name, ?partitions, lost, "partitions revoked");
                    self.health.report(&self.name, "partitions", Vec::<i32>::new());
                }
            }
        }
        Ok(())
    }

    /// Reads until the batch is full, its interval is over, or the group rebalances.
    fn gather<'s>(&self, source: &'s Source) -> Result<(Vec<BorrowedMessage<'s>>, Option<Rebalance>), Error> {
        let kafka = &self.settings.kafka;
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut deadline = Instant::now() + kafka.batch_interval;
        while batch.len() < kafka.batch_records && bytes < MAX_BATCH_BYTES {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match source.poll(left)? {
                Polled::Idle => (),
                Polled::Record(message) => {
                    if batch.is_empty() {
                        deadline = Instant::now() + kafka.batch_interval;
                    }
                    bytes += message.payload_len();
                    batch.push(message);
                }
                Polled::Assigned(partitions) => return Ok((batch, Some(Rebalance::Assigned(partitions)))),
                Polled::Revoked { partitions, lost } => {
                    return Ok((batch, Some(Rebalance::Revoked { partitions, lost })));
                }
            }
        }
        Ok((batch, None))
    }

    /// One transaction: decide, send, commit together with the offsets. After an abort the caller goes back to where
    /// `positions` still are.
    fn transact<S: Stage>(
        &self,
        stage: &mut S,
        producer: &mut TransactionalProducer,
        source: &Source,
        batch: &[BorrowedMessage<'_>],
        positions: &mut BTreeMap<i32, NextOffset>,
    ) -> Result<Ended, Error> {
        let records: Vec<Record<'_>> = batch.iter().map(record).collect();
        let mut reached: BTreeMap<i32, NextOffset> = BTreeMap::new();
        for record in &records {
            reached.insert(record.partition, Offset(record.offset).next());
        }
        let reached: Vec<(i32, NextOffset)> = reached.into_iter().collect();
        let group = source.group_metadata().ok_or_else(|| Error::Fenced(self.name.clone()))?;
        let mut transaction = producer.begin()?;
        let started = Instant::now();
        stage.process(&records, &mut transaction)?;
        let processed = Instant::now();
        let ended = transaction.commit(source.topic(), &reached, &group)?;
        let labels = [("stage", self.options.name)];
        metrics::counter!("millrace_records_total", &labels).increment(records.len() as u64);
        metrics::histogram!("millrace_process_seconds", &labels).record(processed - started);
        metrics::histogram!("millrace_commit_seconds", &labels).record(processed.elapsed());
        match ended {
            Ended::Committed => {
                stage.committed();
                positions.extend(reached);
                metrics::counter!("millrace_transactions_total", "stage" => self.options.name, "outcome" => "committed")
                    .increment(1);
            }
            Ended::Aborted => {
                stage.aborted();
                metrics::counter!("millrace_transactions_total", "stage" => self.options.name, "outcome" => "aborted")
                    .increment(1);
            }
        }
        Ok(ended)
    }
}

/// Bounds the memory of one batch when records are large.
const MAX_BATCH_BYTES: usize = 32 * 1024 * 1024;

enum Rebalance {
    Assigned(Vec<i32>),
    Revoked { partitions: Vec<i32>, lost: bool },
}

fn record<'a>(message: &'a BorrowedMessage<'_>) -> Record<'a> {
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
        key: message.key(),
        value: message.payload(),
    }
}

/// An [`Output`] that keeps what it is given, for tests of stages without Kafka.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Everything sent, in order.
    pub sent: Vec<Sent>,
}

/// One message kept by a [`Recorder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Full topic name.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Bytes.
    pub value: Vec<u8>,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
}

impl Output for Recorder {
    fn send(&mut self, message: Message<'_>) -> Result<(), Error> {
        let headers = message.headers.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        self.sent.push(Sent {
            topic: message.topic.to_owned(),
            partition: message.partition,
            key: message.key.map(<[u8]>::to_vec),
            value: message.value.to_vec(),
            headers,
        });
        Ok(())
    }
}
