//! One worker of a lane: reads its partitions, folds what it reads, and writes all of them together, flush by
//! flush.
//!
//! The thread owns the assignment and every commit; what concerns ClickHouse runs as tasks ([`delivery`](crate::delivery))
//! that answer over a channel. A partition has one flush under way at most, its next buffer fills meanwhile. A commit
//! carries the intents of all partitions that flush together, and with them the ends of their last flushes.
mod assignment;
mod halt;
mod stop;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use runtime::config::Start;
use runtime::drill::{self, Step};
use runtime::health::Health;
use runtime::shutdown::Shutdown;
use runtime::{NextOffset, Polled, Source};
use tokio::runtime::Handle;
use xxhash_rust::xxh3::Xxh3;

use crate::Error;
use crate::accumulate::Tally;
use crate::block::{Block, Mark};
use crate::delivery::{Answer, Delivery, Work};
use crate::insert::Writer;
use crate::partition::{Halted, Partition};
use crate::protocol::{self, Action, Begin, Flush, Found, Intent, Rules};
use crate::time::now_ms;

/// How long a rebalance waits for inserts that are under way.
const FINISH_WITHIN: Duration = Duration::from_secs(20);
/// How long a stop waits, for the inserts under way, the last flush and its commit together.
const STOP_WITHIN: Duration = Duration::from_secs(12);
/// How long a stop waits for a server that does not answer. Nothing is lost or doubled by giving up: what was not
/// announced is not inserted, what was announced is recovered.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3);
const IDLE_POLL: Duration = Duration::from_millis(100);
/// While answers are awaited, so that they are seen soon.
const BUSY_POLL: Duration = Duration::from_millis(10);
const COMMIT_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Records older than this are a backlog. Nobody waits for their freshness, so they are written in larger and
/// fewer inserts, which is what makes catching up fast.
const BACKLOG_AGE: Duration = Duration::from_secs(5);
const BACKLOG_INTERVALS: u32 = 4;

/// A record as a lane sees it.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its time in epoch milliseconds.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its bytes.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Vec<(&'a str, &'a [u8])>,
}

/// What a record added to the buffer of its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// Events or letters.
    pub events: u64,
    /// Bytes held in memory, roughly.
    pub bytes: usize,
}

/// What a lane makes of records. Buffers are kept per partition; what a flush gives depends on nothing but the
/// records added since the partition's last one.
pub trait LaneFold: Send {
    /// Folds a record into the buffer of its partition.
    ///
    /// # Errors
    /// Why it cannot be read: the partition halts there, nothing is ever skipped.
    fn add(&mut self, input: &Input<'_>) -> Result<Added, String>;

    /// Takes the buffer of a partition as blocks; `mark` goes into the marker rows.
    fn flush(&mut self, partition: i32, mark: Mark) -> (Vec<Block>, Tally);

    /// Drops the buffer of a partition.
    fn discard(&mut self, partition: i32);
}

/// How a lane runs.
#[derive(Debug, Clone)]
pub struct LaneOptions {
    /// `live` or `dead_letters`; the label of its metrics.
    pub lane: &'static str,
    /// Number of this worker, for the health report.
    pub worker: usize,
    /// Time between two flushes.
    pub flush_interval: Duration,
    /// Inserts a second that the flushes of this worker may cause; more partitions flush less often.
    pub max_inserts_per_second: u32,
    /// Where a partition begins that its group never committed.
    pub start: Start,
    /// How often rows are sent again that ClickHouse refuses.
    pub retry_halted: Duration,
    /// What exactly-once rests on.
    pub rules: Rules,
}

/// Runs until a stop is requested. Everything read is then flushed and committed.
///
/// # Errors
/// Kafka refuses, or not everything could be written before the stop.
pub fn run(
    options: LaneOptions,
    source: &Source,
    fold: Box<dyn LaneFold>,
    writer: Arc<Writer>,
    tokio: Handle,
    shutdown: &Shutdown,
    health: &Health,
) -> Result<(), Error> {
    let component = format!("{}-{}", options.lane, options.worker);
    health.set_ready(&component, false);
    let (sender, answers) = channel();
    let delivery = Arc::new(Delivery {
        lane: options.lane,
        topic: source.topic().to_owned(),
        writer,
        rules: options.rules,
        retry_halted: options.retry_halted,
        assignment: AtomicU64::new(0),
        answers: sender,
    });
    let mut lane = Lane {
        options,
        source,
        fold,
        delivery,
        tokio,
        answers,
        health,
        component,
        partitions: BTreeMap::new(),
        assignment: 0,
        to_announce: BTreeMap::new(),
        commit: None,
        commit_failed: None,
        commit_failing_since: None,
        is_behind: false,
    };
    let mut next_flush = Instant::now() + lane.interval();
    while !shutdown.requested() {
        lane.collect_answers()?;
        let now = Instant::now();
        let is_due = now >= next_flush;
        if is_due {
            lane.flush();
            next_flush = now + lane.interval();
            health.beat(&lane.component);
        }
        lane.commit(is_due)?;
        let wait = next_flush.saturating_duration_since(now).min(lane.patience());
        match source.poll(wait)? {
            Polled::Idle => (),
            Polled::Record(message) => lane.record(&message)?,
            Polled::Assigned(partitions) => lane.assigned(&partitions)?,
            Polled::Revoked { partitions, lost } => lane.revoked(&partitions, lost)?,
        }
    }
    lane.finish()
}

struct Lane<'a> {
    options: LaneOptions,
    source: &'a Source,
    fold: Box<dyn LaneFold>,
    delivery: Arc<Delivery>,
    tokio: Handle,
    answers: Receiver<Answer>,
    health: &'a Health,
    component: String,
    partitions: BTreeMap<i32, Partition>,
    /// Grows with each assignment; see [`Delivery::assignment`].
    assignment: u64,
    /// Flushes whose intents the next commit carries.
    to_announce: BTreeMap<i32, Work>,
    /// The commit under way. Its answer is awaited before the next one, whatever happens to the assignment.
    commit: Option<Commit>,
    commit_failed: Option<Instant>,
    commit_failing_since: Option<Instant>,
    /// The newest record of the last flush was a backlog's.
    is_behind: bool,
}

