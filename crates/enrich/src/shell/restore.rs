//! Restores the memory of newly assigned partitions from Kafka, a fraction of a second per call.
//!
//! Each phase starts when the one before is complete for all partitions:
//!
//! 1. wait until every transaction that an earlier owner left open has ended, because its records may still become
//!    visible;
//! 2. read the changelog `enrich-state` to its end: the devices, up to date in their slow parts (a change of the slow
//!    part is always written, a change of the fast part only now and then);
//! 3. read the end of `enriched-events`, to find where the last de-duplication window starts;
//! 4. read that window: the IDs of its events, and the newest fast parts of their devices.
//!
//! A message that enrich did not write is skipped, counted and logged with its place. Only one of a newer enrich ends the
//! process.
mod newest;
mod offsets;
mod skipped;

use event::{Batch, Field, IdentityKey, Topic, calendar::BusinessDays};
use hashbrown::HashMap;
use kafka::{Isolation, PartitionReader, Read, first_offsets};
use rdkafka::{Message, Offset, message::BorrowedMessage};
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

use self::{
    newest::NewestSearch,
    offsets::{bounds, ends, failed, offsets_at},
    skipped::Skipped,
};
use crate::{channel::ChannelRules, partition::Partition};

/// Longest time of one step. Between steps the worker sends its heartbeat and checks for a shutdown.
const STEP: Duration = Duration::from_millis(200);
/// Longest wait within a step.
const WAIT: Duration = Duration::from_millis(50);
const LOG_INTERVAL: Duration = Duration::from_secs(2);
/// Largest difference between the clocks of enrich and the broker. The restore reads this much more than the window.
const CLOCK_MARGIN_MS: i64 = 60_000;

/// What every restore of a stage needs.
#[derive(Debug, Clone)]
pub(super) struct RestoreOptions {
    pub(super) settings: Settings,
    pub(super) identity: IdentityKey,
    pub(super) rules: Arc<ChannelRules>,
    pub(super) days: BusinessDays,
    pub(super) health: Health,
    /// The worker's name in health and log.
    pub(super) worker: String,
    /// Length of the de-duplication window in milliseconds.
    pub(super) window_ms: i64,
}

/// A restore in progress.
pub(super) struct Restore {
    options: RestoreOptions,
    state_topic: String,
    events_topic: String,
    /// Reads committed records only.
    committed: PartitionReader,
    /// Reads records of open transactions as well.
    uncommitted: PartitionReader,
    partitions: BTreeSet<i32>,
    phase: Phase,
    started: Instant,
    logged: Instant,
    /// Records of the changelog that were read.
    devices: u64,
    /// Events of the window that were read.
    events: u64,
    skipped: Skipped,
}

enum Phase {
    /// Waits until the last stable offset reaches these end offsets, which were read at the start of the restore.
    OpenTransactions(BTreeMap<(Source, i32), i64>),
    Changelog,
    NewestEvents(NewestSearch),
    Window,
}

/// The topics of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    State,
    Events,
}

