//! Offsets as types, so that "the record read last" and "the record to read next" cannot be mixed up.
use serde::{Deserialize, Serialize};

/// Offset of a record that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

/// Offset of the record to read next. This is what Kafka commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextOffset(pub i64);

impl Offset {
    /// The offset to commit once this record is processed.
    pub fn next(self) -> NextOffset {
        NextOffset(self.0 + 1)
    }
}

/// Start position of a consumer group that has not committed an offset yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// The oldest record of each partition.
    Earliest,
    /// The next record to be written to each partition.
    Latest,
}
