//! The size limits of the contract. Clients rely on them, so they are constants and not settings.

/// Limits of one raw record and its events.
#[derive(Debug)]
pub struct Limits;

impl Limits {
    /// Largest event, in bytes of JSON. A record with a single event has the same limit.
    pub const EVENT_BYTES: usize = 256 * 1024;
    /// Most events in one record.
    pub const ARRAY_EVENTS: usize = 500;
    /// Deepest nesting of objects and arrays inside an event.
    pub const DEPTH: usize = 8;
    /// Largest `properties`, in bytes of JSON.
    pub const PROPERTIES_BYTES: usize = 32 * 1024;
    /// Most keys in `properties`.
    pub const PROPERTIES_KEYS: usize = 128;
    /// Most entries in `experiments`.
    pub const EXPERIMENTS: usize = 32;
    /// Most entries in `content.tags`.
    pub const TAGS: usize = 20;
}

/// Limits of what the stages write to each other's topics.
#[derive(Debug)]
pub struct StageLimits;

impl StageLimits {
    /// Largest message between the stages, in bytes before compression, key and headers included. A single larger row
    /// is sent alone.
    pub const MESSAGE_BYTES: usize = 1024 * 1024;
    /// What a dead letter keeps of a value that is too large to be kept whole, in bytes.
    pub const TRUNCATED_VALUE_BYTES: usize = 64 * 1024;
    /// What a dead letter keeps of its key, in bytes.
    pub const DEAD_LETTER_KEY_BYTES: usize = 1024;
    /// Most output of one transaction, in bytes before compression, keys and headers included.
    pub const TRANSACTION_BYTES: usize = 16 * 1024 * 1024;
}
