//! Where a record is in its topic.
use rdkafka::message::{BorrowedMessage, Message};
use serde::ser::SerializeMap;

/// Partition, offset and timestamp of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordPosition {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Epoch milliseconds.
    pub(crate) timestamp_ms: Option<i64>,
}

impl RecordPosition {
    pub(crate) fn of(message: &BorrowedMessage<'_>) -> Self {
        let timestamp_ms = message.timestamp().to_millis();
        Self { partition: message.partition(), offset: message.offset(), timestamp_ms }
    }

    pub(crate) fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("_partition", &self.partition)?;
        map.serialize_entry("_offset", &self.offset)?;
        map.serialize_entry("_timestamp", &self.timestamp_ms)
    }
}
