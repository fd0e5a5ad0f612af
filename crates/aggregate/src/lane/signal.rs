//! The input and the output of a partition's state machine: [`Signal`]s and [`Command`]s, plain values.
use std::collections::BTreeSet;

use event::NextOffset;

use crate::protocol::{BlockPartitions, FoundMarkers, TokenParts};
use crate::server::ErrorClass;

/// Something that happened to a Kafka partition.
#[derive(Debug, Clone)]
pub(crate) enum Signal {
    /// The consumer returned a record.
    Record { offset: i64 },
    /// [`Command::Fold`] put it into the buffer.
    Folded { offset: i64, events: u64, bytes: usize },
    /// [`Command::Fold`] failed: a newer program wrote the record.
    Unreadable { offset: i64, problem: String },
    /// The newest marker of the partition was read.
    NewestMarker(Option<u64>),
    /// The query for the newest marker returned a permanent error; it is retried.
    NewestMarkerFailed(String),
    /// The flush interval is over.
    FlushDue,
    /// [`Command::Build`] is done.
    Built(Built),
    /// The commit that carried its intent succeeded.
    IntentCommitted,
    /// The commit of this end succeeded.
    EndCommitted(NextOffset),
    /// The delivery task executed its step.
    Delivered(Delivered),
    /// It must not read for now: its buffer or the memory of the worker is full.
    Pause,
    /// It may read again.
    Resume,
    /// The group revokes the partition: finish the insert that is running and start no other.
    Revoked,
}

/// Hash and table partitions of the blocks of a flush.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    /// Hash of all blocks.
    pub(crate) hash: u128,
    /// Table partitions of each block.
    pub(crate) partitions: BlockPartitions,
    /// Bytes of memory of all blocks.
    pub(crate) bytes: usize,
}

/// How a step of a delivery ended.
#[derive(Debug, Clone)]
pub(crate) enum Delivered {
    /// [`Delivery::Wait`] is over.
    Waited,
    /// The insert was not started, because the intent had expired.
    Expired,
    /// ClickHouse returned OK for the insert of this block.
    Inserted { block: usize },
    /// The insert of this block ended with an error or without a reply.
    InsertFailed { block: usize, error: ErrorClass },
    /// These markers are in the table.
    MarkersRead(FoundMarkers),
    /// The query for markers failed.
    MarkersFailed(ErrorClass),
}

/// What the lane must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Add the record to the buffer's contents; signal `Folded` or `Unreadable`.
    Fold,
    /// Drop the buffer's contents.
    Discard,
    /// Stop fetching the partition.
    Pause,
    /// Fetch it again.
    Resume,
    /// Build the blocks of the buffer's contents and empty it; signal `Built`.
    Build {
        /// Epoch of the markers.
        epoch: u32,
        /// c: the offset in the markers.
        end: NextOffset,
        /// The table partition whose marker carries the ledger, if an earlier process chose it.
        ledger_partition: Option<u32>,
    },
    /// Start a task that executes this step after the delay; signal `Delivered`.
    Deliver(Delivery, Delay),
    /// Log it and update metrics.
    Report(Report),
}

/// A step that a delivery task executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Wait until this time, epoch milliseconds.
    Wait { until_ms: i64 },
    /// Read which of the first `blocks` blocks have markers whose offset is `end` or above.
    ReadMarkers { epoch: u32, blocks: usize, end: NextOffset },
    /// Insert these table partitions of a block, but not at `before_ms` (epoch milliseconds) or later.
    Insert { block: usize, missing: BTreeSet<u32>, token: TokenParts, before_ms: i64 },
}

/// How long a delivery task waits before its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delay {
    /// No delay.
    None,
    /// Back off: longer with each transient error in a row. The number of errors so far.
    Backoff(u32),
    /// A pause before markers are read a second time.
    MarkersAgain,
    /// `aggregate.retry_halted`: the error was permanent.
    Permanent,
}

/// What the log and the metrics show to an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// The partition stops at a record or halts; the text contains what to do.
    Halted(String),
    /// ClickHouse returned a permanent error; the request is retried.
    Blocked(String),
    /// ClickHouse accepts requests again.
    Unblocked,
    /// The records of an earlier process's intent were replayed. An insert of other rows that the earlier program
    /// built may run until `waits_until_ms`.
    Replayed { begin: NextOffset, end: NextOffset, waits_until_ms: Option<i64> },
    /// Markers were read; `new_token` when a remembered token without rows must be replaced.
    Markers { begin: NextOffset, end: NextOffset, found: usize, missing: usize, new_token: bool },
    /// The rows of [begin, end) are in the table.
    Written { begin: NextOffset, end: NextOffset },
}

/// What a partition adds to the next commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitRequest {
    pub(crate) next: NextOffset,
    /// The intent; empty when only an end is committed.
    pub(crate) metadata: String,
    /// The commit carries an intent.
    pub(crate) announces: bool,
    /// The end that the commit also confirms: the rows of all records below this offset are in the table.
    pub(crate) end: Option<NextOffset>,
}
