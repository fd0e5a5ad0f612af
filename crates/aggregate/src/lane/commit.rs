//! Commits: the only place that moves the group's offsets. Guarded by the assignment, since the broker checks who is
//! in the group and not who owns a partition.
use super::*;

pub(super) struct Commit {
    assignment: u64,
    /// Partitions whose intents it carries.
    announced: BTreeSet<i32>,
    /// Partitions whose flushes it ends.
    done: BTreeMap<i32, NextOffset>,
    pub(super) begun: Instant,
}

impl Lane<'_> {
    /// Commits the intents that wait, with the ends of finished flushes. Ends alone wait for the next flush where
    /// there will be one soon.
    pub(super) fn commit(&mut self, is_due: bool) -> Result<(), Error> {
        let may_try = self.commit_failed.is_none_or(|at| at.elapsed() >= COMMIT_AGAIN_AFTER);
        if self.commit.is_some() || !may_try {
            return Ok(());
        }
        let ends = || self.partitions.values().filter(|state| state.done.is_some());
        let is_quiet = || {
            let comes_soon = self.interval() <= SOON;
            self.partitions.values().all(|state| !state.is_busy)
                && ends().all(|state| !state.has_records() || !comes_soon)
        };
        let ends_are_due = ends().next().is_some() && (is_due || is_quiet());
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
            failpoint::before(Step::Intent);
        }
        if !done.is_empty() {
            failpoint::before(Step::Done);
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

    pub(super) fn collect_commit(&mut self) -> Result<(), Error> {
        let Some(answer) = self.source.commit_answer() else { return Ok(()) };
        let Some(commit) = self.commit.take() else { return Ok(()) };
        self.commit_answered(commit, answer)
    }

    fn commit_answered(&mut self, commit: Commit, answer: Result<(), kafka::Error>) -> Result<(), Error> {
        match answer {
            Ok(()) => {
                (self.commit_failed, self.commit_failing_since) = (None, None);
                self.committed(commit);
                Ok(())
            }
            Err(error @ kafka::Error::FencedOff(_)) => Err(error.into()),
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
            failpoint::after(Step::Intent);
        }
        if !commit.done.is_empty() {
            failpoint::after(Step::Done);
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
