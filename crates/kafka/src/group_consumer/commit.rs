//! Commits of a group consumer, one at a time, each on a thread of its own.
//!
//! librdkafka keeps a commit while the coordinator is away and sends it later, as the member that the consumer is then.
//! Behind a rebalance it would set back a partition that another member has read on. So the consumer answers a
//! revocation only when no commit is on its way.
#[cfg(test)]
mod tests;

use event::NextOffset;
use rdkafka::consumer::{CommitMode, Consumer};
use runtime::failpoint::{self, Step};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::GroupConsumer;
use crate::error::Error;
use crate::offset_list::offsets_with_metadata;

/// How often a commit on its way is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// How long a revocation waits for a commit after a request to stop: the process ends, and its commit with it.
const GIVE_UP_AFTER_STOP: Duration = Duration::from_secs(8);
/// A longer wait is logged.
const LONG: Duration = Duration::from_secs(5);

impl GroupConsumer {
    /// Begins to commit offsets, each with its metadata, on a thread of its own: a broker that is away answers late, and
    /// the worker goes on meanwhile. [`commit_answer`](Self::commit_answer) returns the result; until then no other
    /// commit may begin.
    ///
    /// # Errors
    /// The operating system has no thread for it.
    pub fn begin_commit(&self, offsets: &[(i32, NextOffset, &str)]) -> Result<(), Error> {
        let list = offsets_with_metadata(&self.topic, offsets)
            .map_err(|e| Error::call("committing offsets", &self.member, e))?;
        self.consumer.context().begin_commit();
        let consumer = Arc::clone(&self.consumer);
        let commit = move || {
            // librdkafka reports the result of an asynchronous commit to a callback that rdkafka does not offer here.
            failpoint::before(Step::CommitOffsets);
            let result = consumer.commit(&list, CommitMode::Sync);
            if result.is_ok() {
                failpoint::after(Step::CommitOffsets);
            }
            consumer.context().set_commit_result(result);
        };
        let spawned = std::thread::Builder::new().name("commit".into()).spawn(commit);
        spawned.map(|_| ()).map_err(|source| {
            self.consumer.context().commit_failed_to_begin();
            Error::System { action: "starting a thread", source }
        })
    }

    /// The result of [`begin_commit`](Self::begin_commit), once.
    pub fn commit_answer(&self) -> Option<Result<(), Error>> {
        let result = self.consumer.context().take_commit_result()?;
        Some(result.map_err(|e| Error::call("committing offsets", &self.member, e)))
    }

    /// Waits until no commit is on its way. [`commit_answer`](Self::commit_answer) still returns its result: whoever began the
    /// commit begins no other one without it.
    pub(super) fn finish_commit(&self) {
        let started = Instant::now();
        let mut is_logged = false;
        while self.consumer.context().is_committing() {
            if self.shutdown.requested_for().is_some_and(|since| since >= GIVE_UP_AFTER_STOP) {
                return;
            }
            if started.elapsed() >= LONG && !is_logged {
                is_logged = true;
                let (group, topic) = (&self.group, &self.topic);
                tracing::warn!(group, topic, "a rebalance waits for the reply to a commit of offsets");
            }
            std::thread::sleep(LOOK);
        }
    }
}
