//! The life of one Kafka partition in a lane, as one transition function: a [`Signal`] comes in, the state changes,
//! [`Command`]s go out. The lane executes the commands and decides nothing; the model test in `lane/model` drives this
//! same code against a model of Kafka and ClickHouse.
//!
//! A partition reads and writes at the same time, so its state has two halves: [`Reading`] fills the buffer,
//! [`Writing`] carries one flush at a time into the table. Both halves end together in `Halted`.
//!
//! The rule: records leave the buffer only as the rows of a flush, in one range [b, c), and an offset is committed
//! only when the rows of all records below it are in the table.
//!
//! It is one file because its transitions are read against each other: each half relies on what the other may do.
use std::collections::BTreeSet;

use event::NextOffset;

use super::signal::{Built, Command, CommitRequest, Delay, Delivered, Delivery, Report, Signal};
use crate::protocol::{self, Flush, Halt, Intent, Rules, Start, Step, TokenParts};
use crate::server::ErrorClass;

/// A buffer beyond either bound pauses its partition until the next flush, however much memory is free.
const MAX_BUFFERED_EVENTS: u64 = 250_000;
const MAX_BUFFERED_BYTES: usize = 32 * 1024 * 1024;

/// A partition that is assigned to this process.
#[derive(Debug)]
pub(crate) enum Partition {
    /// Reads and writes.
    Running(Box<Running>),
    /// Reads and writes nothing until an operator acts and the process restarts.
    Halted {
        /// What happened and what to do.
        reason: String,
        /// What may still be committed.
        progress: Progress,
    },
}

#[derive(Debug)]
pub(crate) struct Running {
    reading: Reading,
    /// The consumer is paused. Records that were already fetched still go into the buffer.
    is_paused: bool,
    buffer: Buffer,
    writing: Writing,
    /// Bytes of the blocks of the flush in progress; while they are built, bytes of the records.
    flush_bytes: usize,
    progress: Progress,
    /// The permanent error that ClickHouse returned last; the request is retried at long intervals.
    blocked: Option<String>,
}

/// What happens to records that arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reading {
    /// An earlier process announced a flush of exactly these records: they are read again, up to the intent's end.
    Replay(Intent),
    /// They go into the buffer.
    Open,
    /// A record cannot be read. The buffer below it is still written; nothing behind it is read.
    Stopped(String),
    /// The partition is being revoked: the next owner reads them.
    Revoked,
}

/// The records that were read and not flushed yet: the range they stand for, and their size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Buffer {
    begin: NextOffset,
    next: NextOffset,
    events: u64,
    bytes: usize,
}

/// The flush in progress. At most one per partition.
#[derive(Debug)]
enum Writing {
    /// The newest marker of the partition is not known yet, so no insert may start. A flush of an earlier process that
    /// was rebuilt meanwhile waits here.
    Unchecked { start: Start, recovered: Option<Flush> },
    /// The lane builds the blocks of [begin, end). `unchecked` as in [`Writing::Unchecked`].
    Building { begin: NextOffset, end: NextOffset, old: Option<Intent>, unchecked: Option<Start> },
    /// No flush.
    Idle,
    /// The next commit carries its intent.
    Announcing(Flush),
    /// A delivery task executes its current step.
    Delivering { flush: Flush, retries: u32 },
}

/// Everything below `written` is in the table; everything below `committed` is committed as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    written: NextOffset,
    committed: NextOffset,
}

impl Buffer {
    fn empty(begin: NextOffset) -> Self {
        Self { begin, next: begin, events: 0, bytes: 0 }
    }

    fn is_empty(&self) -> bool {
        self.next == self.begin
    }

    fn is_full(&self) -> bool {
        self.events >= MAX_BUFFERED_EVENTS || self.bytes >= MAX_BUFFERED_BYTES
    }
}

impl Partition {
    /// A partition that was assigned just now. With `checks_markers` no insert starts before
    /// [`Signal::NewestMarker`].
    pub(crate) fn new(start: Start, checks_markers: bool) -> Self {
        let (next, reading) = match &start {
            Start::Read(next) => (*next, Reading::Open),
            Start::Replay(next, intent) => (*next, Reading::Replay(intent.clone())),
        };
        let writing =
            if checks_markers { Writing::Unchecked { start, recovered: None } } else { Writing::Idle };
        Self::Running(Box::new(Running {
            reading,
            is_paused: false,
            buffer: Buffer::empty(next),
            writing,
            flush_bytes: 0,
            progress: Progress { written: next, committed: next },
            blocked: None,
        }))
    }

