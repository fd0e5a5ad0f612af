//! One flush on its way into the table: does what [`protocol`](crate::protocol) decides, as a task beside the lane.
//!
//! Whatever concerns Kafka goes back to the lane, which owns the assignment. A task whose partition is no longer ours
//! ends before its next step; what it has sent by then is found by the next owner's tokens and markers.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use runtime::failpoint::{self, Safeguard, Step};

use crate::block::Block;
use crate::insert::Writer;
use crate::protocol::{self, Action, Flush, Landed, Rules};
use crate::server::Verdict;
use crate::time::now_ms;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two looks at markers that should be there.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often a task that only waits looks whether it is still wanted.
const WAIT_STEP: Duration = Duration::from_millis(200);

/// A frozen flush with its rows.
pub(crate) struct Work {
    pub(crate) partition: i32,
    /// The assignment under which its records were read.
    pub(crate) assignment: u64,
    pub(crate) flush: Flush,
    pub(crate) blocks: Vec<Block>,
    /// Newest `received_at` among them.
    pub(crate) received_max: i64,
    /// It was begun by an earlier process.
    pub(crate) is_recovered: bool,
}

/// What a task tells its lane.
pub(crate) enum Answer {
    /// The next step is the lane's: to commit the intent or the end, or to halt the partition.
    Back(Work),
    /// ClickHouse refuses for good, as it seems; the task tries again, but seldom. Without a partition: all whose
    /// markers have not been read.
    Refused { partition: Option<i32>, assignment: u64, cause: String },
    /// It no longer does.
    Accepted { partition: Option<i32>, assignment: u64 },
    /// The newest end that the markers of each partition say.
    Newest { assignment: u64, newest: BTreeMap<String, u64> },
}

/// What all tasks of a lane share.
pub(crate) struct Delivery {
    pub(crate) lane: &'static str,
    pub(crate) topic: String,
    pub(crate) writer: Arc<Writer>,
    pub(crate) rules: Rules,
    pub(crate) retry_halted: Duration,
    /// The present assignment. The broker checks who is in the group, not who owns a partition: what belongs to an
    /// earlier assignment must neither insert nor commit.
    pub(crate) assignment: AtomicU64,
    pub(crate) answers: Sender<Answer>,
}

impl Delivery {
    pub(crate) fn is_current(&self, assignment: u64) -> bool {
        self.assignment.load(Ordering::Acquire) == assignment
    }

    fn tell(&self, answer: Answer) {
        // Nobody listens when the lane has ended: then nothing is committed either.
        let _ = self.answers.send(answer);
    }

    /// Works on a flush until it is the lane's turn, or the partition is no longer ours.
    pub(crate) async fn deliver(&self, mut work: Work) {
        let mut pauses = Pauses::new(self, Some(work.partition), work.assignment);
        while self.is_current(work.assignment) {
            match work.flush.next(now_ms(), &self.rules) {
                action @ (Action::Announce | Action::Done | Action::Halt(_)) => {
                    if matches!(action, Action::Done) {
                        // Also when only the markers told so: its insert was executed and the answer lost.
                        self.writer.report_success();
                    }
                    pauses.end();
                    return self.tell(Answer::Back(work));
                }
                Action::WaitUntil(_) => tokio::time::sleep(WAIT_STEP).await,
                Action::ReadMarkers { again } => {
                    if again {
                        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
                    }
                    match self.landed(&work).await {
                        Ok(landed) => self.take_markers(&mut work, &landed),
                        Err(verdict) => pauses.pause("markers", verdict).await,
                    }
                }
                Action::Insert { chunk, repeat } => {
                    let token = self.token(&work, chunk, repeat);
                    match self.insert(&work, chunk, &token).await {
                        Ok(()) => {
                            self.writer.report_success();
                            pauses.end();
                            work.flush.inserted(chunk, &self.rules);
                        }
                        Err(verdict) => {
                            work.flush.insert_failed(chunk, &self.rules);
                            pauses.pause(&token, verdict).await;
                        }
                    }
                }
            }
        }
    }