struct Commit {
    assignment: u64,
    /// Partitions whose intents it carries.
    announced: BTreeSet<i32>,
    /// Partitions whose flushes it ends.
    done: BTreeMap<i32, NextOffset>,
    begun: Instant,
}

impl Lane<'_> {
    fn interval(&self) -> Duration {
        let inserts = self.partitions.len() as f64 / f64::from(self.options.max_inserts_per_second.max(1));
        let interval = self.options.flush_interval.max(Duration::from_secs_f64(inserts));
        if self.is_behind { interval * BACKLOG_INTERVALS } else { interval }
    }

    fn patience(&self) -> Duration {
        let waits = self.commit.is_some() || self.partitions.values().any(|partition| partition.is_busy);
        if waits { BUSY_POLL } else { IDLE_POLL }
    }

    fn record(&mut self, message: &BorrowedMessage<'_>) -> Result<(), Error> {
        let (partition, offset) = (message.partition(), message.offset());
        let Some(state) = self.partitions.get_mut(&partition) else { return Ok(()) };
        if !state.reads() {
            return Ok(());
        }
        if let Some(intent) = &state.replay
            && offset >= intent.end.0
        {
            // Its last record is not where it was, so the flush cannot be the same.
            let halt = protocol::Halt::RecordsGone { offset: intent.end.0 - 1, low: offset };
            self.halt(partition, Halted::ForGood(halt.to_string()));
            return Ok(());
        }
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key, header.value.unwrap_or_default())).collect()
        });
        let input = Input {
            partition,
            offset,
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            key: message.key(),
            value: message.payload(),
            headers,
        };
        match self.fold.add(&input) {
            Ok(added) => {
                state.next = NextOffset(offset + 1);
                state.events += added.events;
                state.bytes += added.bytes;
            }
            Err(problem) => {
                let reason = format!(
                    "the record at offset {offset} cannot be read: {problem}; run a version that can, or stop this \
                     stage and set the group's offset to {} to go on without the record",
                    offset + 1
                );
                self.halt(partition, Halted::AtRecord(reason));
                return Ok(());
            }
        }
        if state.replay.as_ref().is_some_and(|intent| state.next == intent.end) {
            self.rebuild(partition);
        } else if state.is_full() && !state.is_paused {
            state.is_paused = true;
            self.source.pause(&[partition])?;
        }
        Ok(())
    }

    /// Freezes the buffer of every partition that has one and no flush under way.
    fn flush(&mut self) {
        let ready: Vec<i32> = self
            .partitions
            .iter()
            .filter(|(_, state)| state.is_ready())
            .map(|(&partition, _)| partition)
            .collect();
        let newest = ready.into_iter().map(|partition| self.freeze(partition)).max();
        if let Some(newest) = newest {
            self.is_behind = now_ms() - newest > BACKLOG_AGE.as_millis() as i64;
        }
    }

    /// Returns when the newest of its records was received, epoch milliseconds; 0 when that is not known.
    fn freeze(&mut self, partition: i32) -> i64 {
        let epoch = self.options.rules.epoch;
        let Some((begin, end, blocks, tally)) = self.take_buffer(partition, epoch, None) else { return 0 };
        let first = blocks.first();
        let ledger_week = first.and_then(|block| block.weeks().first().copied()).unwrap_or(0);
        let markers = blocks.iter().map(|block| block.weeks().len()).sum();
        let (hash, chunks) = (digest(&blocks), blocks.len());
        let intent = Intent { end, committed_ms: 0, epoch, hash, chunks, markers, ledger_week };
        let weeks = blocks.iter().map(|block| block.weeks().clone()).collect();
        let received_max = tally.received_max;
        let (assignment, is_recovered) = (self.assignment, false);
        let flush = Flush::new(begin, intent, weeks);
        self.go_on(Work { partition, assignment, flush, blocks, received_max, is_recovered });
        received_max
    }

    /// Takes the buffer of a partition, which now has a flush under way, and reads on.
    fn take_buffer(
        &mut self,
        partition: i32,
        epoch: u32,
        ledger_week: Option<u32>,
    ) -> Option<(NextOffset, NextOffset, Vec<Block>, Tally)> {
        let state = self.partitions.get_mut(&partition)?;
        let (begin, end) = (state.begin, state.next);
        (state.begin, state.events, state.bytes) = (end, 0, 0);
        state.is_busy = true;
        if std::mem::take(&mut state.is_paused)
            && state.reads()
            && let Err(error) = self.source.resume(&[partition])
        {
            tracing::warn!(lane = self.options.lane, partition, %error, "resuming failed");
        }
        let source = protocol::source(epoch, &self.delivery.topic, partition);
        let mark = Mark { source, end: end.0 as u64, ledger_week };
        let (blocks, tally) = self.fold.flush(partition, mark);
        let lane = self.options.lane;
        metrics::counter!("millrace_aggregate_events_total", "lane" => lane).increment(tally.events);
        metrics::counter!("millrace_aggregate_overflowed_events_total", "lane" => lane)
            .increment(tally.overflowed);
        Some((begin, end, blocks, tally))
    }

    /// The records of an earlier process's flush have been read again, all of them.
    fn rebuild(&mut self, partition: i32) {
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        let Some(old) = state.replay.take() else { return };
        let Some((begin, _, blocks, tally)) = self.take_buffer(partition, old.epoch, Some(old.ledger_week))
        else {
            return;
        };
        let weeks = blocks.iter().map(|block| block.weeks().clone()).collect();
        let flush = Flush::recovered(begin, &old, digest(&blocks), weeks, now_ms(), &self.options.rules);
        let lane = self.options.lane;
        metrics::counter!("millrace_aggregate_intents_replayed_total", "lane" => lane).increment(1);
        let (begin, end) = (begin.0, old.end.0);
        if flush.is_of_another_shape() {
            let waits_ms = (old.committed_ms - now_ms() + self.options.rules.longest_insert_ms).max(0);
            tracing::warn!(
                lane,
                partition,
                begin,
                end,
                waits_ms,
                "intent replayed, but this program or its cubes builds other rows; waiting until no insert of the \
                 earlier ones can be running, then the markers decide"
            );
        } else {
            tracing::info!(lane, partition, begin, end, "intent replayed");
        }
        let (assignment, received_max, is_recovered) = (self.assignment, tally.received_max, true);
        let work = Work { partition, assignment, flush, blocks, received_max, is_recovered };
        match self.partitions.get_mut(&partition) {
            Some(state) if !state.is_cleared => state.replayed = Some(work),
            _ => self.go_on(work),
        }
    }

    /// The next step of a flush: ours, or a task's.
    fn go_on(&mut self, work: Work) {
        let partition = work.partition;
        match work.flush.next(now_ms(), &self.options.rules) {
            Action::Announce => {
                self.to_announce.insert(partition, work);
            }
            Action::Done => {
                if work.received_max > 0 {
                    self.delivery.writer.inserted_up_to(work.received_max);
                }
                if work.is_recovered {
                    let (begin, end) = (work.flush.begin().0, work.flush.end().0);
                    tracing::info!(lane = self.options.lane, partition, begin, end, "recovered");
                }
                if let Some(state) = self.partitions.get_mut(&partition) {
                    state.is_busy = false;
                    state.done = Some(work.flush.end());
                }
            }
            Action::Halt(halt) => self.halt(partition, Halted::ForGood(halt.to_string())),
            Action::WaitUntil(_) | Action::ReadMarkers { .. } | Action::Insert { .. } => {
                let delivery = Arc::clone(&self.delivery);
                self.tokio.spawn(async move { delivery.deliver(work).await });
            }
        }
    }

    fn collect_answers(&mut self) -> Result<(), Error> {
        while let Ok(answer) = self.answers.try_recv() {
            self.answered(answer);
        }
        self.collect_commit()
    }

    fn answered(&mut self, answer: Answer) {
        let (Answer::Back(Work { assignment, .. })
        | Answer::Refused { assignment, .. }
        | Answer::Accepted { assignment, .. }
        | Answer::Newest { assignment, .. }) = &answer;
        if *assignment != self.assignment {
            return;
        }
        match answer {
            Answer::Back(work) => self.go_on(work),
            Answer::Refused { partition, cause, .. } => {
                for partition in self.meant(partition) {
                    self.halt(partition, Halted::Refused(cause.clone()));
                }
            }
            Answer::Accepted { partition, .. } => {
                for partition in self.meant(partition) {
                    self.unhalt(partition);
                }
            }
            Answer::Newest { newest, .. } => self.compare_with_markers(&newest),
        }
    }

    fn meant(&self, partition: Option<i32>) -> Vec<i32> {
        let waits = |partition: i32| self.partitions.get(&partition).is_some_and(|state| !state.is_cleared);
        match partition {
            Some(partition) => vec![partition],
            None => self.partitions.keys().copied().filter(|&partition| waits(partition)).collect(),
        }
    }

    /// Commits the intents that wait, with the ends of finished flushes. Ends alone wait for the next flush where
    /// there will be one soon.
    fn commit(&mut self, is_due: bool) -> Result<(), Error> {
        let may_try = self.commit_failed.is_none_or(|at| at.elapsed() >= COMMIT_AGAIN_AFTER);
        if self.commit.is_some() || !may_try {
            return Ok(());
        }
        let ends = || self.partitions.values().filter(|state| state.done.is_some());
        let ends_are_due = ends().next().is_some() && (is_due || ends().all(|state| !state.has_records()));
        if self.to_announce.is_empty() && !ends_are_due {
            return Ok(());
        }
        let mut offsets: BTreeMap<i32, (NextOffset, String)> = BTreeMap::new();
        let mut done = BTreeMap::new();
        for (&partition, state) in &self.partitions {
            if let Some(end) = state.done {
                done.insert(partition, end);
                offsets.insert(partition, (end, String::new()));
            }
        }
        let now = now_ms();
        for (&partition, work) in &mut self.to_announce {
            offsets.insert(partition, (work.flush.begin(), work.flush.announce(now)));
        }
        let announced: BTreeSet<i32> = self.to_announce.keys().copied().collect();
        if !announced.is_empty() {
            drill::before(Step::Intent);
        }
        if !done.is_empty() {
            drill::before(Step::Done);
        }
        let list: Vec<_> =
            offsets.iter().map(|(&partition, (next, text))| (partition, *next, text.as_str())).collect();
        let commit = Commit { assignment: self.assignment, announced, done, begun: Instant::now() };
        match self.source.begin_commit(&list) {
            Ok(()) => {
                self.commit = Some(commit);
                Ok(())
            }
            refused => self.commit_answered(commit, refused),
        }
    }

    fn collect_commit(&mut self) -> Result<(), Error> {
        let Some(answer) = self.source.commit_answer() else { return Ok(()) };
        let Some(commit) = self.commit.take() else { return Ok(()) };
        self.commit_answered(commit, answer)
    }

    fn commit_answered(&mut self, commit: Commit, answer: Result<(), runtime::Error>) -> Result<(), Error> {
        match answer {
            Ok(()) => {
                (self.commit_failed, self.commit_failing_since) = (None, None);
                self.committed(commit);
                Ok(())
            }
            Err(error @ runtime::Error::Fenced(_)) => Err(error.into()),
            Err(error) => {
                // A rebalance or a broker's restart passes, and a later commit covers this one.
                tracing::warn!(lane = self.options.lane, %error, "offsets not committed yet, trying again");
                self.commit_failing_since.get_or_insert(commit.begun);
                self.commit_failed = Some(Instant::now());
                Ok(())
            }
        }
    }

    fn committed(&mut self, commit: Commit) {
        if !commit.announced.is_empty() {
            drill::after(Step::Intent);
        }
        if !commit.done.is_empty() {
            drill::after(Step::Done);
        }
        if commit.assignment != self.assignment {
            return;
        }
        for (partition, end) in commit.done {
            if let Some(state) = self.partitions.get_mut(&partition)
                && state.done == Some(end)
            {
                state.done = None;
            }
        }
        for partition in commit.announced {
            if let Some(mut work) = self.to_announce.remove(&partition) {
                work.flush.announced();
                self.go_on(work);
            }
        }
    }
}

/// A fingerprint of all blocks of a flush.
fn digest(blocks: &[Block]) -> u128 {
    let mut hasher = Xxh3::new();
    for block in blocks {
        hasher.update(&block.digest().to_le_bytes());
    }
    hasher.digest128()
}
