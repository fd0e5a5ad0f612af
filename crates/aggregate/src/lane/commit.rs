//! Sends the commits that [`partitions`](super::partitions) composes and takes their replies. The only place that moves
//! the group's offsets.
use std::time::{Duration, Instant};

use runtime::failpoint::{self, Step};

use super::worker::Lane;
use crate::Error;
use crate::time::now_ms;

const RETRY_AFTER: Duration = Duration::from_millis(500);
/// A lane that flushes less often than this commits the ends of its flushes without waiting for the next flush.
const SOON: Duration = Duration::from_secs(3);

impl Lane<'_> {
    /// Sends a commit if one is wanted. `is_due`: the flush interval is over.
    pub(super) fn commit(&mut self, is_due: bool) -> Result<(), Error> {
        let may_retry = self.commit_failed.is_none_or(|at| at.elapsed() >= RETRY_AFTER);
        if !may_retry || !self.partitions.wants_commit(is_due, self.interval() <= SOON) {
            return Ok(());
        }
        let commit = self.partitions.begin_commit(now_ms());
        if !commit.announced.is_empty() {
            failpoint::before(Step::Intent);
        }
        if !commit.ends.is_empty() {
            failpoint::before(Step::Done);
        }
        self.commit_sent = Some(Instant::now());
        let offsets: Vec<_> =
            commit.offsets.iter().map(|(partition, next, text)| (*partition, *next, text.as_str())).collect();
        match self.source.begin_commit(&offsets) {
            Ok(()) => Ok(()),
            Err(error) => self.commit_ended(Err(error)),
        }
    }

    pub(super) fn collect_commit_reply(&mut self) -> Result<(), Error> {
        match self.source.commit_answer() {
            Some(reply) if self.partitions.commits() => self.commit_ended(reply),
            _ => Ok(()),
        }
    }

    fn commit_ended(&mut self, reply: Result<(), kafka::Error>) -> Result<(), Error> {
        let sent = self.commit_sent.take();
        let is_ok = match reply {
            Ok(()) => true,
            Err(error @ kafka::Error::FencedOff(_)) => return Err(error.into()),
            Err(error) => {
                // A rebalance or a broker's restart ends, and a later commit carries the same offsets.
                tracing::warn!(lane = self.options.lane, %error, "offsets not committed yet, retrying");
                false
            }
        };
        if is_ok {
            (self.commit_failed, self.commits_fail_since) = (None, None);
            if self.partitions.commit_announces() {
                failpoint::after(Step::Intent);
            }
            if self.partitions.commit_has_ends() {
                failpoint::after(Step::Done);
            }
        } else {
            self.commits_fail_since = self.commits_fail_since.or(sent);
            self.commit_failed = Some(Instant::now());
        }
        let commands = self.partitions.commit_ended(is_ok, now_ms(), &self.options.rules);
        self.execute(commands)
    }
}
