//! One worker of a lane: reads its partitions, folds what it reads, and writes all of them together, flush by
//! flush.
//!
//! The thread owns the assignment and every commit; inserts run as tasks and answer over a channel. A partition
//! has one flush under way at most, its next buffer fills meanwhile. Offsets are committed only after the rows
//! are in ClickHouse, and only while the partition has been ours without a break since its records were read.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use runtime::health::Health;
use runtime::shutdown::Shutdown;
use runtime::{NextOffset, Polled, Source};
use tokio::runtime::Handle;

use crate::Error;
use crate::accumulate::Tally;
use crate::block::Block;
use crate::insert::Writer;

/// A partition whose buffer has grown beyond either bound is paused until it has been flushed.
const MAX_BUFFERED_EVENTS: u64 = 250_000;
const MAX_BUFFERED_BYTES: usize = 32 * 1024 * 1024;
/// How long a rebalance waits for inserts that are under way.
const FINISH_WITHIN: Duration = Duration::from_secs(20);
/// How long a stop waits, for the inserts under way, the last flush and the commit together.
const STOP_WITHIN: Duration = Duration::from_secs(12);
const IDLE_POLL: Duration = Duration::from_millis(100);
/// While inserts are under way, so that their answers are seen soon.
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
    /// Why it cannot be read: the lane stops there, nothing is ever skipped.
    fn add(&mut self, input: &Input<'_>) -> Result<Added, String>;

    /// Takes the buffer of a partition as blocks; `source` and `end` go into the marker rows.
    fn flush(&mut self, partition: i32, source: String, end: u64) -> (Vec<Block>, Tally);

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
    /// Changes when the topic is made anew or read again on purpose, so that old tokens and markers do not hide
    /// the new rows.
    pub epoch: u32,
    /// Time between two flushes.
    pub flush_interval: Duration,
    /// Inserts a second that the flushes of this worker may cause; more partitions flush less often.
    pub max_inserts_per_second: u32,
}

/// Runs until a stop is requested. Everything read is then flushed and committed.
///
/// # Errors
/// A record cannot be read, ClickHouse refuses for good, or Kafka does.
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
    let mut lane = Lane {
        options,
        source,
        fold,
        writer,
        tokio,
        sender,
        answers,
        partitions: BTreeMap::new(),
        assignment: 0,
        to_commit: BTreeMap::new(),
        commit_failed: None,
        is_behind: false,
    };
    let mut next_flush = Instant::now() + lane.interval();
    while !shutdown.requested() {
        lane.collect_answers()?;
        let now = Instant::now();
        if now >= next_flush {
            lane.flush();
            next_flush = now + lane.interval();
            health.beat(&component);
        }
        let wait = next_flush.saturating_duration_since(now).min(lane.patience());
        match source.poll(wait)? {
            Polled::Idle => (),
            Polled::Record(message) => lane.record(&message)?,
            Polled::Assigned(partitions) => {
                lane.assigned(&partitions)?;
                health.report(&component, "partitions", partitions);
                health.set_ready(&component, true);
            }
            Polled::Revoked { partitions, lost } => {
                lane.revoked(&partitions, lost)?;
                health.report(&component, "partitions", Vec::<i32>::new());
            }
        }
    }
    lane.finish()
}

struct Lane<'a> {
    options: LaneOptions,
    source: &'a Source,
    fold: Box<dyn LaneFold>,
    writer: Arc<Writer>,
    tokio: Handle,
    sender: Sender<Answer>,
    answers: Receiver<Answer>,
    partitions: BTreeMap<i32, Partition>,
    /// Grows with each assignment. The broker checks who is in the group, not who owns a partition: an answer that
    /// belongs to an earlier assignment must not be committed.
    assignment: u64,
    to_commit: BTreeMap<i32, NextOffset>,
    commit_failed: Option<Instant>,
    /// The newest record of the last flush was a backlog's.
    is_behind: bool,
}

