//! A model of what the lane needs of ClickHouse: an insert stores one part per table partition, a token is remembered
//! per table partition, and markers are found by their end. `servers` holds it against a real server.
use std::collections::VecDeque;

use crate::protocol::FoundMarkers;

/// The rows of one block in one table partition, which the server stores wholly or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// The Kafka partition that its records come from.
    pub(super) source: usize,
    pub(super) block: usize,
    pub(super) table_partition: u32,
    /// `src_end` of its marker row.
    pub(super) end: u64,
    /// Offsets of its records.
    pub(super) offsets: Vec<i64>,
    /// Records that its marker row adds to the ledger.
    pub(super) ledger: i64,
}

#[derive(Debug, Clone)]
pub(super) struct Insert {
    pub(super) token: String,
    pub(super) parts: Vec<Part>,
    pub(super) sent_ms: i64,
    /// The generation of the group in which it was sent.
    pub(super) generation: u32,
}

/// How far the server gets with an insert.
#[derive(Debug, Clone, Copy)]
pub(super) enum Executes {
    All,
    /// Only the first parts.
    Parts(usize),
    /// Only the first parts, then the server is killed after it stored the token of the next part and before its rows.
    PartsAndTokenWithoutRows(usize),
}

#[derive(Debug)]
pub(super) struct ClickHouse {
    token_window: usize,
    tokens: VecDeque<(String, u32)>,
    pub(super) parts: Vec<Part>,
}

impl ClickHouse {
    pub(super) fn new(token_window: usize) -> Self {
        Self { token_window, tokens: VecDeque::new(), parts: Vec::new() }
    }

    /// Executes an insert. Returns whether a token was stored without its rows.
    pub(super) fn execute(&mut self, insert: &Insert, executes: Executes) -> bool {
        for (nth, part) in insert.parts.iter().enumerate() {
            let is_killed_here = match executes {
                Executes::All => false,
                Executes::Parts(count) if nth >= count => return false,
                Executes::Parts(_) => false,
                Executes::PartsAndTokenWithoutRows(count) => nth == count,
            };
            let token = (insert.token.clone(), part.table_partition);
            if self.tokens.contains(&token) {
                if is_killed_here {
                    return false;
                }
                continue;
            }
            self.tokens.push_back(token);
            if self.tokens.len() > self.token_window {
                self.tokens.pop_front();
            }
            if is_killed_here {
                return true;
            }
            self.parts.push(part.clone());
        }
        false
    }

    /// The markers of a source's first blocks that say `end` or more.
    pub(super) fn markers(&self, source: usize, blocks: usize, end: u64) -> FoundMarkers {
        let of_source = self.parts.iter().filter(|part| part.source == source && part.block < blocks);
        of_source.filter(|part| part.end >= end).map(|part| (part.block, part.table_partition)).collect()
    }

    /// The newest end that the markers of a source say.
    pub(super) fn newest(&self, source: usize) -> Option<u64> {
        self.parts.iter().filter(|part| part.source == source).map(|part| part.end).max()
    }

    /// How often a record counts.
    pub(super) fn count(&self, source: usize, offset: i64) -> usize {
        let of_source = self.parts.iter().filter(|part| part.source == source);
        of_source.map(|part| part.offsets.iter().filter(|&&other| other == offset).count()).sum()
    }
}
