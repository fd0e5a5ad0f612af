//! Names of the headers that say why a record became a dead letter and where it came from. The message itself
//! keeps the original key and bytes.

/// Header names of the topic `dead-letters`; values are UTF-8 text, numbers in decimal.
pub mod header {
    /// A [`RejectCode`](crate::RejectCode).
    pub const CODE: &str = "code";
    /// One sentence of bounded length.
    pub const MESSAGE: &str = "message";
    /// JSON pointer to the field, '' for the whole record.
    pub const POINTER: &str = "pointer";
    /// Topic the record was read from.
    pub const ORIGIN_TOPIC: &str = "origin_topic";
    /// Partition the record was read from.
    pub const ORIGIN_PARTITION: &str = "origin_partition";
    /// Offset the record was read from.
    pub const ORIGIN_OFFSET: &str = "origin_offset";
    /// Place of the element in the record's array, 0 for a single event or a whole record.
    pub const ORIGIN_INDEX: &str = "origin_index";
    /// `ingest`, `enrich` or `aggregate`.
    pub const STAGE: &str = "stage";
    /// Version of the program that refused the record.
    pub const VERSION: &str = "version";
    /// The event's `app_id`, where it could be read.
    pub const APP_ID: &str = "app_id";
    /// The event's `platform`, where it could be read.
    pub const PLATFORM: &str = "platform";
    /// The event's `library.name`, where it could be read.
    pub const LIBRARY: &str = "library";
    /// Time in epoch milliseconds at which the raw record reached the broker.
    pub const RECEIVED_AT: &str = "received_at";
}
