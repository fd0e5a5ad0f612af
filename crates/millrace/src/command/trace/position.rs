//! Where an event is: in the raw topic and in the enriched topic.
use std::fmt;

use serde::Serialize;

/// Position of a raw event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct RawPosition {
    pub(crate) topic: String,
    pub(crate) partition: i64,
    pub(crate) offset: i64,
    /// Index in the array of the record; 0 for a single event.
    pub(crate) index: i64,
}

impl fmt::Display for RawPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, offset, index } = self;
        write!(f, "{topic} partition {partition}, offset {offset}")?;
        if *index > 0 { write!(f, ", element {index}") } else { Ok(()) }
    }
}

/// Position of an enriched event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct EnrichedPosition {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) row: usize,
}

impl fmt::Display for EnrichedPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, offset, row } = self;
        write!(f, "enriched-events partition {partition}, offset {offset}, row {row}")
    }
}
