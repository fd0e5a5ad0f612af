//! Marker rows: rows by which a block shows that it is in the table.
//!
//! A block carries one marker row per table partition it touches. Rows and marker of a table partition are one data
//! part, so a marker that can be read proves that its rows are there.

/// How long marker rows are kept, in days: ten years. They must exist for as long as their records could be read again,
/// and they carry the ledger, which is the sum over all of them. They cost one row per table partition and Kafka
/// partition.
pub const MARKER_DAYS: u16 = 3653;

/// What the marker rows of a flush say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Where the records came from, `{epoch}/{topic}/{partition}`.
    pub source: String,
    /// The end of the flush, `c`: the offset after its last record.
    pub end: u64,
    /// The table partition whose marker carries the ledger; by default the first one of the first block. Given when a
    /// flush is built again: its ledger must stay where it was.
    pub ledger_table_partition: Option<u32>,
    /// The number of the first block: blocks of another table of the same flush come before it.
    pub first_block: usize,
}

impl Mark {
    /// The mark of a flush that is built for the first time.
    pub fn new(source: impl Into<String>, end: u64) -> Self {
        Self { source: source.into(), end, ledger_table_partition: None, first_block: 0 }
    }

    /// A flush without events has no ledger, also when it is built again.
    #[must_use]
    pub fn with_ledger_of(self, events: u64) -> Self {
        Self { ledger_table_partition: self.ledger_table_partition.filter(|_| events > 0), ..self }
    }

    /// The value of `src` in the markers of the nth block of a flush. Each block has a source of its own: the marker of
    /// one block must not stand for another.
    pub fn source_of(source: &str, block: usize) -> String {
        if block == 0 { source.to_owned() } else { format!("{source}#{block}") }
    }
}

/// The marker rows of a flush: what they say, and in which columns.
#[derive(Debug, Clone)]
pub struct MarkerRows {
    /// What they say.
    pub mark: Mark,
    /// What the flush counted, by column: written to one of the markers.
    pub ledger: Vec<(usize, i64)>,
    /// `keep_days` of the marker rows.
    pub keep_days: u16,
    /// Column of the time by which the table is partitioned.
    pub time_column: usize,
    /// Column `keep_days`.
    pub keep_days_column: usize,
    /// Column `src`.
    pub src_column: usize,
    /// Column `src_end`.
    pub src_end_column: usize,
}
