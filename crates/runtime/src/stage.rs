//! The consume-transform-commit loop that ingest and enrich share.
//!
//! Each worker is one OS thread with its own consumer, producer and stage. It reads a batch, begins a transaction,
//! lets the stage decide about every record, and commits what the stage sent together with the offsets read. The
//! stage never sees Kafka: it gets borrowed bytes and an [`Output`].
use rdkafka::{
    consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata},
    message::{BorrowedMessage, Message as _},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Error, NextOffset, Offset, Polled, Source,
    config::Settings,
    drill::{self, Safeguard, Step},
    health::Health,
    kafka,
    ledger::{Counts, Ledger},
    shutdown::Shutdown,
    topic::Topic,
    transaction::{Ended, Transaction, TransactionalProducer},
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

    /// Takes a message without a value: in a compacted topic it removes the key.
    ///
    /// # Errors
    /// The process cannot go on.
    fn send_tombstone(&mut self, topic: &str, partition: i32, key: &[u8]) -> Result<(), Error>;

    /// Adds to the ledger of an input partition what became of events read from it; the loop itself counts records.
    /// It becomes a fact together with what was sent, or never.
    fn count(&mut self, partition: i32, counts: &Counts);
}

/// The deciding part of a stage.
pub trait Stage {
    /// A partition is now ours; its state begins. Not called for one that comes back from a rebalance untouched.
    fn assigned(&mut self, _partition: i32) {}

    /// A partition is no longer ours; its state ends.
    fn revoked(&mut self, _partition: i32) {}

    /// Reads back the state of newly assigned partitions: works for a fraction of a second and says whether all of
    /// them are ready. It is called again until they are, and nothing is processed before.
    ///
    /// # Errors
    /// The state cannot be had, so the process cannot go on.
    fn restore(&mut self) -> Result<bool, Error> {
        Ok(true)
    }

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

/// What a worker holds of its partitions.
#[derive(Default)]
struct Holding {
    /// Where each partition goes on: what is committed.
    positions: BTreeMap<i32, NextOffset>,
    ledger: Ledger,
    /// Revoked, and their state kept until the next assignment says who has them.
    parked: BTreeMap<i32, NextOffset>,
    restoring: bool,
    /// Since when every transaction has been aborted.
    aborting_since: Option<Instant>,
}

impl Worker<'_> {
    fn run<S: Stage>(&self, mut stage: S) -> Result<(), Error> {
        let settings = self.settings;
        let topic = settings.kafka.topic(self.options.input);
        self.health.set_ready(&self.name, false);
        kafka::partition_count(settings, &topic, self.shutdown)?;
        let group = format!("{}-{}", settings.pipeline, self.options.name);
        let member = format!("{group}-{}-{}", settings.instance, self.index);
        let outsider = outsider(settings, &group)?;
        let transactional_id = match &outsider {
            None => member.clone(),
            Some(_) => format!("{member}-{}", std::process::id()),
        };
        // Before the group gives us partitions, whoever had our names must be shut out.
        let mut producer = TransactionalProducer::new(settings, &transactional_id, self.shutdown)?;
        let source = Source::new(settings, &group, &topic, &member, self.shutdown)?;
        let mut holding = Holding::default();
        while !self.shutdown.requested() {
            self.health.beat(&self.name);
            if holding.restoring {
                // The group must go on hearing from us, and may take the partitions away again.
                let rebalance = match source.poll(Duration::ZERO)? {
                    Polled::Assigned(partitions) => Some(Rebalance::Assigned(partitions)),
                    Polled::Revoked { partitions, lost } => Some(Rebalance::Revoked { partitions, lost }),
                    // A record that was on its way when its partition was paused is read again afterwards.
                    Polled::Record(_) | Polled::Idle => None,
                };
                match rebalance {
                    Some(rebalance) => self.rebalance(rebalance, &mut stage, &source, &mut holding)?,
                    None => self.restore(&mut stage, &source, &mut holding)?,
                }
                continue;
            }
            let (batch, rebalance) = self.gather(&source)?;
            let lost = matches!(rebalance, Some(Rebalance::Revoked { lost: true, .. }));
            if !batch.is_empty() && !lost {
                let group = match &outsider {
                    Some(outsider) => outsider.group_metadata(),
                    None => source.group_metadata(),
                };
                let group = group.ok_or_else(|| Error::Fenced(self.name.clone()))?;
                let transaction = producer.begin()?;
                let ended =
                    self.transact(&mut stage, transaction, source.topic(), &group, &batch, &mut holding)?;
                // Partitions that are being revoked are read again by their next owner.
                if ended == Ended::Aborted && rebalance.is_none() {
                    let back: Vec<_> = holding.positions.iter().map(|(&p, &next)| (p, next)).collect();
                    source.seek(&back)?;
                }
            }
            drop(batch);
            if let Some(rebalance) = rebalance {
                self.rebalance(rebalance, &mut stage, &source, &mut holding)?;
            }
        }
        Ok(())
    }