    /// A partition that cannot start.
    pub(crate) fn halted(reason: String, committed: NextOffset) -> Self {
        Self::Halted { reason, progress: Progress { written: committed, committed } }
    }

    /// The transition function. `now_ms` is epoch milliseconds.
    pub(crate) fn on(&mut self, signal: Signal, now_ms: i64, rules: &Rules) -> Vec<Command> {
        match self {
            Self::Running(running) => match running.on(signal, now_ms, rules) {
                Ok(commands) => commands,
                Err(reason) => {
                    let progress = running.progress;
                    *self = Self::Halted { reason: reason.clone(), progress };
                    vec![Command::Discard, Command::Pause, Command::Report(Report::Halted(reason))]
                }
            },
            Self::Halted { progress, .. } => {
                if let Signal::EndCommitted(end) = signal {
                    progress.committed = progress.committed.max(end);
                }
                Vec::new()
            }
        }
    }

    /// What the next commit must carry for this partition. An intent is stamped with `now_ms`.
    pub(crate) fn commit_request(&mut self, now_ms: i64) -> Option<CommitRequest> {
        let end = self.uncommitted_end();
        if let Self::Running(running) = self
            && let Writing::Announcing(flush) = &mut running.writing
        {
            let metadata = flush.announce(now_ms);
            return Some(CommitRequest { next: flush.begin(), metadata, announces: true, end });
        }
        end.map(|next| CommitRequest { next, metadata: String::new(), announces: false, end })
    }

    /// The end of the last flush, when it is not committed yet.
    pub(crate) fn uncommitted_end(&self) -> Option<NextOffset> {
        let progress = match self {
            Self::Running(running) => running.progress,
            Self::Halted { progress, .. } => *progress,
        };
        (progress.written > progress.committed).then_some(progress.written)
    }

    /// An intent waits for the next commit.
    pub(crate) fn announces(&self) -> bool {
        self.running().is_some_and(|running| matches!(running.writing, Writing::Announcing(_)))
    }

    /// A flush is in progress.
    pub(crate) fn flushes(&self) -> bool {
        let Self::Running(running) = self else { return false };
        match &running.writing {
            Writing::Unchecked { recovered, .. } => recovered.is_some(),
            Writing::Idle => false,
            Writing::Building { .. } | Writing::Announcing(_) | Writing::Delivering { .. } => true,
        }
    }

    /// A delivery task works for it, and ClickHouse does not return permanent errors.
    pub(crate) fn delivers(&self) -> bool {
        self.running().is_some_and(|running| {
            matches!(running.writing, Writing::Delivering { .. }) && running.blocked.is_none()
        })
    }

    /// Records wait in the buffer.
    pub(crate) fn has_records(&self) -> bool {
        self.running().is_some_and(|running| !running.buffer.is_empty())
    }

    /// The consumer is paused, so the buffer should be flushed before the interval is over.
    pub(crate) fn is_paused(&self) -> bool {
        self.running().is_some_and(|running| running.is_paused)
    }

    /// The buffer has reached its own bounds.
    pub(crate) fn is_full(&self) -> bool {
        self.running().is_some_and(|running| running.buffer.is_full())
    }

    /// Bytes of memory of its buffer and of its flush in progress.
    pub(crate) fn bytes(&self) -> usize {
        let flush = if self.flushes() { self.running().map_or(0, |running| running.flush_bytes) } else { 0 };
        flush + self.running().map_or(0, |running| running.buffer.bytes)
    }

    /// It reads the records of an intent again. Its buffer cannot be flushed before it has all of them.
    pub(crate) fn replays(&self) -> bool {
        self.running().is_some_and(|running| matches!(running.reading, Reading::Replay(_)))
    }

    /// `Signal::FlushDue` would start a flush.
    pub(crate) fn can_flush(&self) -> bool {
        self.running().is_some_and(Running::can_flush)
    }

    /// A stop need not wait for it: everything read is written and committed, or cannot be written now.
    pub(crate) fn is_finished(&self) -> bool {
        let is_written = match self {
            Self::Halted { .. } => true,
            Self::Running(running) => {
                let waits = matches!(running.reading, Reading::Replay(_))
                    || matches!(running.writing, Writing::Unchecked { .. });
                waits || running.blocked.is_some() || (!self.flushes() && !self.has_records())
            }
        };
        is_written && self.uncommitted_end().is_none()
    }

