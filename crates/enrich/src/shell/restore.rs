//! Reads the memory of newly assigned partitions back from Kafka, a fraction of a second at a time.
//!
//! In this order, and each step only when the one before is complete for all partitions:
//!
//! 1. wait until every transaction that an earlier owner has left open is decided: nothing of it may appear later;
//! 2. read the changelog `enrich-state` to its end: the slow part of every device;
//! 3. look at the newest of `enriched-events`, to know where its last de-duplication window begins;
//! 4. replay that window: which events were seen, and what they moved of their devices.
use event::{Batch, Field, IdentityKey, Topic};
use hashbrown::HashMap;
use kafka::{Isolation, PartitionReader, Read, first_offsets};
use rdkafka::{
    Message, Offset, TopicPartitionList, consumer::Consumer, error::KafkaError, message::BorrowedMessage,
};
use runtime::{
    Error,
    config::Settings,
    failpoint::{self, Safeguard},
    health::Health,
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{channel::ChannelRules, partition::Partition};

/// One step takes no longer than this, so that the group hears from us and a stop is seen.
const STEP: Duration = Duration::from_millis(200);
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
const TELL_EVERY: Duration = Duration::from_secs(2);
/// How far the clocks of enrich and the broker may be apart: replayed in addition to the window.
const CLOCK_MARGIN_MS: i64 = 60_000;
/// Offsets looked at first to find the newest message; most offsets are messages, one in each transaction is not.
const TAIL: i64 = 64;

/// What every restore of a stage needs to know.
#[derive(Debug, Clone)]
pub(crate) struct RestoreOptions {
    pub(crate) settings: Settings,
    pub(crate) identity: IdentityKey,
    pub(crate) rules: Arc<ChannelRules>,
    pub(crate) health: Health,
    /// The worker's name in health and log.
    pub(crate) worker: String,
    pub(crate) window_ms: i64,
}

/// A restore under way.
pub(crate) struct Restore {
    options: RestoreOptions,
    state_topic: String,
    events_topic: String,
    /// Sees what is decided.
    committed: PartitionReader,
    /// Sees open transactions as well.
    uncommitted: PartitionReader,
    partitions: BTreeSet<i32>,
    phase: Phase,
    started: Instant,
    told: Instant,
    devices: u64,
    events: u64,
}

enum Phase {
    /// What was open at the assignment, until the stable offset has reached it.
    Deciding(BTreeMap<(&'static str, i32), i64>),
    State,
    Tail(Tail),
    Replay,
}

struct Tail {
    /// Where the look back began.
    from: BTreeMap<i32, i64>,
    low: BTreeMap<i32, i64>,
    newest_received_ms: HashMap<i32, i64>,
}

const STATE: &str = "state";
const EVENTS: &str = "events";

impl Restore {
    /// Begins to restore these partitions.
    pub(crate) fn begin(options: RestoreOptions, partitions: BTreeSet<i32>) -> Result<Self, Error> {
        let settings = &options.settings;
        let reader = |isolation| {
            PartitionReader::new(settings, "enrich-restore", isolation)
                .map_err(|e| failed("creating a client", &e))
        };
        let now = Instant::now();
        let mut restore = Self {
            state_topic: settings.kafka.topic(Topic::EnrichState),
            events_topic: settings.kafka.topic(Topic::EnrichedEvents),
            committed: reader(Isolation::ReadCommitted)?,
            uncommitted: reader(Isolation::ReadUncommitted)?,
            partitions,
            phase: Phase::Deciding(BTreeMap::new()),
            started: now,
            told: now,
            devices: 0,
            events: 0,
            options,
        };
        let all = restore.partitions.iter().flat_map(|&partition| [(STATE, partition), (EVENTS, partition)]);
        let all: Vec<_> = all.collect();
        let open = all.iter().copied().zip(restore.ends(&restore.uncommitted, &all)?).collect();
        restore.phase = Phase::Deciding(open);
        tracing::info!(worker = restore.options.worker, partitions = ?restore.partitions, "restoring state");
        Ok(restore)
    }

    /// Goes on for a moment; true when all partitions are restored.
    pub(crate) fn step(&mut self, into: &mut HashMap<i32, Partition>) -> Result<bool, Error> {
        let until = Instant::now() + STEP;
        let done = match &mut self.phase {
            Phase::Deciding(_) => self.decide()?,
            Phase::State => self.read_state(into, until)?,
            Phase::Tail(_) => self.read_tail(until)?,
            Phase::Replay => self.replay(into, until)?,
        };
        self.tell(done);
        Ok(done)
    }

    fn decide(&mut self) -> Result<bool, Error> {
        let Phase::Deciding(open) = &self.phase else { return Ok(false) };
        let asked: Vec<_> = open.keys().copied().collect();
        let stable = self.ends(&self.committed, &asked)?;
        let decided = open.iter().zip(stable);
        let left = decided.filter(|((_, high), stable)| stable < *high).map(|((&key, &high), _)| (key, high));
        let mut left: BTreeMap<_, _> = left.collect();
        if failpoint::is_off(Safeguard::StableOffset) {
            left.clear();
        }
        if !left.is_empty() {
            self.phase = Phase::Deciding(left);
            std::thread::sleep(STEP / 4);
            return Ok(false);
        }
        let partitions: Vec<i32> = self.partitions.iter().copied().collect();
        let from = first_offsets(self.committed.consumer(), &self.state_topic, &partitions);
        self.read(STATE, &from)?;
        self.phase = Phase::State;
        Ok(false)
    }

    fn read_state(&mut self, into: &mut HashMap<i32, Partition>, until: Instant) -> Result<bool, Error> {
        let (mut devices, topic) = (0, &self.state_topic);
        let read = read_until(&mut self.committed, until, |message| {
            let Some(partition) = into.get_mut(&message.partition()) else { return Ok(()) };
            devices += 1;
            partition.restore_record(message.key().unwrap_or_default(), message.payload()).map_err(|error| {
                Error::Stage(format!(
                    "{topic}/{} offset {}: {error}; who else writes to this topic?",
                    message.partition(),
                    message.offset()
                ))
            })
        })?;
        self.devices += devices;
        if read {
            let mut tail =
                Tail { from: BTreeMap::new(), low: BTreeMap::new(), newest_received_ms: HashMap::new() };
            // Or each question would wait behind a fetch that waits for what never comes.
            self.committed.unassign().map_err(|e| failed("reading state back", &e))?;
            let asked: Vec<_> = self.partitions.iter().map(|&partition| (EVENTS, partition)).collect();
            for (&(_, partition), (low, high)) in asked.iter().zip(self.bounds(&self.committed, &asked)?) {
                if low < high {
                    tail.low.insert(partition, low);
                    tail.from.insert(partition, (high - TAIL).max(low));
                }
            }
            let from: Vec<_> =
                tail.from.iter().map(|(&partition, &from)| (partition, Offset::Offset(from))).collect();
            self.read(EVENTS, &from)?;
            self.phase = Phase::Tail(tail);
        }
        Ok(false)
    }

    fn read_tail(&mut self, until: Instant) -> Result<bool, Error> {
        let Phase::Tail(tail) = &mut self.phase else { return Ok(false) };
        let (newest, topic) = (&mut tail.newest_received_ms, &self.events_topic);
        let read = read_until(&mut self.committed, until, |message| {
            let batch = Batch::decode(message.payload().unwrap_or_default());
            let batch = batch.map_err(|source| batch_error(topic, message, source))?;
            let received = batch.number_column(Field::ReceivedAt).iter().copied().max().unwrap_or(0);
            let newest = newest.entry(message.partition()).or_insert(received);
            *newest = received.max(*newest);
            Ok(())
        })?;
        if !read {
            return Ok(false);
        }
        // Nothing but the ends of transactions there: look further back.
        let mut further = Vec::new();
        for (partition, from) in &mut tail.from {
            let low = tail.low.get(partition).copied().unwrap_or(0);
            if !tail.newest_received_ms.contains_key(partition) && *from > low {
                *from = (*from - (*from - low).min(TAIL * 64)).max(low);
                further.push((*partition, Offset::Offset(*from)));
            }
        }
        if !further.is_empty() {
            self.read(EVENTS, &further)?;
            return Ok(false);
        }
        let newest: Vec<(i32, i64)> = tail.newest_received_ms.iter().map(|(&p, &ms)| (p, ms)).collect();
        let from = self.window_starts(&newest)?;
        self.read(EVENTS, &from)?;
        self.phase = Phase::Replay;
        Ok(false)
    }

    /// Where the last window of each partition begins. A message is never older than the events in it were received.
    fn window_starts(&self, newest: &[(i32, i64)]) -> Result<Vec<(i32, Offset)>, Error> {
        if newest.is_empty() {
            return Ok(Vec::new());
        }
        let action = "finding where a window begins";
        let mut times = TopicPartitionList::new();
        for &(partition, received_ms) in newest {
            let since = (received_ms - self.options.window_ms - CLOCK_MARGIN_MS).max(0);
            times
                .add_partition_offset(&self.events_topic, partition, Offset::Offset(since))
                .map_err(|e| failed(action, &e))?;
        }
        let found =
            patiently(action, || self.committed.consumer().offsets_for_times(times.clone(), ASK_TIMEOUT))?;
        let start = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            let offset = match element.offset() {
                Offset::Offset(offset) => Offset::Offset(offset),
                // No message is that young: only clocks far apart do this, and then all of them are read.
                _ => Offset::Beginning,
            };
            (element.partition(), offset)
        };
        Ok(found.elements().iter().map(start).collect())
    }

    fn replay(&mut self, into: &mut HashMap<i32, Partition>, until: Instant) -> Result<bool, Error> {
        let RestoreOptions { identity, rules, .. } = &self.options;
        let (mut events, topic) = (0, &self.events_topic);
        let read = read_until(&mut self.committed, until, |message| {
            let Some(partition) = into.get_mut(&message.partition()) else { return Ok(()) };
            let replayed = partition.restore_batch(message.payload().unwrap_or_default(), identity, rules);
            events += replayed.map_err(|source| batch_error(topic, message, source))? as u64;
            Ok(())
        })?;
        self.events += events;
        if read {
            for partition in &self.partitions {
                into.entry(*partition).and_modify(Partition::restored);
            }
        }
        Ok(read)
    }

    fn topic(&self, topic: &str) -> &str {
        if topic == STATE { &self.state_topic } else { &self.events_topic }
    }

    /// First offset and the one behind the last of each of these partitions, as this consumer sees them.
    fn bounds(&self, reader: &PartitionReader, of: &[(&str, i32)]) -> Result<Vec<(i64, i64)>, Error> {
        let asked = self.named(of);
        let ask = || kafka::bounds(reader.consumer(), &asked, ASK_TIMEOUT);
        patiently("reading the bounds of partitions to restore", ask)
    }

    /// The offset behind the last of each of these partitions, as this consumer sees it.
    fn ends(&self, reader: &PartitionReader, of: &[(&str, i32)]) -> Result<Vec<i64>, Error> {
        let asked = self.named(of);
        let ask = || kafka::ends(reader.consumer(), &asked, Offset::End, ASK_TIMEOUT);
        patiently("reading the ends of partitions to restore", ask)
    }

    fn named(&self, of: &[(&str, i32)]) -> Vec<(&str, i32)> {
        of.iter().map(|&(topic, partition)| (self.topic(topic), partition)).collect()
    }

    fn read(&mut self, topic: &str, from: &[(i32, Offset)]) -> Result<(), Error> {
        let topic = if topic == STATE { &self.state_topic } else { &self.events_topic };
        self.committed.read_to_end(topic, from).map_err(|e| failed("reading state back", &e))
    }

    fn tell(&mut self, done: bool) {
        let (devices, events, seconds) = (self.devices, self.events, self.started.elapsed().as_secs_f64());
        let (worker, partitions) = (&self.options.worker, &self.partitions);
        let phase = match &self.phase {
            _ if done => "done",
            Phase::Deciding(_) => "waiting until open transactions of the earlier owner are decided",
            Phase::State => "reading the changelog",
            Phase::Tail(_) | Phase::Replay => "replaying the de-duplication window",
        };
        self.options.health.report(
            worker,
            "restore",
            json!({"phase": phase, "partitions": partitions, "devices": devices, "events": events, "seconds": seconds}),
        );
        if done {
            tracing::info!(worker, ?partitions, devices, events, seconds, "state restored");
            metrics::counter!("millrace_enrich_restored_devices_total").increment(devices);
            metrics::counter!("millrace_enrich_restored_events_total").increment(events);
            metrics::histogram!("millrace_enrich_restore_seconds").record(seconds);
        } else if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            tracing::info!(worker, ?partitions, devices, events, seconds, phase, "restoring state");
        }
    }
}

/// Takes messages until `until`; true when every partition has been read to its end.
fn read_until(
    reader: &mut PartitionReader,
    until: Instant,
    mut take: impl FnMut(&BorrowedMessage<'_>) -> Result<(), Error>,
) -> Result<bool, Error> {
    // Reads the clock only now and then: a message costs less than that.
    let mut taken = 0_u32;
    loop {
        match reader.next(STEP / 4) {
            Ok(Read::Record(message)) => take(&message)?,
            Ok(Read::Idle) => return Ok(false),
            Ok(Read::End) => return Ok(true),
            Err(error) => tracing::warn!(%error, "restoring state: reading failed, librdkafka retries"),
        }
        taken += 1;
        if taken.is_multiple_of(256) && Instant::now() >= until {
            return Ok(false);
        }
    }
}

/// A broker that restarts is away for seconds.
fn patiently<T>(action: &'static str, mut ask: impl FnMut() -> Result<T, KafkaError>) -> Result<T, Error> {
    const ATTEMPTS: u32 = 30;
    for _ in 1..ATTEMPTS {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) => tracing::warn!(%error, action, "asking kafka again"),
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    ask().map_err(|error| failed(action, &error))
}

fn failed(action: &str, error: &KafkaError) -> Error {
    Error::Stage(format!("restoring state: {action} failed: {error}"))
}

fn batch_error(topic: &str, message: &BorrowedMessage<'_>, source: event::BatchError) -> Error {
    Error::Batch { topic: topic.to_owned(), partition: message.partition(), offset: message.offset(), source }
}