    fn rebalance<S: Stage>(
        &self,
        rebalance: Rebalance,
        stage: &mut S,
        source: &Source,
        holding: &mut Holding,
    ) -> Result<(), Error> {
        match rebalance {
            Rebalance::Assigned(partitions) => self.assigned(partitions, stage, source, holding),
            Rebalance::Revoked { partitions, lost } => {
                let positions = std::mem::take(&mut holding.positions);
                for &partition in &partitions {
                    holding.ledger.revoked(partition);
                    // Another process reports it now: an old value here would be added to its.
                    report(self.options.name, partition, &Counts::default());
                    match positions.get(&partition) {
                        // Very often it comes back a moment later, and nobody has touched it.
                        Some(&next) if !lost && !holding.restoring => {
                            holding.parked.insert(partition, next);
                        }
                        _ => stage.revoked(partition),
                    }
                }
                holding.restoring = false;
                self.health.set_ready(&self.name, false);
                source.release()?;
                tracing::info!(worker = self.name, ?partitions, lost, "partitions revoked");
                self.health.report(&self.name, "partitions", Vec::<i32>::new());
                Ok(())
            }
        }
    }

    fn assigned<S: Stage>(
        &self,
        partitions: Vec<i32>,
        stage: &mut S,
        source: &Source,
        holding: &mut Holding,
    ) -> Result<(), Error> {
        let committed = source.committed(&partitions)?;
        let found = source.positions(&committed)?;
        let mut untouched = BTreeSet::new();
        for (partition, parked) in std::mem::take(&mut holding.parked) {
            // Whoever else had it has committed nothing, so the state in memory is still that of the offset.
            if found.contains(&(partition, parked)) {
                untouched.insert(partition);
            } else {
                stage.revoked(partition);
            }
        }
        for (&(partition, next), committed) in found.iter().zip(&committed) {
            if !untouched.contains(&partition) {
                stage.assigned(partition);
            }
            let total = holding.ledger.assigned(partition, next, &committed.metadata);
            report(self.options.name, partition, &total);
        }
        holding.positions = found.iter().copied().collect();
        source.start(&found)?;
        tracing::info!(worker = self.name, ?partitions, kept = ?untouched, "partitions assigned");
        self.health.report(&self.name, "partitions", partitions.clone());
        holding.restoring = true;
        drill::before(Step::RestoreState);
        if !self.restored(stage, holding)? {
            self.health.set_ready(&self.name, false);
            source.pause(&partitions)?;
        }
        Ok(())
    }

    /// Goes on with restoring the state of paused partitions; reads them once it is there.
    fn restore<S: Stage>(&self, stage: &mut S, source: &Source, holding: &mut Holding) -> Result<(), Error> {
        if self.restored(stage, holding)? {
            let positions: Vec<_> = holding.positions.iter().map(|(&p, &next)| (p, next)).collect();
            let partitions: Vec<i32> = holding.positions.keys().copied().collect();
            source.resume(&partitions)?;
            source.seek(&positions)?;
        }
        Ok(())
    }

    fn restored<S: Stage>(&self, stage: &mut S, holding: &mut Holding) -> Result<bool, Error> {
        if !stage.restore()? {
            return Ok(false);
        }
        drill::after(Step::RestoreState);
        holding.restoring = false;
        self.health.set_ready(&self.name, true);
        Ok(true)
    }

