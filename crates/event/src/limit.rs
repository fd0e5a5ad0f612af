//! The sizes of the contract. They are part of what clients are promised, so they are constants, not settings.

/// Limits of one raw record and its events.
#[derive(Debug)]
pub struct Limits;

impl Limits {
    /// Largest event, in bytes of JSON. A record with one event has the same bound.
    pub const EVENT_BYTES: usize = 256 * 1024;
    /// Most events in one record.
    pub const ARRAY_EVENTS: usize = 500;
    /// How deep objects and arrays may nest inside an event.
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
