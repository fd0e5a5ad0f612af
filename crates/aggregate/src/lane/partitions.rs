//! All partitions that are assigned to a lane's worker, and the commit that moves their offsets. Pure, like
//! [`partition`](super::partition).
//!
//! The broker checks that a committing process is a member of the group, not that it owns the partition. So every
//! signal and commit belongs to an assignment, and what belongs to an earlier assignment changes nothing.
//!
//! The partitions share the memory of the worker. When it is used up, those that hold more than their fair share are
//! paused until their flushes are in the table. So memory is bounded by twice the limit, and no partition starves.
use std::collections::BTreeMap;

use event::NextOffset;

use super::partition::Partition;
use super::signal::{Command, Signal};
use crate::protocol::Rules;

/// The partitions of the current assignment.
#[derive(Debug)]
pub(crate) struct Partitions {
    /// Bytes that all of them may hold before any is paused.
    memory: usize,
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
    /// No partitions yet. They share so many bytes of memory.
    pub(crate) fn new(memory: usize) -> Self {
        Self { memory, assignment: 0, partitions: BTreeMap::new(), commit: None }
    }

    /// Bytes that the partitions hold.
    pub(crate) fn bytes(&self) -> usize {
        self.partitions.values().map(Partition::bytes).sum()
    }

    /// Partitions are paused because the memory is used up.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.bytes() > self.resume_below() && self.partitions.values().any(Partition::is_paused)
    }

    /// Paused partitions read again below so many bytes: less than the limit, so that they are not paused at once again.
    fn resume_below(&self) -> usize {
        self.memory / 4 * 3
    }

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
        let changes_memory = !matches!(signal, Signal::Record { .. });
        let of_partition = partition.on(signal, now_ms, rules);
        // Before the other commands: a command may be answered by a signal that pauses and resumes others.
        let mut commands = if changes_memory { self.share_memory(now_ms, rules) } else { Commands::new() };
        commands.extend(of_partition.into_iter().map(|command| (id, command)));
        commands
    }

    /// Pauses and resumes partitions.
    fn share_memory(&mut self, now_ms: i64, rules: &Rules) -> Commands {
        let held = self.bytes();
        let fair_share = self.memory / self.partitions.len().max(1);
        let (memory, resume_below) = (self.memory, self.resume_below());
        // The records of an intent leave memory only when all of them were read, so one partition always may.
        let mut first_replay = true;
        let mut commands = Commands::new();
        for (&id, partition) in &mut self.partitions {
            let replays = partition.replays();
            let must_go_on = replays && std::mem::take(&mut first_replay);
            let own = partition.bytes();
            let is_short = if partition.is_paused() {
                held > resume_below && own > fair_share / 2
            } else {
                held > memory && own >= fair_share
            };
            let pauses = !must_go_on && (is_short || (partition.is_full() && !replays));
            let signal = match (pauses, partition.is_paused()) {
                (true, false) => Signal::Pause,
                (false, true) => Signal::Resume,
                _ => continue,
            };
            commands.extend(partition.on(signal, now_ms, rules).into_iter().map(|command| (id, command)));
        }
        commands
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