    /// Why it halts, stops at a record, or is blocked by ClickHouse.
    pub(crate) fn halt_reason(&self) -> Option<&str> {
        match self {
            Self::Halted { reason, .. } => Some(reason),
            Self::Running(running) => match &running.reading {
                Reading::Stopped(reason) => Some(reason),
                _ => running.blocked.as_deref(),
            },
        }
    }

    fn running(&self) -> Option<&Running> {
        match self {
            Self::Running(running) => Some(running),
            Self::Halted { .. } => None,
        }
    }

    /// The offset of the record to read next.
    pub(crate) fn position(&self) -> Option<NextOffset> {
        self.running().map(|running| running.buffer.next)
    }
}

/// `Err` halts the partition and is the reason.
type Transition = Result<Vec<Command>, String>;

impl Running {
    fn on(&mut self, signal: Signal, now_ms: i64, rules: &Rules) -> Transition {
        match signal {
            Signal::Record { offset } => self.record(offset),
            Signal::Folded { offset, events, bytes } => Ok(self.folded(offset, events, bytes)),
            Signal::Unreadable { offset, problem } => self.unreadable(offset, &problem),
            Signal::NewestMarker(newest) => self.newest_marker(newest, now_ms, rules),
            Signal::NewestMarkerFailed(cause) => match self.writing {
                Writing::Unchecked { .. } => Ok(self.block(cause)),
                _ => Ok(Vec::new()),
            },
            Signal::FlushDue => Ok(self.start_flush(rules)),
            Signal::Built(built) => self.built(built, now_ms, rules),
            Signal::IntentCommitted => self.intent_committed(now_ms, rules),
            Signal::EndCommitted(end) => {
                self.progress.committed = self.progress.committed.max(end);
                Ok(Vec::new())
            }
            Signal::Delivered(delivered) => self.delivered(delivered, now_ms, rules),
            Signal::Pause => Ok(self.pause()),
            Signal::Resume => Ok(self.resume()),
            Signal::Revoked => Ok(self.revoked()),
        }
    }

    fn record(&mut self, offset: i64) -> Transition {
        if offset < self.buffer.next.0 {
            return Ok(Vec::new());
        }
        match &self.reading {
            Reading::Stopped(_) | Reading::Revoked => Ok(Vec::new()),
            // The last record of the intent no longer exists, so its rows cannot be built again.
            Reading::Replay(intent) if offset >= intent.end.0 => {
                let halt = Halt::RecordsGone { offset: intent.end.0 - 1, low: offset };
                Err(halt.to_string())
            }
            Reading::Replay(_) | Reading::Open => Ok(vec![Command::Fold]),
        }
    }

    fn folded(&mut self, offset: i64, events: u64, bytes: usize) -> Vec<Command> {
        self.buffer.next = NextOffset(offset + 1);
        self.buffer.events += events;
        self.buffer.bytes += bytes;
        match &self.reading {
            Reading::Replay(intent) if intent.end == self.buffer.next => {
                let old = intent.clone();
                self.reading = Reading::Open;
                let (epoch, ledger_partition) = (old.epoch, Some(old.ledger_partition));
                vec![self.build(epoch, ledger_partition, Some(old))]
            }
            _ => Vec::new(),
        }
    }

    fn unreadable(&mut self, offset: i64, problem: &str) -> Transition {
        let reason = format!(
            "the record at offset {offset} cannot be read: {problem}; or stop this stage and reset the group's offset \
             to {} to continue without the record",
            offset + 1
        );
        if matches!(self.reading, Reading::Replay(_)) {
            // The flush that these records belong to can never be completed.
            return Err(reason);
        }
        self.reading = Reading::Stopped(reason.clone());
        Ok(vec![Command::Pause, Command::Report(Report::Halted(reason))])
    }

    fn newest_marker(&mut self, newest: Option<u64>, now_ms: i64, rules: &Rules) -> Transition {
        let start = match &mut self.writing {
            Writing::Unchecked { start, .. } => start,
            Writing::Building { unchecked: Some(start), .. } => start,
            _ => return Ok(Vec::new()),
        };
        // Without intents every crash leaves markers above the committed offset; the test of that needs them counted
        // again.
        if rules.commits_intents {
            protocol::check_newest_marker(start, newest).map_err(|halt| halt.to_string())?;
        }
        let mut commands = self.unblock();
        match std::mem::replace(&mut self.writing, Writing::Idle) {
            Writing::Unchecked { recovered: Some(flush), .. } => {
                commands.extend(self.proceed(flush, 0, Delay::None, now_ms, rules)?);
            }
            Writing::Building { begin, end, old, .. } => {
                self.writing = Writing::Building { begin, end, old, unchecked: None };
            }
            _ => (),
        }
        Ok(commands)
    }

