//! The buffers of a lane: what its fold made of its records, and the messages that it could not read.
//!
//! Every lane skips a message that no program of this pipeline wrote. One lane per topic keeps it as a dead letter: the
//! rows go into the table of dead letters, as the last blocks of the same flush, and so exactly once. They have no
//! ledger, because no stage has sent them.
use super::dead_letters::DeadLetters;
use super::lane_fold::{Added, FlushCounts, Input, LaneFold, Unreadable};
use crate::block::{Block, Mark};

/// The buffers of a lane's Kafka partitions.
pub struct Buffers {
    fold: Box<dyn LaneFold>,
    /// Keeps the messages that `fold` cannot read; none when another lane does.
    foreign: Option<DeadLetters>,
    /// Name of the lane, part of the marker source of its rows in the table of dead letters.
    lane: &'static str,
}

/// A flush as blocks.
#[derive(Debug)]
pub struct Flushed {
    /// Those of the lane's table, then those of the table of dead letters.
    pub blocks: Vec<Block>,
    /// How many of them go into the lane's table.
    pub own_blocks: usize,
    /// What it counted.
    pub counts: FlushCounts,
}

impl Buffers {
    /// Empty buffers of a lane that keeps foreign messages in `foreign`.
    pub fn new(lane: &'static str, fold: Box<dyn LaneFold>, foreign: Option<DeadLetters>) -> Self {
        Self { fold, foreign, lane }
    }

    /// The source of the markers that a lane's flushes leave in the table of dead letters. Lanes of the same topic must
    /// not take one's markers for the other's.
    pub fn foreign_source(source: &str, lane: &str) -> String {
        format!("{source}/{lane}")
    }

    /// Adds a record to the buffer of its partition.
    ///
    /// # Errors
    /// A newer program wrote the record: why it cannot be read.
    pub fn add(&mut self, input: &Input<'_>) -> Result<Added, String> {
        match self.fold.add(input) {
            Ok(added) => Ok(added),
            Err(Unreadable::Newer(problem)) => Err(problem),
            Err(Unreadable::Foreign(problem)) => Ok(match &mut self.foreign {
                Some(kept) => kept.add_foreign(input, problem),
                None => Added { events: 0, bytes: 0, foreign: Some(problem) },
            }),
        }
    }

    /// Takes the buffer of a partition as blocks.
    pub fn flush(&mut self, partition: i32, mark: Mark) -> Flushed {
        let (mut blocks, counts) = self.fold.flush(partition, mark.clone());
        let own_blocks = blocks.len();
        if let Some(foreign) = &mut self.foreign {
            let source = Self::foreign_source(&mark.source, self.lane);
            let mark = Mark { first_block: blocks.len(), ..Mark::new(source, mark.end) };
            blocks.extend(foreign.flush(partition, mark).0);
        }
        Flushed { blocks, own_blocks, counts }
    }

    /// Drops the buffer of a partition.
    pub fn discard(&mut self, partition: i32) {
        self.fold.discard(partition);
        if let Some(foreign) = &mut self.foreign {
            foreign.discard(partition);
        }
    }
}