impl Restore {
    /// Starts to restore these partitions.
    pub(super) fn start(options: RestoreOptions, partitions: BTreeSet<i32>) -> Result<Self, Error> {
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
            phase: Phase::Changelog,
            started: now,
            logged: now,
            devices: 0,
            events: 0,
            skipped: Skipped::default(),
            options,
        };
        let sources = |&partition| [(Source::State, partition), (Source::Events, partition)];
        let all: Vec<_> = restore.partitions.iter().flat_map(sources).collect();
        let open = all.iter().copied().zip(ends(&restore.uncommitted, &restore.named(&all))?).collect();
        restore.phase = Phase::OpenTransactions(open);
        tracing::info!(worker = restore.options.worker, partitions = ?restore.partitions, "restoring state");
        Ok(restore)
    }

    /// Runs for the time of one step; true when all partitions are restored.
    pub(super) fn step(&mut self, memory: &mut HashMap<i32, Partition>) -> Result<bool, Error> {
        let until = Instant::now() + STEP;
        let done = match &self.phase {
            Phase::OpenTransactions(_) => self.wait_for_open_transactions()?,
            Phase::Changelog => self.read_changelog(memory, until)?,
            Phase::NewestEvents(_) => self.find_newest_events(until)?,
            Phase::Window => self.read_window(memory, until)?,
        };
        self.report(done);
        Ok(done)
    }

    fn wait_for_open_transactions(&mut self) -> Result<bool, Error> {
        let Phase::OpenTransactions(open) = &self.phase else { return Ok(false) };
        let partitions: Vec<_> = open.keys().copied().collect();
        let stable = ends(&self.committed, &self.named(&partitions))?;
        let waiting = open.iter().zip(stable).filter(|((_, end), stable)| stable < *end);
        let mut waiting: BTreeMap<_, _> = waiting.map(|((&key, &end), _)| (key, end)).collect();
        if failpoint::is_off(Safeguard::StableOffset) {
            waiting.clear();
        }
        if !waiting.is_empty() {
            self.phase = Phase::OpenTransactions(waiting);
            std::thread::sleep(WAIT);
            return Ok(false);
        }
        let partitions: Vec<i32> = self.partitions.iter().copied().collect();
        let from = first_offsets(self.committed.consumer(), &self.state_topic, &partitions);
        self.read(Source::State, &from)?;
        self.phase = Phase::Changelog;
        Ok(false)
    }

    fn read_changelog(
        &mut self,
        memory: &mut HashMap<i32, Partition>,
        until: Instant,
    ) -> Result<bool, Error> {
        let Self { state_topic: topic, skipped, .. } = self;
        let mut devices = 0;
        let at_end = read_until(&mut self.committed, until, |message| {
            let Some(partition) = memory.get_mut(&message.partition()) else { return Ok(()) };
            devices += 1;
            if let Err(error) = partition.restore_record(message.key().unwrap_or_default(), message.payload())
            {
                skipped.record(topic, message, &error);
            }
            Ok(())
        })?;
        self.devices += devices;
        if at_end {
            // A fetch that waits for new records would delay the request for bounds.
            self.committed.unassign().map_err(|e| failed("reading state", &e))?;
            let partitions: Vec<_> =
                self.partitions.iter().map(|&partition| (Source::Events, partition)).collect();
            let bounds = bounds(&self.committed, &self.named(&partitions))?;
            let bounds =
                self.partitions.iter().zip(bounds).map(|(&partition, (first, end))| (partition, first, end));
            let search = NewestSearch::new(bounds);
            self.read(Source::Events, &search.start())?;
            self.phase = Phase::NewestEvents(search);
        }
        Ok(false)
    }

    fn find_newest_events(&mut self, until: Instant) -> Result<bool, Error> {
        let Phase::NewestEvents(search) = &mut self.phase else { return Ok(false) };
        let topic = &self.events_topic;
        let at_end = read_until(&mut self.committed, until, |message| {
            let batch = match Batch::decode(message.payload().unwrap_or_default()) {
                Ok(batch) => batch,
                Err(source) if source.is_newer() => return Err(batch_error(topic, message, source)),
                // The next phase reads it again and counts it.
                Err(_) => return Ok(()),
            };
            let received_ms = batch.number_column(Field::ReceivedAt).iter().copied().max().unwrap_or(0);
            search.found(message.partition(), received_ms);
            Ok(())
        })?;
        if !at_end {
            return Ok(false);
        }
        let further = search.look_further();
        if !further.is_empty() {
            self.read(Source::Events, &further)?;
            return Ok(false);
        }
        // The timestamp of a message is at or after the receive times of its events.
        let margin_ms = self.options.window_ms + CLOCK_MARGIN_MS;
        let starts =
            search.newest().map(|(partition, received_ms)| (partition, (received_ms - margin_ms).max(0)));
        let from = offsets_at(&self.committed, &self.events_topic, &starts.collect::<Vec<_>>())?;
        self.read(Source::Events, &from)?;
        self.phase = Phase::Window;
        Ok(false)
    }

    fn read_window(&mut self, memory: &mut HashMap<i32, Partition>, until: Instant) -> Result<bool, Error> {
        let RestoreOptions { identity, rules, .. } = &self.options;
        let Self { events_topic: topic, skipped, events, .. } = self;
        let at_end = read_until(&mut self.committed, until, |message| {
            let Some(partition) = memory.get_mut(&message.partition()) else { return Ok(()) };
            match partition.restore_batch(message.payload().unwrap_or_default(), identity, rules) {
                Ok(restored) => *events += restored as u64,
                Err(source) if source.is_newer() => return Err(batch_error(topic, message, source)),
                Err(error) => skipped.record(topic, message, &error),
            }
            Ok(())
        })?;
        if at_end {
            let days = &mut self.options.days;
            for partition in &self.partitions {
                memory.entry(*partition).and_modify(|memory| memory.restored(days));
            }
        }
        Ok(at_end)
    }

    fn topic(&self, source: Source) -> &str {
        match source {
            Source::State => &self.state_topic,
            Source::Events => &self.events_topic,
        }
    }

    fn named(&self, partitions: &[(Source, i32)]) -> Vec<(&str, i32)> {
        partitions.iter().map(|&(source, partition)| (self.topic(source), partition)).collect()
    }

    fn read(&mut self, source: Source, from: &[(i32, Offset)]) -> Result<(), Error> {
        let topic = self.topic(source).to_owned();
        self.committed.read_to_end(&topic, from).map_err(|e| failed("reading state", &e))
    }

    fn report(&mut self, done: bool) {
        let (devices, events, seconds) = (self.devices, self.events, self.started.elapsed().as_secs_f64());
        let (worker, partitions) = (&self.options.worker, &self.partitions);
        let phase = match &self.phase {
            _ if done => "done",
            Phase::OpenTransactions(_) => "waiting until open transactions of the earlier owner have ended",
            Phase::Changelog => "reading the changelog",
            Phase::NewestEvents(_) | Phase::Window => "reading the de-duplication window",
        };
        self.options.health.report(
            worker,
            "restore",
            json!({"phase": phase, "partitions": partitions, "devices": devices, "events": events, "seconds": seconds}),
        );
        if done {
            self.skipped.report();
            tracing::info!(worker, ?partitions, devices, events, seconds, "state restored");
            metrics::counter!("millrace_enrich_restored_devices_total").increment(devices);
            metrics::counter!("millrace_enrich_restored_events_total").increment(events);
            metrics::histogram!("millrace_enrich_restore_seconds").record(seconds);
        } else if self.logged.elapsed() >= LOG_INTERVAL {
            self.logged = Instant::now();
            tracing::info!(worker, ?partitions, devices, events, seconds, phase, "restoring state");
        }
    }
}

/// Passes messages to `take` until the time `until`; true when every partition has been read to its end.
fn read_until(
    reader: &mut PartitionReader,
    until: Instant,
    mut take: impl FnMut(&BorrowedMessage<'_>) -> Result<(), Error>,
) -> Result<bool, Error> {
    let mut taken = 0_u32;
    loop {
        match reader.next(WAIT) {
            Ok(Read::Record(message)) => take(&message)?,
            Ok(Read::Idle) => return Ok(false),
            Ok(Read::End) => return Ok(true),
            Err(error) => tracing::warn!(%error, "restoring state: reading failed, librdkafka retries"),
        }
        taken += 1;
        // Reading the clock costs more CPU time than reading a message.
        if taken.is_multiple_of(256) && Instant::now() >= until {
            return Ok(false);
        }
    }
}

fn batch_error(topic: &str, message: &BorrowedMessage<'_>, source: event::BatchError) -> Error {
    Error::Batch { topic: topic.to_owned(), partition: message.partition(), offset: message.offset(), source }
}