    fn can_flush(&self) -> bool {
        let reads = !matches!(self.reading, Reading::Replay(_) | Reading::Revoked);
        reads && !self.buffer.is_empty() && matches!(self.writing, Writing::Idle)
    }

    fn start_flush(&mut self, rules: &Rules) -> Vec<Command> {
        if !self.can_flush() {
            return Vec::new();
        }
        vec![self.build(rules.epoch, None, None)]
    }

    /// Takes the range out of the buffer; the next record begins a new one.
    fn build(&mut self, epoch: u32, ledger_partition: Option<u32>, old: Option<Intent>) -> Command {
        let Buffer { begin, next: end, bytes, .. } = self.buffer;
        self.flush_bytes = bytes;
        self.buffer = Buffer::empty(end);
        let unchecked = match std::mem::replace(&mut self.writing, Writing::Idle) {
            Writing::Unchecked { start, .. } => Some(start),
            _ => None,
        };
        self.writing = Writing::Building { begin, end, old, unchecked };
        Command::Build { epoch, end, ledger_partition }
    }

    fn built(&mut self, built: Built, now_ms: i64, rules: &Rules) -> Transition {
        let Writing::Building { begin, end, old, unchecked } =
            std::mem::replace(&mut self.writing, Writing::Idle)
        else {
            return Ok(Vec::new());
        };
        let Built { hash, partitions, bytes } = built;
        self.flush_bytes = bytes;
        let Some(old) = old else {
            let intent = Intent {
                end,
                committed_ms: 0,
                epoch: rules.epoch,
                hash,
                blocks: partitions.len(),
                markers: partitions.iter().map(BTreeSet::len).sum(),
                ledger_partition: partitions.first().and_then(|block| block.first().copied()).unwrap_or(0),
            };
            return self.proceed(Flush::new(begin, intent, partitions), 0, Delay::None, now_ms, rules);
        };
        let flush = Flush::recovered(begin, &old, hash, partitions, now_ms, rules);
        let waits_until_ms = flush.waits_for_earlier_insert_until();
        let mut commands = vec![Command::Report(Report::Replayed { begin, end, waits_until_ms })];
        match unchecked {
            Some(start) => self.writing = Writing::Unchecked { start, recovered: Some(flush) },
            None => commands.extend(self.proceed(flush, 0, Delay::None, now_ms, rules)?),
        }
        Ok(commands)
    }

    fn intent_committed(&mut self, now_ms: i64, rules: &Rules) -> Transition {
        match std::mem::replace(&mut self.writing, Writing::Idle) {
            Writing::Announcing(mut flush) => {
                flush.announced();
                self.proceed(flush, 0, Delay::None, now_ms, rules)
            }
            other => {
                self.writing = other;
                Ok(Vec::new())
            }
        }
    }

    fn delivered(&mut self, delivered: Delivered, now_ms: i64, rules: &Rules) -> Transition {
        let (mut flush, retries) = match std::mem::replace(&mut self.writing, Writing::Idle) {
            Writing::Delivering { flush, retries } => (flush, retries),
            other => {
                self.writing = other;
                return Ok(Vec::new());
            }
        };
        let mut commands = Vec::new();
        let (mut retries, mut delay) = (retries, Delay::None);
        let mut failed = |error: ErrorClass| match error {
            ErrorClass::Transient(_) => {
                retries += 1;
                delay = Delay::Backoff(retries);
                None
            }
            ErrorClass::Permanent(cause) => {
                delay = Delay::Permanent;
                Some(cause)
            }
        };
        match delivered {
            Delivered::Waited | Delivered::Expired => (),
            Delivered::Inserted { block } => {
                flush.inserted(block, rules);
                retries = 0;
                commands.extend(self.unblock());
            }
            Delivered::InsertFailed { block, error } => {
                flush.insert_failed(block, rules);
                commands.extend(failed(error).into_iter().flat_map(|cause| self.block(cause)));
            }
            Delivered::MarkersFailed(error) => {
                commands.extend(failed(error).into_iter().flat_map(|cause| self.block(cause)));
            }
            Delivered::MarkersRead(markers) => {
                let (found, repeats) = (flush.found_markers(), flush.repeats());
                flush.markers_read(&markers);
                commands.push(Command::Report(Report::Markers {
                    begin: flush.begin(),
                    end: flush.end(),
                    found: flush.found_markers() - found,
                    missing: flush.missing_markers(),
                    new_token: flush.repeats() > repeats,
                }));
            }
        }
        commands.extend(self.proceed(flush, retries, delay, now_ms, rules)?);
        Ok(commands)
    }

