//! One Kafka record as clients send it.

/// One Kafka record. Reuse it: [`Simulator::next`] keeps its buffers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RawRecord {
    /// The `anonymous_id`. Empty if the event has none; the record is then sent without a key.
    pub key: Vec<u8>,
    /// JSON, or the invalid bytes of a broken client.
    pub value: Vec<u8>,
}

/// What the simulator wrote as one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSummary {
    /// Number of events, invalid ones included.
    pub events: u32,
    /// Number of events that ingest must reject.
    pub rejected: u32,
    /// Whether the same bytes were sent before.
    pub duplicate: bool,
}
