//! Headers of a dead letter: why it was rejected and where it was read. The message has the original key and bytes.

/// Header names in the topic `dead-letters`. Values are UTF-8 text, numbers in decimal.
pub mod header {
    /// A [`RejectCode`](crate::RejectCode).
    pub const CODE: &str = "code";
    /// One sentence: the field, its value, and what to send instead.
    pub const MESSAGE: &str = "message";
    /// JSON pointer to the invalid field; '' for the whole event or record.
    pub const POINTER: &str = "pointer";
    /// Topic the record was read from.
    pub const ORIGIN_TOPIC: &str = "origin_topic";
    /// Partition the record was read from.
    pub const ORIGIN_PARTITION: &str = "origin_partition";
    /// Offset the record was read from.
    pub const ORIGIN_OFFSET: &str = "origin_offset";
    /// Last offset of a range that cannot be decoded; its first one is [`ORIGIN_OFFSET`].
    pub const ORIGIN_LAST_OFFSET: &str = "origin_last_offset";
    /// Position of the event in the record's array; 0 for a single event or a whole record.
    pub const ORIGIN_INDEX: &str = "origin_index";
    /// The stage that rejected it: `ingest`, `enrich` or `aggregate`.
    pub const STAGE: &str = "stage";
    /// Version of that program.
    pub const VERSION: &str = "version";
    /// The event's `app_id`, if it could be read.
    pub const APP_ID: &str = "app_id";
    /// The event's `platform`, if it could be read.
    pub const PLATFORM: &str = "platform";
    /// The event's `library.name`, if it could be read.
    pub const LIBRARY: &str = "library";
    /// Bytes of the original value, on a dead letter that has only its beginning.
    pub const VALUE_BYTES: &str = "value_bytes";
    /// SHA-256 of the original value in hexadecimal digits, on a dead letter that has only its beginning.
    pub const VALUE_SHA256: &str = "value_sha256";
    /// `1` on a dead letter that has only the beginning of the original value.
    pub const VALUE_TRUNCATED: &str = "value_truncated";
    /// Bytes of the original key, on a dead letter that has only its beginning.
    pub const KEY_BYTES: &str = "key_bytes";
    /// When the broker received the raw record, epoch milliseconds.
    pub const RECEIVED_AT: &str = "received_at";
}
