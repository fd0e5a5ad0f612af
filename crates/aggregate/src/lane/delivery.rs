//! Requests to ClickHouse, each as a task beside the lane: it waits for its delay, executes one step, and replies.
//!
//! A task whose assignment is over ends before its step. What it sent before is found by the next owner, by token and
//! markers.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use runtime::failpoint::{self, Safeguard, Step};

use super::signal::{Delay, Delivered, Delivery as Request};
use crate::block::Block;
use crate::fold::Buffers;
use crate::insert::BlockWriter;
use crate::protocol::{self, FoundMarkers, TokenParts};
use crate::server::ErrorClass;
use crate::time::now_ms;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
pub(super) const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// Between two reads of markers that should be in the table.
const MARKERS_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often a task that waits for a time checks that its assignment is still current.
const WAIT_STEP: Duration = Duration::from_millis(200);

/// What a task replies to its lane.
pub(super) enum Reply {
    /// A step was executed.
    Delivered { assignment: u64, partition: i32, delivered: Delivered },
    /// The newest `src_end` of each marker source.
    NewestMarkers { assignment: u64, newest: BTreeMap<String, u64> },
    /// That query got a permanent error and is retried.
    NewestMarkersFailed { assignment: u64, cause: String },
}

impl Reply {
    /// The assignment under which the request was made.
    pub(super) fn assignment(&self) -> u64 {
        match self {
            Self::Delivered { assignment, .. }
            | Self::NewestMarkers { assignment, .. }
            | Self::NewestMarkersFailed { assignment, .. } => *assignment,
        }
    }
}

/// A step of one partition's flush.
pub(super) struct Job {
    pub(super) assignment: u64,
    pub(super) partition: i32,
    pub(super) request: Request,
    pub(super) delay: Delay,
    /// The blocks of the flush.
    pub(super) blocks: Arc<[Block]>,
    /// How many of them go into the lane's table; the others go into the table of dead letters.
    pub(super) own_blocks: usize,
}

/// The tables of a lane.
#[derive(Clone)]
pub struct Writers {
    /// The lane's own table.
    pub own: Arc<BlockWriter>,
    /// The table of dead letters, if the lane keeps the messages of its topic that it cannot read.
    pub dead_letters: Option<Arc<BlockWriter>>,
}

/// What all tasks of a lane share.
pub(super) struct Delivery {
    pub(super) topic: String,
    pub(super) lane: &'static str,
    pub(super) writers: Writers,
    /// Delay after a permanent error.
    pub(super) retry_permanent: Duration,
    /// The current assignment. The broker checks that a process is in the group, not that it owns a partition: a task
    /// of an earlier assignment must not insert.
    pub(super) assignment: AtomicU64,
    pub(super) replies: Sender<Reply>,
}

impl Delivery {
    fn is_current(&self, assignment: u64) -> bool {
        self.assignment.load(Ordering::Acquire) == assignment
    }

    fn reply(&self, reply: Reply) {
        // The lane may have ended: then nothing is committed either.
        let _ = self.replies.send(reply);
    }

    /// Executes one step.
    pub(super) async fn deliver(&self, job: Job) {
        tokio::time::sleep(self.duration(job.delay)).await;
        if !self.is_current(job.assignment) {
            return;
        }
        let Job { assignment, partition, .. } = job;
        let delivered = match &job.request {
            Request::Wait { until_ms } => {
                while now_ms() < *until_ms && self.is_current(assignment) {
                    tokio::time::sleep(WAIT_STEP).await;
                }
                Delivered::Waited
            }
            Request::ReadMarkers { epoch, blocks, end } => {
                let source = protocol::source(*epoch, &self.topic, partition);
                failpoint::before(Step::ReadMarkers);
                match self.markers(&source, *blocks, end.0 as u64).await {
                    Ok(found) => {
                        failpoint::after(Step::ReadMarkers);
                        Delivered::MarkersRead(found)
                    }
                    Err(error) => Delivered::MarkersFailed(self.failed("markers", error)),
                }
            }
            Request::Insert { before_ms, .. } if now_ms() >= *before_ms => Delivered::Expired,
            Request::Insert { block, missing, token, .. } => {
                let token = self.token(partition, *block, token);
                match self.insert(&job, *block, missing, &token).await {
                    Ok(()) => {
                        self.writers.own.report_success();
                        Delivered::Inserted { block: *block }
                    }
                    Err(error) => {
                        Delivered::InsertFailed { block: *block, error: self.failed(&token, error) }
                    }
                }
            }
        };
        self.reply(Reply::Delivered { assignment, partition, delivered });
    }

