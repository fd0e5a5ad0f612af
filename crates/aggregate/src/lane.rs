//! One worker of a lane: reads its partitions, folds what it reads, and writes all of them together, flush by
//! flush.
//!
//! The thread owns the assignment and every commit; what concerns ClickHouse runs as tasks ([`delivery`](crate::delivery))
//! that answer over a channel. A partition has one flush under way at most, its next buffer fills meanwhile. A commit
//! carries the intents of all partitions that flush together, and with them the ends of their last flushes.
mod assignment;
mod commit;
mod flush;
mod halt;
mod stop;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use event::{NextOffset, Start};
use kafka::{GroupConsumer, Polled};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use runtime::failpoint::{self, Step};
use runtime::health::Health;
use runtime::shutdown::Shutdown;
use tokio::runtime::Handle;
use xxhash_rust::xxh3::Xxh3;

use self::commit::Commit;
use crate::Error;
use crate::block::{Block, Mark};
use crate::delivery::{Answer, Delivery, LONGEST_PAUSE, Work};
use crate::fold::{FlushCounts, Input, LaneFold};
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
/// A stop gives up on a server only after this: by then each insert that waits for its next attempt has made it.
const ONE_MORE_ATTEMPT: Duration = LONGEST_PAUSE.saturating_add(Duration::from_secs(1));
const IDLE_POLL: Duration = Duration::from_millis(100);
/// While answers are awaited, so that they are seen soon.
const BUSY_POLL: Duration = Duration::from_millis(10);
const COMMIT_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Records older than this are a backlog. Nobody waits for their freshness, so they are written in larger and
/// fewer inserts, which is what makes catching up fast.
const BACKLOG_AGE: Duration = Duration::from_secs(5);
const BACKLOG_INTERVALS: u32 = 4;
/// A lane that flushes less often than this commits the ends of its flushes at once, not with the next flush.
const SOON: Duration = Duration::from_secs(3);
const BEAT_EVERY: Duration = Duration::from_secs(5);

/// How a lane runs.
#[derive(Debug, Clone)]
pub struct LaneOptions {
    /// Its name, such as `live`; the label of its metrics.
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
    source: &GroupConsumer,
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
    let mut next_beat = Instant::now();
    while !shutdown.requested() {
        lane.collect_answers()?;
        let now = Instant::now();
        let is_due = now >= next_flush;
        if is_due {
            lane.flush(Partition::is_ready);
            next_flush = now + lane.interval();
        } else {
            // A partition that has no room left does not wait for the others.
            lane.flush(|state| state.is_paused && state.is_ready());
        }
        if now >= next_beat {
            health.heartbeat(&lane.component);
            next_beat = now + BEAT_EVERY;
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
    source: &'a GroupConsumer,
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
}
