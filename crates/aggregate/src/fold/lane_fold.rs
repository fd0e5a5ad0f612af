//! The contract between a lane and what it makes of records.
//!
//! The rule: buffers are kept per Kafka partition, and a flush depends on nothing but the records added since the
//! partition's last flush. So a flush that is built again from the same records is the same, byte for byte.
use crate::block::{Block, Mark};

/// A record as a lane reads it.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// Its Kafka partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its Kafka timestamp in epoch milliseconds.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Vec<(&'a str, &'a [u8])>,
}

/// What a record added to the buffer of its partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Events or dead letters.
    pub events: u64,
    /// Bytes of memory that it takes until its rows are in the table: in the buffer and, beside it, in blocks.
    pub bytes: usize,
    /// Why it counts nowhere, if no stage of this pipeline wrote it.
    pub foreign: Option<String>,
}

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// A newer program of this pipeline wrote it, so it counts: the partition stops at it until this program is
    /// upgraded.
    Newer(String),
    /// No program of this pipeline wrote it, or it is damaged: it counts nowhere, and reading goes on behind it.
    Foreign(String),
}

/// What a flush counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct FlushCounts {
    /// Events of any kind, or dead letters.
    pub events: u64,
    /// Those of them that enrich recognised as duplicates.
    pub duplicates: u64,
    /// Events, or entries of exploded fields, that went to the group [`OTHER`](super::OTHER), once per cube.
    pub overflowed: u64,
    /// Newest `received_at` in epoch milliseconds.
    pub received_max: i64,
}

/// What a lane makes of records.
pub trait LaneFold: Send {
    /// Folds a record into the buffer of its partition.
    ///
    /// # Errors
    /// The record cannot be read. The buffer is as before.
    fn add(&mut self, input: &Input<'_>) -> Result<Added, Unreadable>;

    /// Takes the buffer of a partition as blocks; `mark` goes into the marker rows.
    fn flush(&mut self, partition: i32, mark: Mark) -> (Vec<Block>, FlushCounts);

    /// Drops the buffer of a partition.
    fn discard(&mut self, partition: i32);
}