    /// Reads until the batch is full, its interval is over, or the group rebalances.
    fn gather<'s>(&self, source: &'s Source) -> Result<(Vec<BorrowedMessage<'s>>, Option<Rebalance>), Error> {
        let kafka = &self.settings.kafka;
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut deadline = Instant::now() + kafka.batch_interval;
        while batch.len() < kafka.batch_records && bytes < MAX_BATCH_BYTES {
            // The clock is asked only when nothing is there: under load that is once in a batch, not for each record.
            let polled = match source.poll(Duration::ZERO)? {
                Polled::Idle => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    source.poll(left)?
                }
                polled => polled,
            };
            match polled {
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
    /// the positions still are.
    fn transact<S: Stage>(
        &self,
        stage: &mut S,
        mut transaction: Transaction<'_>,
        topic: &str,
        group: &ConsumerGroupMetadata,
        batch: &[BorrowedMessage<'_>],
        holding: &mut Holding,
    ) -> Result<Ended, Error> {
        let Holding { positions, ledger, aborting_since, .. } = holding;
        let records: Vec<Record<'_>> = batch.iter().map(record).collect();
        let mut reached: BTreeMap<i32, NextOffset> = BTreeMap::new();
        for record in &records {
            reached.insert(record.partition, Offset(record.offset).next());
            ledger.count(record.partition, &Counts { records: 1, ..Counts::default() });
        }
        let started = Instant::now();
        drill::before(Step::Process);
        stage.process(&records, &mut transaction)?;
        drill::after(Step::Process);
        let processed = Instant::now();
        for (partition, counts) in transaction.take_counts() {
            ledger.count(partition, &counts);
        }
        let offsets: Vec<_> =
            reached.iter().map(|(&partition, &next)| (partition, next, ledger.metadata(partition))).collect();
        let ended = transaction.commit(topic, &offsets, group)?;
        let stage_name = self.options.name;
        let labels = [("stage", stage_name)];
        metrics::counter!("millrace_records_total", &labels).increment(records.len() as u64);
        metrics::histogram!("millrace_process_seconds", &labels).record(processed - started);
        metrics::histogram!("millrace_commit_seconds", &labels).record(processed.elapsed());
        let outcome = match ended {
            Ended::Committed => {
                drill::before(Step::ApplyState);
                stage.committed();
                drill::after(Step::ApplyState);
                positions.extend(reached);
                ledger.commit(|partition, total| report(stage_name, partition, total));
                *aborting_since = None;
                "committed"
            }
            Ended::Aborted => {
                stage.aborted();
                ledger.abort();
                if aborting_since.get_or_insert_with(Instant::now).elapsed() > ABORTING_PATIENCE {
                    let seconds = ABORTING_PATIENCE.as_secs();
                    return Err(Error::Stage(format!(
                        "every transaction of {} was aborted for {seconds} s; the log above says why",
                        self.name
                    )));
                }
                thread::sleep(PAUSE_AFTER_ABORT);
                "aborted"
            }
        };
        metrics::counter!("millrace_transactions_total", "stage" => stage_name, "outcome" => outcome)
            .increment(1);
        Ok(ended)
    }
}

/// How long a worker goes on while each of its transactions is aborted.
const ABORTING_PATIENCE: Duration = Duration::from_secs(120);
/// What made the broker refuse one transaction is often gone a moment later.
const PAUSE_AFTER_ABORT: Duration = Duration::from_millis(100);

fn report(stage: &'static str, partition: i32, total: &Counts) {
    let partition = partition.to_string();
    for (count, value) in total.entries() {
        let labels =
            [("stage", stage.to_owned()), ("partition", partition.clone()), ("count", count.to_owned())];
        metrics::gauge!("millrace_ledger_count", &labels).set(value as f64);
    }
}

/// With the drill `fencing`, somebody whose offsets the broker takes without asking who they are.
fn outsider(settings: &Settings, group: &str) -> Result<Option<BaseConsumer>, Error> {
    if !drill::is_off(Safeguard::Fencing) {
        return Ok(None);
    }
    let created = kafka::client(settings).set("group.id", group).create();
    created.map(Some).map_err(|e| Error::kafka("creating a client", group, e))
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
    /// Topic, partition and key of every tombstone, in order.
    pub tombstones: Vec<(String, i32, Vec<u8>)>,
    /// Everything counted, by input partition.
    pub counts: BTreeMap<i32, Counts>,
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

    fn send_tombstone(&mut self, topic: &str, partition: i32, key: &[u8]) -> Result<(), Error> {
        self.tombstones.push((topic.to_owned(), partition, key.to_vec()));
        Ok(())
    }

    fn count(&mut self, partition: i32, counts: &Counts) {
        self.counts.entry(partition).or_default().add(counts);
    }
}
