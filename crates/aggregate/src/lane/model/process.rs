//! One process of the model: the lane's pure code, and in place of its shell the least that executes its commands.
use std::collections::{BTreeMap, BTreeSet};

use event::NextOffset;

use super::clickhouse::Part;
use super::kafka::PARTITIONS;
use crate::lane::partitions::{Commands, Commit, Partitions};
use crate::lane::signal::{Built, Command, Delivered, Delivery, Signal};
use crate::protocol::Rules;

/// The blocks of a flush, each with its rows by table partition.
pub(super) type Blocks = Vec<BTreeMap<u32, Part>>;

/// A step that a delivery task has to execute.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) assignment: u64,
    pub(super) partition: usize,
    pub(super) request: Delivery,
    pub(super) blocks: Blocks,
}

/// A reply on its way from a delivery task to the lane.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) assignment: u64,
    pub(super) partition: usize,
    pub(super) signal: Signal,
}

/// A commit on its way to the broker, and what the broker replied.
#[derive(Debug, Clone)]
pub(super) struct SentCommit {
    pub(super) commit: Commit,
    pub(super) generation: u32,
    pub(super) reply: Option<bool>,
}

/// A few records use up the memory of a process: each takes a byte, in the buffer and in its flush.
const MEMORY: usize = 4;

#[derive(Debug)]
pub(super) struct Process {
    pub(super) is_alive: bool,
    pub(super) generation: u32,
    /// Which code it runs: it decides how blocks are cut, and so their hash.
    pub(super) code: u16,
    pub(super) partitions: Partitions,
    pub(super) is_revoking: bool,
    /// The offset that the consumer fetches next.
    pub(super) positions: [i64; PARTITIONS],
    pub(super) paused: [bool; PARTITIONS],
    buffers: [Vec<i64>; PARTITIONS],
    flushes: [Option<Blocks>; PARTITIONS],
    pub(super) jobs: Vec<Job>,
    pub(super) replies: Vec<Reply>,
    pub(super) commit: Option<SentCommit>,
    /// The query for the newest markers is running.
    pub(super) reads_newest_markers: bool,
    /// Commands executed, as numbers, for the trace.
    pub(super) trace: Vec<u8>,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            is_alive: false,
            generation: 0,
            code: 0,
            partitions: Partitions::new(MEMORY),
            is_revoking: false,
            positions: [0; PARTITIONS],
            paused: [false; PARTITIONS],
            buffers: Default::default(),
            flushes: Default::default(),
            jobs: Vec::new(),
            replies: Vec::new(),
            commit: None,
            reads_newest_markers: false,
            trace: Vec::new(),
        }
    }
}

impl Process {
    /// A process that was started just now.
    pub(super) fn started(code: u16) -> Self {
        Self { is_alive: true, code, ..Self::default() }
    }

    /// What kill -9 leaves.
    pub(super) fn killed(self) -> Self {
        Self { generation: self.generation, ..Self::default() }
    }

    /// Whether it runs with partitions of the current generation.
    pub(super) fn owns(&self, generation: u32) -> bool {
        self.is_alive && self.generation == generation
    }

    /// Reads the record at `offset`.
    pub(super) fn read(&mut self, partition: usize, offset: i64, now_ms: i64, rules: &Rules) {
        let commands = self.partitions.on(partition as i32, Signal::Record { offset }, now_ms, rules);
        let folds = commands.iter().any(|(_, command)| *command == Command::Fold);
        self.execute(commands, now_ms, rules);
        if folds {
            self.buffers[partition].push(offset);
            // A few records fill the buffer.
            let signal = Signal::Folded { offset, events: 60_000, bytes: 1 };
            self.signal(partition, signal, now_ms, rules);
        }
    }

    pub(super) fn signal(&mut self, partition: usize, signal: Signal, now_ms: i64, rules: &Rules) {
        let commands = self.partitions.on(partition as i32, signal, now_ms, rules);
        self.execute(commands, now_ms, rules);
    }

    pub(super) fn execute(&mut self, commands: Commands, now_ms: i64, rules: &Rules) {
        for (id, command) in commands {
            let partition = id as usize;
            self.trace.push(number(&command));
            match command {
                Command::Fold => (),
                Command::Discard => {
                    self.buffers[partition].clear();
                    self.flushes[partition] = None;
                }
                Command::Pause => self.paused[partition] = true,
                Command::Resume => self.paused[partition] = false,
                Command::Build { end, ledger_partition, .. } => {
                    let offsets = std::mem::take(&mut self.buffers[partition]);
                    let blocks = build(partition, &offsets, end, self.code, ledger_partition);
                    let partitions = blocks.iter().map(|block| block.keys().copied().collect()).collect();
                    self.flushes[partition] = Some(blocks);
                    let bytes = offsets.len();
                    let built = Built { hash: hash(&offsets, self.code), partitions, bytes };
                    self.signal(partition, Signal::Built(built), now_ms, rules);
                }
                Command::Deliver(request, _) => {
                    let assignment = self.partitions.assignment();
                    let blocks = self.flushes[partition].clone().expect("a delivery has blocks");
                    self.jobs.push(Job { assignment, partition, request, blocks });
                }
                Command::Report(_) => (),
            }
        }
    }