    /// The next step of a flush.
    fn proceed(
        &mut self,
        flush: Flush,
        retries: u32,
        delay: Delay,
        now_ms: i64,
        rules: &Rules,
    ) -> Transition {
        let (epoch, begin, end) = (flush.epoch(), flush.begin(), flush.end());
        let (delivery, delay) = match flush.next(now_ms, rules) {
            Step::Halt(halt) => return Err(halt.to_string()),
            Step::Announce => {
                // A flush of a revoked partition is left to the next owner.
                if self.reading != Reading::Revoked {
                    self.writing = Writing::Announcing(flush);
                }
                return Ok(self.unblock());
            }
            Step::Done => {
                self.progress.written = end;
                let mut commands = self.unblock();
                commands.push(Command::Report(Report::Written { begin, end }));
                return Ok(commands);
            }
            Step::WaitUntil(until_ms) => (Delivery::Wait { until_ms }, delay),
            Step::ReadMarkers { again } => {
                let delay = if again && delay == Delay::None { Delay::MarkersAgain } else { delay };
                (Delivery::ReadMarkers { epoch, blocks: flush.marked_blocks(), end }, delay)
            }
            Step::Insert { block, repeat } => {
                let missing = flush.missing(block).cloned().unwrap_or_default();
                let token = TokenParts { epoch, begin, end, repeat };
                let before_ms = flush.insert_before_ms(rules);
                (Delivery::Insert { block, missing, token, before_ms }, delay)
            }
        };
        self.writing = Writing::Delivering { flush, retries };
        Ok(vec![Command::Deliver(delivery, delay)])
    }

    fn pause(&mut self) -> Vec<Command> {
        let reads = matches!(self.reading, Reading::Replay(_) | Reading::Open);
        if self.is_paused || !reads {
            return Vec::new();
        }
        self.is_paused = true;
        vec![Command::Pause]
    }

    fn resume(&mut self) -> Vec<Command> {
        let reads = matches!(self.reading, Reading::Replay(_) | Reading::Open);
        if !self.is_paused || !reads {
            return Vec::new();
        }
        self.is_paused = false;
        vec![Command::Resume]
    }

    fn revoked(&mut self) -> Vec<Command> {
        self.reading = Reading::Revoked;
        if !matches!(self.writing, Writing::Delivering { .. }) {
            self.writing = Writing::Idle;
        }
        Vec::new()
    }

    fn block(&mut self, cause: String) -> Vec<Command> {
        if self.blocked.as_ref() == Some(&cause) {
            return Vec::new();
        }
        self.blocked = Some(cause.clone());
        vec![Command::Report(Report::Blocked(cause))]
    }

    fn unblock(&mut self) -> Vec<Command> {
        self.blocked.take().map(|_| Command::Report(Report::Unblocked)).into_iter().collect()
    }
}

/// What the model test needs to look into, and to break.
#[cfg(test)]
impl Partition {
    pub(crate) fn permanent_halt(&self) -> Option<&str> {
        match self {
            Self::Halted { reason, .. } => Some(reason),
            Self::Running(_) => None,
        }
    }

    /// Some records of an intent have been read again, but not all.
    pub(crate) fn has_replayed_records(&self) -> bool {
        self.running().is_some_and(|running| {
            matches!(running.reading, Reading::Replay(_)) && !running.buffer.is_empty()
        })
    }

    /// A flush was rebuilt and waits for the newest marker.
    pub(crate) fn waits_unchecked(&self) -> bool {
        self.running()
            .is_some_and(|running| matches!(running.writing, Writing::Unchecked { recovered: Some(_), .. }))
    }

    /// The bug of an earlier version: the records read so far are dropped, and the rest is taken for the whole flush.
    pub(crate) fn discard_replayed_records(&mut self) -> bool {
        let has_records = self.has_replayed_records();
        if let Self::Running(running) = self
            && has_records
        {
            running.buffer = Buffer::empty(running.buffer.next);
        }
        has_records
    }
}
