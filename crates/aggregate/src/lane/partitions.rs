//! All partitions that are assigned to a lane's worker, and the commit that moves their offsets. Pure, like
//! [`partition`](super::partition).
//!
//! The broker checks that a committing process is a member of the group, not that it owns the partition. So every
//! signal and commit belongs to an assignment, and what belongs to an earlier assignment changes nothing.
use std::collections::BTreeMap;

use event::NextOffset;

use super::partition::Partition;
use super::signal::{Command, Signal};
use crate::protocol::Rules;

/// The partitions of the current assignment.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    assignment: u64,
    partitions: BTreeMap<i32, Partition>,
    /// The commit that was sent. Its reply is awaited before the next commit, also across a rebalance.
    commit: Option<Commit>,
}

/// One offset commit for all partitions: intents, and the ends of finished flushes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    assignment: u64,
    /// Partition, offset and metadata.
    pub(crate) offsets: Vec<(i32, NextOffset, String)>,
    /// Partitions whose intents it carries.
    pub(crate) announced: Vec<i32>,
    /// Partitions whose flushes it ends, and the ends.
    pub(crate) ends: Vec<(i32, NextOffset)>,
}

/// A command and the partition it is for.
pub(crate) type Commands = Vec<(i32, Command)>;

impl Partitions {
    /// The number of the current assignment.
    pub(crate) fn assignment(&self) -> u64 {
        self.assignment
    }

    /// Begins a new assignment without partitions and returns those of the last one.
    pub(crate) fn next_assignment(&mut self) -> BTreeMap<i32, Partition> {
        self.assignment += 1;
        std::mem::take(&mut self.partitions)
    }

    /// Adds a partition to the current assignment.
    pub(crate) fn insert(&mut self, id: i32, partition: Partition) {
        self.partitions.insert(id, partition);
    }

    /// All partitions with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, &Partition)> {
        self.partitions.iter().map(|(&id, partition)| (id, partition))
    }

    /// Numbers of the partitions for which `is_meant` holds.
    pub(crate) fn ids(&self, is_meant: impl Fn(&Partition) -> bool) -> Vec<i32> {
        self.iter().filter(|(_, partition)| is_meant(partition)).map(|(id, _)| id).collect()
    }

    /// Sends a signal to one partition; nothing happens when it is not assigned.
    pub(crate) fn on(&mut self, id: i32, signal: Signal, now_ms: i64, rules: &Rules) -> Commands {
        let Some(partition) = self.partitions.get_mut(&id) else { return Commands::new() };
        partition.on(signal, now_ms, rules).into_iter().map(|command| (id, command)).collect()
    }

    /// Whether a commit should be sent now. Intents are committed at once. Ends go with the intents of the next flush:
    /// alone only when the flush interval is over (`is_due`), or when no flush follows soon.
    pub(crate) fn wants_commit(&self, is_due: bool, next_flush_is_soon: bool) -> bool {
        if self.commit.is_some() {
            return false;
        }
        let mut ends = self.partitions.values().filter(|partition| partition.uncommitted_end().is_some());
        let is_quiet = || {
            self.partitions.values().all(|partition| {
                let waits_for_flush = partition.has_records() && next_flush_is_soon;
                !partition.flushes() && (partition.uncommitted_end().is_none() || !waits_for_flush)
            })
        };
        self.partitions.values().any(Partition::announces)
            || (ends.next().is_some() && (is_due || is_quiet()))
    }

    /// The commit to send now; [`commit_ended`](Self::commit_ended) must follow.
    pub(crate) fn begin_commit(&mut self, now_ms: i64) -> Commit {
        let mut commit = Commit {
            assignment: self.assignment,
            offsets: Vec::new(),
            announced: Vec::new(),
            ends: Vec::new(),
        };
        for (&id, partition) in &mut self.partitions {
            let Some(request) = partition.commit_request(now_ms) else { continue };
            commit.offsets.push((id, request.next, request.metadata));
            if request.announces {
                commit.announced.push(id);
            }
            commit.ends.extend(request.end.map(|end| (id, end)));
        }
        self.commit = Some(commit.clone());
        commit
    }

    /// A commit was sent and its reply has not arrived.
    pub(crate) fn commits(&self) -> bool {
        self.commit.is_some()
    }

    /// The commit that was sent carries intents.
    pub(crate) fn commit_announces(&self) -> bool {
        self.commit.as_ref().is_some_and(|commit| !commit.announced.is_empty())
    }

    /// The commit that was sent carries ends of flushes.
    pub(crate) fn commit_has_ends(&self) -> bool {
        self.commit.as_ref().is_some_and(|commit| !commit.ends.is_empty())
    }

    /// The reply to the commit arrived. After a failure the same intents and ends go into the next commit.
    pub(crate) fn commit_ended(&mut self, is_ok: bool, now_ms: i64, rules: &Rules) -> Commands {
        let mut commands = Commands::new();
        let Some(commit) = self.commit.take() else { return commands };
        if !is_ok || commit.assignment != self.assignment {
            return commands;
        }
        for (id, end) in commit.ends {
            commands.extend(self.on(id, Signal::EndCommitted(end), now_ms, rules));
        }
        for id in commit.announced {
            commands.extend(self.on(id, Signal::IntentCommitted, now_ms, rules));
        }
        commands
    }
}

#[cfg(test)]
impl Partitions {
    pub(crate) fn discard_replayed_records(&mut self, id: i32) -> bool {
        self.partitions.get_mut(&id).is_some_and(Partition::discard_replayed_records)
    }
}