    pub(super) fn reply(&mut self, job: &Job, delivered: Delivered) {
        let (assignment, partition) = (job.assignment, job.partition);
        self.replies.push(Reply { assignment, partition, signal: Signal::Delivered(delivered) });
    }

    /// Forgets all partitions, as after a revocation.
    pub(super) fn release(&mut self) {
        self.partitions.next_assignment();
        self.is_revoking = false;
        (self.buffers, self.flushes) = Default::default();
        self.paused = Default::default();
        self.reads_newest_markers = false;
    }

    /// What an earlier version did to a partition in mid-replay when a query got a permanent error.
    pub(super) fn discard_replayed_records(&mut self) {
        for partition in 0..PARTITIONS {
            if self.partitions.discard_replayed_records(partition as i32) {
                self.buffers[partition].clear();
            }
        }
    }

    pub(super) fn is_replaying(&self) -> bool {
        self.partitions.iter().any(|(_, partition)| partition.has_replayed_records())
    }

    pub(super) fn waits_for_newest_marker(&self) -> bool {
        self.partitions.iter().any(|(_, partition)| partition.waits_unchecked())
    }

    pub(super) fn is_full(&self) -> bool {
        self.partitions.iter().any(|(_, partition)| partition.is_full() && partition.is_paused())
    }

    pub(super) fn is_short_of_memory(&self) -> bool {
        self.partitions.is_short_of_memory()
    }

    /// A partition is paused in mid-replay because another one replays.
    pub(super) fn has_paused_replay(&self) -> bool {
        self.partitions.iter().any(|(_, partition)| partition.replays() && partition.is_paused())
    }

    /// More than twice the memory, and one record more per partition.
    pub(super) fn holds_too_much(&self) -> bool {
        self.partitions.bytes() > 2 * MEMORY + PARTITIONS
    }
}

/// The rows of each block of a flush by table partition; other code cuts other blocks.
fn build(
    source: usize,
    offsets: &[i64],
    end: NextOffset,
    code: u16,
    ledger_partition: Option<u32>,
) -> Blocks {
    let block_size = if code % 3 == 2 { 3 } else { 100 };
    let mut blocks = Vec::new();
    for (block, offsets) in offsets.chunks(block_size).enumerate() {
        let mut parts = BTreeMap::new();
        let part = |table_partition| {
            let end = end.0 as u64;
            Part { source, block, table_partition, end, offsets: Vec::new(), ledger: 0 }
        };
        for &offset in offsets {
            let table_partition = (offset / 2 % 3) as u32 * 7;
            parts.entry(table_partition).or_insert_with(|| part(table_partition)).offsets.push(offset);
        }
        blocks.push(parts);
    }
    let count = offsets.len() as i64;
    if let Some(first) = blocks.first_mut() {
        let smallest: BTreeSet<u32> = first.keys().copied().collect();
        let table_partition = ledger_partition.or_else(|| smallest.first().copied()).unwrap_or(0);
        let end = end.0 as u64;
        let empty = Part { source, block: 0, table_partition, end, offsets: Vec::new(), ledger: 0 };
        first.entry(table_partition).or_insert(empty).ledger = count;
    }
    blocks
}

fn hash(offsets: &[i64], code: u16) -> u128 {
    let mixed = offsets.iter().fold(u128::from(code) + 1, |hash, &offset| {
        hash.wrapping_mul(0x0100_0000_01b3).wrapping_add(offset as u128 + 1)
    });
    mixed & (u128::MAX >> 1)
}

fn number(command: &Command) -> u8 {
    match command {
        Command::Fold => 1,
        Command::Discard => 2,
        Command::Pause => 3,
        Command::Resume => 4,
        Command::Build { .. } => 5,
        Command::Deliver(Delivery::Wait { .. }, _) => 6,
        Command::Deliver(Delivery::ReadMarkers { .. }, _) => 7,
        Command::Deliver(Delivery::Insert { .. }, _) => 8,
        Command::Report(_) => 9,
    }
}
