//! Two processes, Kafka and ClickHouse, and a schedule that decides which of the possible things happens next.
use event::NextOffset;

use super::choices::Choices;
use super::clickhouse::{ClickHouse, Executes, Insert};
use super::kafka::{END, Kafka, PARTITIONS, is_record};
use super::process::{Job, Process};
use super::windows::{Outcome, Windows};
use super::{Faults, LONGEST_INSERT_MS, SESSION_TIMEOUT_MS};
use crate::lane::partition::Partition;
use crate::lane::signal::{Delivery, Signal};
use crate::protocol::{self, CommittedOffset};

const PROCESSES: usize = 2;

pub(super) struct World {
    pub(super) faults: Faults,
    pub(super) choices: Choices,
    pub(super) now_ms: i64,
    pub(super) kafka: Kafka,
    pub(super) clickhouse: ClickHouse,
    /// Inserts whose sender no longer waits, and which the server has not executed yet.
    pub(super) delayed: Vec<Insert>,
    /// ClickHouse returns permanent errors, as when a table is missing.
    pub(super) returns_permanent_errors: bool,
    pub(super) processes: [Process; PROCESSES],
    pub(super) code: u16,
    pub(super) tokens_sent: u64,
    /// A process halted a partition.
    pub(super) halted: Option<String>,
    pub(super) problem: Option<String>,
    pub(super) windows: Windows,
    pub(super) trace_hash: u64,
}

impl World {
    /// Runs the schedule of a seed: random events, then a quiet time in which everything is finished.
    pub(super) fn run(faults: Faults, seed: u64) -> Outcome {
        let mut world = Self {
            faults,
            choices: Choices::new(seed),
            now_ms: 1_000_000,
            kafka: Kafka::default(),
            clickhouse: ClickHouse::new(faults.token_window),
            delayed: Vec::new(),
            returns_permanent_errors: false,
            processes: Default::default(),
            code: 0,
            tokens_sent: 0,
            halted: None,
            problem: None,
            windows: Windows::default(),
            trace_hash: seed,
        };
        let steps = 60 + world.choices.choose(240);
        world.take_over(0);
        for _ in 0..steps {
            world.happen();
            if world.problem.is_some() || world.halted.is_some() {
                break;
            }
        }
        if world.problem.is_none() && world.halted.is_none() {
            world.finish();
        }
        let result = match world.problem.take() {
            Some(problem) => Err(problem),
            None => world.judge(),
        };
        Outcome { result, windows: world.windows, trace_hash: world.trace_hash }
    }

