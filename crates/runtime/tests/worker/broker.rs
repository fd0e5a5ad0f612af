//! A broker, a consumer and a producer in memory. A script decides what each poll returns and how each transaction ends.
use event::{LedgerCounts, NextOffset, Offset, RejectCode};
use runtime::{
    Error,
    config::UndecodableBatches,
    shutdown::Shutdown,
    stage::{
        BatchLimits, Message, Polled, Producer, Record, Source, SourceTopics, Stage, StartPosition,
        Transaction, TransactionEnd, Undecodable, WorkerOptions, run,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

/// What one poll returns, or what happens before it.
#[derive(Debug, Clone)]
pub(crate) enum Poll {
    /// The next record of a partition; idle when the partition is paused, not assigned or read to its end.
    Record(i32),
    /// A record that the client had prefetched before the partition was paused.
    Prefetched(i32),
    Idle,
    Assigned(Vec<i32>),
    Revoked,
    Lost,
    /// The client reports a batch that cannot be decoded, and has already read past it.
    Undecodable,
    /// Another member of the group processes so many records of a partition, then the next poll is taken.
    OtherProcesses(i32, i64),
    /// A shutdown is requested, then the next poll is taken.
    Stop,
}

/// A call that the worker or the stage has seen, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Assign(Vec<(i32, i64)>),
    Unassign,
    Seek(Vec<(i32, i64)>),
    Pause(Vec<i32>),
    Resume(Vec<i32>),
    StateBegins(i32),
    StateEnds(i32),
    Restore(bool),
    Process(Vec<(i32, i64)>),
    StateCommitted,
    StateAborted,
    TransactionDropped,
}

#[derive(Debug, Default)]
pub(crate) struct Broker {
    pub(crate) polls: VecDeque<Poll>,
    /// How the next transactions end; they commit once this is empty.
    pub(crate) ends: VecDeque<TransactionEnd>,
    /// Results of the next calls of the stage's `restore`; it is complete once this is empty.
    pub(crate) restores: VecDeque<bool>,
    /// The stage fails at the record with this offset, by an error or by a panic.
    pub(crate) fails_at: Option<(i64, Failure)>,
    pub(crate) calls: Vec<Call>,
    /// Committed offset and metadata of each partition.
    pub(crate) committed: BTreeMap<i32, (i64, String)>,
    /// Input partition and offset of every message that is visible, in order.
    pub(crate) visible: Vec<(i32, i64)>,
    /// Headers of every visible dead letter, in order.
    pub(crate) dead_letters: Vec<Vec<(String, String)>>,
    /// The stage's state: number of records it has applied, by partition.
    pub(crate) state: BTreeMap<i32, i64>,
    /// Offsets whose messages the broker refuses as too large.
    pub(crate) refused: BTreeSet<i64>,
    /// Offsets that cannot be decoded, from the first to the last.
    pub(crate) undecodable: Vec<(i32, i64, i64)>,
    /// Where each assigned partition is read.
    pub(crate) positions: BTreeMap<i32, i64>,
    paused: BTreeSet<i32>,
    lost: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Failure {
    Error,
    /// An error that waiting may heal; only the first time.
    Transient,
    Panic,
}

/// Bytes of every record.
pub(crate) const RECORD: [u8; 10] = *b"0123456789";

/// How a test runs the worker.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) broker: Arc<Mutex<Broker>>,
    pub(crate) shutdown: Shutdown,
    pub(crate) batch: BatchLimits,
    pub(crate) undecodable: UndecodableBatches,
    pub(crate) output_bytes: usize,
}

impl Run {
    /// A batch ends when a poll is idle.
    pub(crate) fn new(polls: impl IntoIterator<Item = Poll>) -> Self {
        let broker = Broker { polls: polls.into_iter().collect(), ..Broker::default() };
        Self {
            broker: Arc::new(Mutex::new(broker)),
            shutdown: Shutdown::default(),
            batch: BatchLimits { interval: Duration::ZERO, records: 100, bytes: 100_000 },
            undecodable: UndecodableBatches::DeadLetter,
            output_bytes: 100_000,
        }
    }

    pub(crate) fn broker(&self) -> MutexGuard<'_, Broker> {
        self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one worker until the script ends.
    pub(crate) fn one_worker(&self) -> Result<(), Error> {
        self.workers(1)
    }

    pub(crate) fn workers(&self, workers: usize) -> Result<(), Error> {
        let options = WorkerOptions {
            stage: "test",
            workers,
            batch: self.batch,
            pause_after_abort: Duration::ZERO,
            output_bytes: self.output_bytes,
            too_large: RejectCode::TooLarge,
            undecodable: self.undecodable,
        };
        run(
            options,
            &self.shutdown,
            &runtime::health::Health::default(),
            |_| Ok(CountingStage { run: self.clone(), open: BTreeMap::new() }),
            |_, _| Ok((MemorySource(self.clone()), MemoryProducer(self.clone()))),
        )
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.broker().calls.clone()
    }

    /// The batches that were processed, as offsets.
    pub(crate) fn batches(&self) -> Vec<Vec<(i32, i64)>> {
        let calls = self.calls().into_iter();
        calls.filter_map(|call| if let Call::Process(batch) = call { Some(batch) } else { None }).collect()
    }

    fn call(&self, call: Call) {
        self.broker().calls.push(call);
    }
}

struct MemorySource(Run);

impl Source for MemorySource {
    type Message<'s> = (i32, i64);
    type Membership = ();

    fn record<'m, 's>(message: &'m (i32, i64)) -> Record<'m>
    where
        Self: 's,
    {
        let &(partition, offset) = message;
        Record { partition, offset, timestamp_ms: 0, key: None, value: Some(&RECORD) }
    }

    fn bytes(_: &(i32, i64)) -> usize {
        RECORD.len()
    }

    fn poll(&self, timeout: Duration) -> Result<Polled<(i32, i64)>, Error> {
        let mut broker = self.0.broker();
        loop {
            let Some(poll) = broker.polls.pop_front() else {
                self.0.shutdown.trigger();
                return Ok(Polled::Idle);
            };
            return Ok(match poll {
                Poll::Record(partition) => {
                    let is_paused = broker.paused.contains(&partition);
                    match broker.positions.get_mut(&partition) {
                        Some(next) if !is_paused => {
                            *next += 1;
                            Polled::Record((partition, *next - 1))
                        }
                        _ => Polled::Idle,
                    }
                }
                Poll::Prefetched(partition) => match broker.positions.get_mut(&partition) {
                    Some(next) => {
                        *next += 1;
                        Polled::Record((partition, *next - 1))
                    }
                    None => Polled::Idle,
                },
                Poll::Idle => {
                    drop(broker);
                    std::thread::sleep(timeout);
                    Polled::Idle
                }
                Poll::Undecodable => {
                    broker.positions.values_mut().for_each(|next| *next += 7);
                    Polled::Undecodable
                }
                Poll::Assigned(partitions) => Polled::Assigned(partitions),
                Poll::Revoked | Poll::Lost => {
                    broker.lost = matches!(poll, Poll::Lost);
                    let partitions = broker.positions.keys().copied().collect();
                    Polled::Revoked { partitions, lost: broker.lost }
                }
                Poll::OtherProcesses(partition, count) => {
                    let next = broker.committed.get(&partition).map_or(0, |(next, _)| *next);
                    broker.visible.extend((next..next + count).map(|offset| (partition, offset)));
                    let next = next + count;
                    let counts = LedgerCounts { records: next as u64, ..LedgerCounts::default() };
                    let entry = event::LedgerEntry { from: NextOffset(0), counts };
                    broker.committed.insert(partition, (next, entry.to_string()));
                    continue;
                }
                Poll::Stop => {
                    self.0.shutdown.trigger();
                    continue;
                }
            });
        }
    }

    fn start_positions(&self, partitions: &[i32]) -> Result<Vec<StartPosition>, Error> {
        let broker = self.0.broker();
        let position = |&partition: &i32| {
            let (next, metadata) = broker.committed.get(&partition).cloned().unwrap_or_default();
            StartPosition { partition, next: NextOffset(next), metadata }
        };
        Ok(partitions.iter().map(position).collect())
    }

    fn assign(&self, positions: &[(i32, NextOffset)]) -> Result<(), Error> {
        let mut broker = self.0.broker();
        broker.positions = plain(positions).into_iter().collect();
        broker.paused.clear();
        broker.lost = false;
        broker.calls.push(Call::Assign(plain(positions)));
        Ok(())
    }

    fn unassign(&self) -> Result<(), Error> {
        let mut broker = self.0.broker();
        broker.positions.clear();
        broker.calls.push(Call::Unassign);
        Ok(())
    }

    fn seek(&self, positions: &[(i32, NextOffset)]) -> Result<(), Error> {
        let mut broker = self.0.broker();
        broker.positions.extend(plain(positions));
        broker.calls.push(Call::Seek(plain(positions)));
        Ok(())
    }

    fn find_undecodable(&self, positions: &[(i32, NextOffset)]) -> Result<Vec<Undecodable>, Error> {
        let broker = self.0.broker();
        let at =
            |&(partition, first, _): &(i32, i64, i64)| positions.contains(&(partition, NextOffset(first)));
        let found = broker.undecodable.iter().filter(|range| at(range));
        let batch = |&(partition, first, last)| Undecodable {
            partition,
            first: Offset(first),
            last: Offset(last),
            cause: "test".into(),
        };
        Ok(found.map(batch).collect())
    }

    fn topics(&self) -> &SourceTopics {
        static TOPICS: OnceLock<SourceTopics> = OnceLock::new();
        TOPICS.get_or_init(|| SourceTopics { input: "in".into(), dead_letters: "dead-letters".into() })
    }

    fn pause(&self, partitions: &[i32]) -> Result<(), Error> {
        self.0.broker().paused.extend(partitions);
        self.0.call(Call::Pause(partitions.to_vec()));
        Ok(())
    }

    fn resume(&self, partitions: &[i32]) -> Result<(), Error> {
        self.0.broker().paused.retain(|partition| !partitions.contains(partition));
        self.0.call(Call::Resume(partitions.to_vec()));
        Ok(())
    }

    fn membership(&self) -> Result<(), Error> {
        Ok(())
    }
}

fn plain(positions: &[(i32, NextOffset)]) -> Vec<(i32, i64)> {
    positions.iter().map(|&(partition, next)| (partition, next.0)).collect()
}

struct MemoryProducer(Run);

struct MemoryTransaction {
    run: Run,
    sent: Vec<(i32, i64)>,
    dead_letters: Vec<Vec<(String, String)>>,
    has_ended: bool,
}

impl Producer for MemoryProducer {
    type Membership = ();
    type Transaction<'p> = MemoryTransaction;

    fn begin(&mut self) -> Result<MemoryTransaction, Error> {
        Ok(MemoryTransaction {
            run: self.0.clone(),
            sent: Vec::new(),
            dead_letters: Vec::new(),
            has_ended: false,
        })
    }
}

impl Transaction for MemoryTransaction {
    type Membership = ();

    fn send(&mut self, message: Message<'_>) -> Result<(), Error> {
        if message.topic == "dead-letters" {
            let headers = message.headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
            self.dead_letters.push(headers.collect());
            return Ok(());
        }
        let offset = i64::from_be_bytes(message.value.try_into().unwrap());
        self.sent.push((message.partition, offset));
        Ok(())
    }

    fn send_tombstone(&mut self, _topic: &str, _partition: i32, _key: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn commit(
        mut self,
        offsets: &[(i32, NextOffset, String)],
        _membership: &(),
    ) -> Result<TransactionEnd, Error> {
        self.has_ended = true;
        let mut broker = self.run.broker();
        let end = if self.sent.iter().any(|(_, offset)| broker.refused.contains(offset)) {
            TransactionEnd::TooLarge
        } else {
            broker.ends.pop_front().unwrap_or(TransactionEnd::Committed)
        };
        if end == TransactionEnd::Committed {
            assert!(!broker.lost, "committed for partitions that were lost");
            broker.visible.extend(&self.sent);
            broker.dead_letters.append(&mut self.dead_letters);
            for (partition, next, metadata) in offsets {
                assert!(
                    broker.positions.contains_key(partition),
                    "committed for a partition of another member"
                );
                broker.committed.insert(*partition, (next.0, metadata.clone()));
            }
        }
        drop(broker);
        Ok(end)
    }

    fn abort(mut self) -> Result<(), Error> {
        self.has_ended = true;
        Ok(())
    }
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        if !self.has_ended {
            self.run.call(Call::TransactionDropped);
        }
    }
}

/// Counts the records of each partition, and sends the offset of each record to its own partition.
struct CountingStage {
    run: Run,
    open: BTreeMap<i32, i64>,
}

impl Stage for CountingStage {
    fn assigned(&mut self, partition: i32) {
        let mut broker = self.run.broker();
        // What a restore would read back: everything that was committed.
        let applied = broker.committed.get(&partition).map_or(0, |(next, _)| *next);
        broker.state.insert(partition, applied);
        broker.calls.push(Call::StateBegins(partition));
    }

    fn revoked(&mut self, partition: i32) {
        let mut broker = self.run.broker();
        broker.state.remove(&partition);
        broker.calls.push(Call::StateEnds(partition));
    }

    fn restore(&mut self) -> Result<bool, Error> {
        let mut broker = self.run.broker();
        let is_restored = broker.restores.pop_front().unwrap_or(true);
        broker.calls.push(Call::Restore(is_restored));
        Ok(is_restored)
    }

    fn process(
        &mut self,
        records: &[Record<'_>],
        output: &mut dyn runtime::stage::Output,
    ) -> Result<(), Error> {
        let offsets = records.iter().map(|record| (record.partition, record.offset)).collect();
        self.run.call(Call::Process(offsets));
        let fails_at = self.run.broker().fails_at;
        for record in records {
            match fails_at {
                Some((offset, Failure::Error)) if offset == record.offset => {
                    return Err(Error::Stage("the stage failed".into()));
                }
                Some((offset, Failure::Transient)) if offset == record.offset => {
                    self.run.broker().fails_at = None;
                    return Err(Error::Unavailable("kafka does not answer".into()));
                }
                Some((offset, Failure::Panic)) if offset == record.offset => panic!("the stage panicked"),
                _ => (),
            }
            *self.open.entry(record.partition).or_default() += 1;
            let value = record.offset.to_be_bytes();
            let (partition, key, headers) = (record.partition, None, &[][..]);
            output.send(Message { topic: "out", partition, key, value: &value, headers })?;
            output.count(partition, &LedgerCounts { events: 1, emitted: 1, ..LedgerCounts::default() });
        }
        Ok(())
    }

    fn committed(&mut self) {
        let mut broker = self.run.broker();
        for (partition, count) in std::mem::take(&mut self.open) {
            *broker.state.entry(partition).or_default() += count;
        }
        broker.calls.push(Call::StateCommitted);
    }

    fn aborted(&mut self) {
        self.open.clear();
        self.run.call(Call::StateAborted);
    }
}