    /// Asks how far the table has been written, until it is answered.
    pub(crate) async fn ask_newest(&self, assignment: u64, sources: BTreeSet<String>) {
        let mut pauses = Pauses::new(self, None, assignment);
        while self.is_current(assignment) {
            failpoint::before(Step::ReadMarkers);
            match self.writer.newest(&sources).await {
                Ok(newest) => {
                    failpoint::after(Step::ReadMarkers);
                    pauses.end();
                    return self.tell(Answer::Newest { assignment, newest });
                }
                Err(verdict) => pauses.pause("markers", verdict).await,
            }
        }
    }

    async fn landed(&self, work: &Work) -> Result<Landed, Verdict> {
        failpoint::before(Step::ReadMarkers);
        let source = protocol::source(work.flush.epoch(), &self.topic, work.partition);
        let end = work.flush.end().0 as u64;
        let landed = self.writer.landed(&source, work.flush.marked_chunks(), end).await?;
        failpoint::after(Step::ReadMarkers);
        Ok(landed)
    }

    fn take_markers(&self, work: &mut Work, landed: &Landed) {
        let (found, repeats) = (work.flush.found_markers(), work.flush.repeats());
        work.flush.landed(landed);
        let (lane, partition) = (self.lane, work.partition);
        let found = work.flush.found_markers() - found;
        let missing = work.flush.missing_markers();
        metrics::counter!("millrace_aggregate_markers_found_total", "lane" => lane).increment(found as u64);
        metrics::counter!("millrace_aggregate_markers_missing_total", "lane" => lane)
            .increment(missing as u64);
        let (begin, end) = (work.flush.begin().0, work.flush.end().0);
        tracing::info!(lane, partition, begin, end, found, missing, "markers read");
        if work.flush.repeats() > repeats {
            metrics::counter!("millrace_aggregate_inserts_under_new_token_total", "lane" => lane)
                .increment(u64::from(work.flush.repeats() - repeats));
            tracing::warn!(
                lane,
                partition,
                begin,
                end,
                "clickhouse remembers the token and not the rows, inserting them under a new token"
            );
        }
    }

    async fn insert(&self, work: &Work, chunk: usize, token: &str) -> Result<(), Verdict> {
        let (Some(block), Some(missing)) = (work.blocks.get(chunk), work.flush.missing(chunk)) else {
            return Err(Verdict::Stop(format!("there is no chunk {chunk} of {token}")));
        };
        failpoint::before(Step::Insert);
        if missing == block.table_partitions() {
            self.writer.insert(block, token).await?;
        } else {
            self.writer.insert(&block.restricted_to(missing), token).await?;
        }
        failpoint::after(Step::Insert);
        Ok(())
    }

    fn token(&self, work: &Work, chunk: usize, repeat: u32) -> String {
        let token = protocol::token(&work.flush, &self.topic, work.partition, chunk, repeat);
        if failpoint::is_off(Safeguard::Token) {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            return format!("{token}?{}-{}", now_ms(), NEXT.fetch_add(1, Ordering::Relaxed));
        }
        token
    }
}

/// Waits between two tries, longer each time; much longer while the server refuses for good.
struct Pauses<'a> {
    delivery: &'a Delivery,
    partition: Option<i32>,
    assignment: u64,
    next: Duration,
    refused: bool,
}

impl<'a> Pauses<'a> {
    fn new(delivery: &'a Delivery, partition: Option<i32>, assignment: u64) -> Self {
        Self { delivery, partition, assignment, next: FIRST_PAUSE, refused: false }
    }

    async fn pause(&mut self, what: &str, verdict: Verdict) {
        match verdict {
            Verdict::Retry(cause) => {
                self.delivery.writer.report_trouble(what, &cause);
                tokio::time::sleep(self.next).await;
                self.next = (self.next * 2).min(LONGEST_PAUSE);
            }
            Verdict::Stop(cause) => {
                self.refused = true;
                let (partition, assignment) = (self.partition, self.assignment);
                self.delivery.tell(Answer::Refused { partition, assignment, cause });
                tokio::time::sleep(self.delivery.retry_halted).await;
            }
        }
    }

    /// What was tried has succeeded. Markers that can be read are no such success: the inserts may fail all the same.
    fn end(&mut self) {
        self.next = FIRST_PAUSE;
        if std::mem::take(&mut self.refused) {
            let (partition, assignment) = (self.partition, self.assignment);
            self.delivery.tell(Answer::Accepted { partition, assignment });
        }
    }
}