    /// Reads the newest marker of each source, and retries until it has them.
    pub(super) async fn read_newest_markers(&self, assignment: u64, sources: BTreeSet<String>) {
        let mut retries = 0;
        while self.is_current(assignment) {
            failpoint::before(Step::ReadMarkers);
            let error = match self.writers.own.newest(&sources).await {
                Ok(newest) => {
                    failpoint::after(Step::ReadMarkers);
                    self.writers.own.report_success();
                    return self.reply(Reply::NewestMarkers { assignment, newest });
                }
                Err(error) => self.failed("markers", error),
            };
            let delay = match error {
                ErrorClass::Transient(_) => {
                    retries += 1;
                    Delay::Backoff(retries)
                }
                ErrorClass::Permanent(cause) => {
                    self.reply(Reply::NewestMarkersFailed { assignment, cause });
                    Delay::Permanent
                }
            };
            tokio::time::sleep(self.duration(delay)).await;
        }
    }

    fn duration(&self, delay: Delay) -> Duration {
        match delay {
            Delay::None => Duration::ZERO,
            Delay::Backoff(nth) => {
                let doublings = nth.saturating_sub(1).min(16);
                (FIRST_BACKOFF * 2_u32.pow(doublings)).min(LONGEST_BACKOFF)
            }
            Delay::MarkersAgain => MARKERS_AGAIN_AFTER,
            Delay::Permanent => self.retry_permanent,
        }
    }

    fn failed(&self, what: &str, error: ErrorClass) -> ErrorClass {
        if let ErrorClass::Transient(cause) = &error {
            self.writers.own.report_failure(what, cause);
        }
        error
    }

    /// The markers of a flush, in all tables that it may have written to.
    async fn markers(&self, source: &str, blocks: usize, end: u64) -> Result<FoundMarkers, ErrorClass> {
        let mut found = self.writers.own.markers(source, blocks, end).await?;
        if let Some(dead_letters) = &self.writers.dead_letters {
            let source = Buffers::foreign_source(source, self.lane);
            found.extend(dead_letters.markers(&source, blocks, end).await?);
        }
        Ok(found)
    }

    async fn insert(
        &self,
        job: &Job,
        number: usize,
        missing: &BTreeSet<u32>,
        token: &str,
    ) -> Result<(), ErrorClass> {
        let is_own = number < job.own_blocks;
        let writer = if is_own { Some(&self.writers.own) } else { self.writers.dead_letters.as_ref() };
        let (Some(block), Some(writer)) = (job.blocks.get(number), writer) else {
            return Err(ErrorClass::Permanent(format!("there is no block {number} of {token}")));
        };
        failpoint::before(Step::Insert);
        if missing == block.table_partitions() {
            writer.insert(block, token).await?;
        } else {
            writer.insert(&block.restricted_to(missing), token).await?;
        }
        failpoint::after(Step::Insert);
        Ok(())
    }

    fn token(&self, partition: i32, block: usize, parts: &TokenParts) -> String {
        let token = protocol::token(parts, &self.topic, partition, block);
        if failpoint::is_off(Safeguard::Token) {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            return format!("{token}?{}-{}", now_ms(), NEXT.fetch_add(1, Ordering::Relaxed));
        }
        token
    }
}