    pub(super) fn trace(&mut self, value: u64) {
        self.trace_hash = (self.trace_hash.rotate_left(7) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn happen(&mut self) {
        let event = self.choices.choose(64);
        let owner = self.processes.iter().position(|process| process.owns(self.kafka.generation()));
        // The owner acts most of the time, or nothing would get far.
        let who = match owner {
            Some(owner) if event < 55 && !self.choices.one_in(6) => owner,
            _ => self.choices.index(PROCESSES),
        };
        self.trace(event * 2 + who as u64);
        match event {
            0..=54 => self.act(who),
            55 => self.kill(who),
            // The group waits for a silent member and then assigns its partitions to another one, which may be frozen
            // and wake up later.
            56 => {
                self.pass(SESSION_TIMEOUT_MS);
                self.take_over(who);
            }
            // A killed process restarts at once under its member name.
            57 | 58 if self.processes[who].generation == self.kafka.generation() => {
                self.kill(who);
                self.take_over(who);
            }
            59 => self.revoke(who),
            60 => {
                let seconds = self.choices.choose(40) as i64;
                self.pass(seconds * 1000);
            }
            61 if !self.delayed.is_empty() => {
                let nth = self.choices.index(self.delayed.len());
                let insert = self.delayed.remove(nth);
                self.execute_delayed(&insert);
            }
            62 => self.returns_permanent_errors = !self.returns_permanent_errors,
            63 if self.faults.upgrades => self.code = self.choices.choose(4) as u16,
            _ => (),
        }
        let ms = self.choices.choose(3) as i64 * 100;
        self.pass(ms);
    }

    /// Time passes; delayed inserts are executed before `LONGEST_INSERT_MS` is over.
    fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        let (now, delayed) = (self.now_ms, std::mem::take(&mut self.delayed));
        for insert in delayed {
            if now - insert.sent_ms >= LONGEST_INSERT_MS {
                self.execute_delayed(&insert);
            } else {
                self.delayed.push(insert);
            }
        }
    }

    fn execute_delayed(&mut self, insert: &Insert) {
        if insert.generation != self.kafka.generation() {
            self.windows.delayed_insert_executed_after_takeover += 1;
        }
        self.clickhouse.execute(insert, Executes::All);
    }

    fn kill(&mut self, who: usize) {
        let process = &self.processes[who];
        if !process.is_alive {
            return;
        }
        let sends = |delivery: &Delivery| matches!(delivery, Delivery::Insert { .. });
        let windows = &mut self.windows;
        windows.killed_between_intent_and_insert +=
            u64::from(process.jobs.iter().any(|job| sends(&job.request)));
        windows.killed_in_mid_replay += u64::from(process.is_replaying());
        let has_end = process.partitions.iter().any(|(_, partition)| partition.uncommitted_end().is_some());
        windows.killed_with_end_not_committed += u64::from(has_end);
        let generation = process.generation;
        windows.killed_with_insert_sent +=
            u64::from(self.delayed.iter().any(|insert| insert.generation == generation));
        let process = std::mem::take(&mut self.processes[who]);
        self.processes[who] = process.killed();
    }

    /// The group assigns all partitions to this process, which starts again when it is not running.
    fn take_over(&mut self, who: usize) {
        let generation = self.kafka.next_generation();
        let code = self.code;
        let process = &mut self.processes[who];
        if process.is_alive {
            process.release();
        } else {
            *process = Process::started(code);
            process.partitions.next_assignment();
        }
        process.generation = generation;
        self.assign(who);
    }

    /// The group takes the partitions away in good order: the owner finishes its running inserts, for a while.
    fn revoke(&mut self, who: usize) {
        if !self.processes[who].owns(self.kafka.generation()) {
            return;
        }
        let (now, rules) = (self.now_ms, self.faults.rules);
        let process = &mut self.processes[who];
        self.windows.revoked_with_commit_sent += u64::from(process.commit.is_some());
        let sends = |job: &Job| matches!(job.request, Delivery::Insert { .. });
        self.windows.revoked_with_insert_sent += u64::from(process.jobs.iter().any(sends));
        process.is_revoking = true;
        for partition in 0..PARTITIONS {
            process.signal(partition, Signal::Revoked, now, &rules);
        }
        for _ in 0..self.choices.choose(12) {
            self.act(who);
        }
        if self.processes[who].is_alive {
            self.processes[who].release();
        }
        let next = self.choices.index(PROCESSES);
        self.take_over(next);
    }

    fn assign(&mut self, who: usize) {
        let rules = self.faults.rules;
        for partition in 0..PARTITIONS {
            let (next, metadata) = match self.kafka.committed(partition) {
                Some((next, metadata)) => (Some(*next), metadata.as_str()),
                None => (None, ""),
            };
            let committed = CommittedOffset { next, metadata, low: 0, high: END };
            match protocol::start(committed) {
                Err(halt) => self.halted = Some(halt.to_string()),
                Ok(start) => {
                    let state = Partition::new(start, rules.reads_markers);
                    let process = &mut self.processes[who];
                    process.positions[partition] = state.position().map_or(0, |next| next.0);
                    process.partitions.insert(partition as i32, state);
                }
            }
        }
        self.processes[who].reads_newest_markers = rules.reads_markers;
    }

    /// A process does one of the things it can do.
    pub(super) fn act(&mut self, who: usize) {
        if !self.processes[who].is_alive || self.processes[who].generation == 0 {
            return;
        }
        if !self.processes[who].owns(self.kafka.generation()) {
            self.windows.woken_after_takeover += 1;
        }
        let process = &self.processes[who];
        let mut possible: Vec<fn(&mut Self, usize)> = vec![Self::read, Self::start_flush];
        if process.commit.is_some() || process.partitions.wants_commit(true, false) {
            possible.extend([Self::commit as fn(&mut Self, usize); 2]);
        }
        if !process.jobs.is_empty() {
            possible.extend([Self::deliver_any as fn(&mut Self, usize); 2]);
        }
        if !process.replies.is_empty() {
            possible.extend([Self::take_reply as fn(&mut Self, usize); 2]);
        }
        if process.reads_newest_markers {
            possible.push(Self::read_newest_markers);
        }
        let choice = self.choices.index(possible.len());
        self.trace(choice as u64);
        possible[choice](self, who);
        let commands = std::mem::take(&mut self.processes[who].trace);
        for command in commands {
            self.trace(u64::from(command));
        }
        let process = &self.processes[who];
        let halted = process.partitions.iter().find_map(|(_, partition)| partition.permanent_halt());
        // A process that was taken over may find the markers of its successor; its halt is harmless.
        if let Some(reason) = halted
            && process.owns(self.kafka.generation())
        {
            self.halted = Some(reason.to_owned());
        }
        if process.waits_for_newest_marker() {
            self.windows.replayed_before_newest_marker_was_known += 1;
        }
    }

    fn read(&mut self, who: usize) {
        let partition = self.choices.index(PARTITIONS);
        let (now, rules) = (self.now_ms, self.faults.rules);
        let count = 1 + self.choices.choose(4);
        let process = &mut self.processes[who];
        if process.is_revoking {
            return;
        }
        for _ in 0..count {
            while process.positions[partition] < END && !is_record(process.positions[partition]) {
                process.positions[partition] += 1;
            }
            let offset = process.positions[partition];
            if process.paused[partition] || offset >= END {
                break;
            }
            process.positions[partition] += 1;
            process.read(partition, offset, now, &rules);
        }
        self.windows.buffer_full += u64::from(process.is_full());
        self.windows.short_of_memory += u64::from(process.is_short_of_memory());
        self.windows.replay_paused += u64::from(process.has_paused_replay());
        if process.holds_too_much() {
            self.problem = Some(format!("the process holds {} bytes", process.partitions.bytes()));
        }
    }

    fn start_flush(&mut self, who: usize) {
        let (now, rules) = (self.now_ms, self.faults.rules);
        let process = &mut self.processes[who];
        for partition in process.partitions.ids(Partition::can_flush) {
            process.signal(partition as usize, Signal::FlushDue, now, &rules);
        }
    }

    fn take_reply(&mut self, who: usize) {
        let (now, rules) = (self.now_ms, self.faults.rules);
        let process = &mut self.processes[who];
        let reply = process.replies.remove(0);
        if reply.assignment == process.partitions.assignment() {
            process.signal(reply.partition, reply.signal, now, &rules);
        } else {
            self.windows.reply_of_earlier_assignment += 1;
        }
    }

    /// All faults end, every process restarts, and one of them finishes everything.
    fn finish(&mut self) {
        self.returns_permanent_errors = false;
        self.pass(LONGEST_INSERT_MS);
        (0..PROCESSES).for_each(|who| self.kill(who));
        self.take_over(0);
        for _ in 0..4000 {
            let ends = (0..PARTITIONS).map(|partition| self.kafka.committed(partition).clone());
            let is_finished = ends.into_iter().all(|committed| {
                committed.is_some_and(|(next, metadata)| next >= last_end() && metadata.is_empty())
            });
            if is_finished || self.problem.is_some() || self.halted.is_some() {
                return;
            }
            self.act(0);
            self.pass(100);
        }
        self.problem = Some("not finished after all faults ended".to_owned());
    }

    fn judge(&self) -> Result<(), String> {
        for partition in 0..PARTITIONS {
            for offset in (0..END).filter(|&offset| is_record(offset)) {
                match self.clickhouse.count(partition, offset) {
                    1 => (),
                    0 if self.halted.is_some() => (),
                    count => {
                        return Err(format!("record {offset} of partition {partition} counts {count} times"));
                    }
                }
            }
        }
        let records = (0..END).filter(|&offset| is_record(offset)).count() * PARTITIONS;
        let ledger: i64 = self.clickhouse.parts.iter().map(|part| part.ledger).sum();
        match &self.halted {
            // Only code that builds other blocks than the process before may need an operator.
            Some(reason) if !self.faults.upgrades => Err(format!("halted: {reason}")),
            None if ledger != records as i64 => Err(format!("the ledger counts {ledger} records")),
            _ => Ok(()),
        }
    }
}

/// The offset after the last record.
fn last_end() -> NextOffset {
    let last = (0..END).rev().find(|&offset| is_record(offset));
    NextOffset(last.map_or(0, |offset| offset + 1))
}
