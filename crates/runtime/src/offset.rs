//! Offsets as types, so that "the record read last" and "the record to read next" cannot be mixed up.

/// Offset of a record that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

/// Offset of the record to read next: what Kafka commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextOffset(pub i64);

impl Offset {
    /// Where to go on once this record is settled.
    pub fn next(self) -> NextOffset {
        NextOffset(self.0 + 1)
    }
}