struct Partition {
    /// Where the buffer begins.
    begin: NextOffset,
    /// The offset after the last record read.
    next: NextOffset,
    events: u64,
    bytes: usize,
    flushing: bool,
    paused: bool,
}

impl Partition {
    fn has_records(&self) -> bool {
        self.next != self.begin
    }

    fn is_full(&self) -> bool {
        self.events >= MAX_BUFFERED_EVENTS || self.bytes >= MAX_BUFFERED_BYTES
    }
}

/// What became of one partition's flush.
struct Answer {
    partition: i32,
    assignment: u64,
    end: NextOffset,
    result: Result<(), Error>,
}

impl Lane<'_> {
    fn interval(&self) -> Duration {
        let inserts = self.partitions.len() as f64 / f64::from(self.options.max_inserts_per_second.max(1));
        let interval = self.options.flush_interval.max(Duration::from_secs_f64(inserts));
        if self.is_behind { interval * BACKLOG_INTERVALS } else { interval }
    }

    fn patience(&self) -> Duration {
        if self.partitions.values().any(|partition| partition.flushing) { BUSY_POLL } else { IDLE_POLL }
    }

    fn assigned(&mut self, partitions: &[i32]) -> Result<(), Error> {
        self.assignment += 1;
        let positions = self.source.committed_or_start(partitions)?;
        for &(partition, next) in &positions {
            let fresh = Partition { begin: next, next, events: 0, bytes: 0, flushing: false, paused: false };
            self.partitions.insert(partition, fresh);
        }
        tracing::info!(lane = self.options.lane, ?partitions, "partitions assigned");
        Ok(self.source.start(&positions)?)
    }

    /// What was not flushed is dropped: its offsets are not committed, so the next owner reads it.
    fn revoked(&mut self, partitions: &[i32], lost: bool) -> Result<(), Error> {
        tracing::info!(lane = self.options.lane, ?partitions, lost, "partitions revoked");
        if lost {
            self.to_commit.clear();
        } else {
            self.wait_for_inserts(Instant::now() + FINISH_WITHIN)?;
            self.commit()?;
        }
        self.assignment += 1;
        self.to_commit.clear();
        for (partition, _) in std::mem::take(&mut self.partitions) {
            self.fold.discard(partition);
        }
        Ok(self.source.release()?)
    }

    fn record(&mut self, message: &BorrowedMessage<'_>) -> Result<(), Error> {
        let (partition, offset) = (message.partition(), message.offset());
        let Some(state) = self.partitions.get_mut(&partition) else { return Ok(()) };
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
        let added = self.fold.add(&input).map_err(|problem| Error::Undecodable {
            topic: message.topic().to_owned(),
            partition,
            offset,
            problem,
        })?;
        state.next = NextOffset(offset + 1);
        state.events += added.events;
        state.bytes += added.bytes;
        if state.is_full() && !state.paused {
            state.paused = true;
            self.source.pause(&[partition])?;
        }
        Ok(())
    }

    /// Takes the buffer of every partition that has one and no flush under way, and starts its inserts.
    fn flush(&mut self) {
        let ready: Vec<i32> = self
            .partitions
            .iter()
            .filter(|(_, state)| state.has_records() && !state.flushing)
            .map(|(&partition, _)| partition)
            .collect();
        let newest = ready.into_iter().map(|partition| self.flush_partition(partition)).max();
        if let Some(newest) = newest {
            self.is_behind = now_ms() - newest > BACKLOG_AGE.as_millis() as i64;
        }
    }

    /// Returns when the newest of its records was received, epoch milliseconds; 0 when that is not known.
    fn flush_partition(&mut self, partition: i32) -> i64 {
        let Some(state) = self.partitions.get_mut(&partition) else { return 0 };
        let (begin, end) = (state.begin, state.next);
        (state.begin, state.events, state.bytes) = (end, 0, 0);
        state.flushing = true;
        if std::mem::take(&mut state.paused)
            && let Err(error) = self.source.resume(&[partition])
        {
            tracing::warn!(lane = self.options.lane, partition, %error, "resuming failed");
        }
        let LaneOptions { lane, epoch, .. } = self.options;
        let topic = self.source.topic();
        let (blocks, tally) =
            self.fold.flush(partition, format!("{epoch}/{topic}/{partition}"), end.0 as u64);
        metrics::counter!("millrace_aggregate_events_total", "lane" => lane).increment(tally.events);
        metrics::counter!("millrace_aggregate_overflowed_events_total", "lane" => lane)
            .increment(tally.overflowed);
        let range = format!("{epoch}:{topic}:{partition}:{}-{}", begin.0, end.0);
        let (writer, sender, assignment) = (Arc::clone(&self.writer), self.sender.clone(), self.assignment);
        self.tokio.spawn(async move {
            let result = insert_all(&writer, &blocks, &range).await;
            if result.is_ok() && tally.received_max > 0 {
                writer.inserted_up_to(tally.received_max);
            }
            // The lane has gone when nobody listens: then nothing is committed.
            let _ = sender.send(Answer { partition, assignment, end, result });
        });
        tally.received_max
    }

    fn collect_answers(&mut self) -> Result<(), Error> {
        while let Ok(answer) = self.answers.try_recv() {
            self.answered(answer)?;
        }
        let due = self.commit_failed.is_none_or(|at| at.elapsed() >= COMMIT_AGAIN_AFTER);
        if due { self.commit() } else { Ok(()) }
    }

    fn answered(&mut self, answer: Answer) -> Result<(), Error> {
        answer.result?;
        if answer.assignment != self.assignment {
            return Ok(());
        }
        if let Some(state) = self.partitions.get_mut(&answer.partition) {
            state.flushing = false;
            self.to_commit.insert(answer.partition, answer.end);
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        if self.to_commit.is_empty() {
            return Ok(());
        }
        let offsets: Vec<_> =
            self.to_commit.iter().map(|(&partition, &next)| (partition, next, "")).collect();
        match self.source.commit(&offsets) {
            Ok(()) => {
                self.to_commit.clear();
                self.commit_failed = None;
                Ok(())
            }
            Err(error @ runtime::Error::Fenced(_)) => Err(error.into()),
            Err(error) => {
                // The rows are in; a rebalance or a broker's restart passes, and a later commit covers this one.
                tracing::warn!(lane = self.options.lane, %error, "offsets not committed yet, trying again");
                self.commit_failed = Some(Instant::now());
                Ok(())
            }
        }
    }

    /// Waits until no insert is under way, for a bounded time: the group waits with us.
    fn wait_for_inserts(&mut self, deadline: Instant) -> Result<bool, Error> {
        while self.partitions.values().any(|state| state.flushing) {
            match self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(answer) => self.answered(answer)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    tracing::error!(
                        lane = self.options.lane,
                        "inserts still under way are given up; offsets stay"
                    );
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn finish(mut self) -> Result<(), Error> {
        let deadline = Instant::now() + STOP_WITHIN;
        let mut finished = self.wait_for_inserts(deadline)?;
        if finished {
            self.flush();
            finished = self.wait_for_inserts(deadline)?;
        }
        self.commit()?;
        while !self.to_commit.is_empty() && Instant::now() < deadline {
            std::thread::sleep(COMMIT_AGAIN_AFTER);
            self.commit()?;
        }
        if finished && self.to_commit.is_empty() {
            return Ok(());
        }
        Err(Error::Stopped(format!(
            "lane {}: stopped before everything was written; the rest will be read again",
            self.options.lane
        )))
    }
}

async fn insert_all(writer: &Writer, blocks: &[Block], range: &str) -> Result<(), Error> {
    for (chunk, block) in blocks.iter().enumerate() {
        writer.insert(block, &format!("{range}:{chunk}")).await?;
    }
    Ok(())
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
