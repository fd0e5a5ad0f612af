//! The size limits of the contract. Clients rely on them, so they are constants and not settings.
//! The validation of ingest, the JSON Schema, the reference and the tests use these lists.

/// Limits of one raw record and its events.
#[derive(Debug)]
pub struct Limits;

impl Limits {
    /// Largest event, in bytes of JSON. A record with a single event has the same limit.
    pub const EVENT_BYTES: usize = 256 * 1024;
    /// Largest record with an array of events, in bytes of JSON. `raw-events` takes records up to this size; a larger
    /// one was compressed.
    pub const ARRAY_BYTES: usize = 4 * 1024 * 1024;
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
    /// Most characters of the name and of the variant of an experiment.
    pub const EXPERIMENT_CHARACTERS: usize = 256;
    /// Most entries in `content.tags`.
    pub const TAGS: usize = 20;
    /// Most characters of a tag.
    pub const TAG_CHARACTERS: usize = 64;
    /// A dimension out of `properties` is cut to this many characters.
    pub const PROPERTY_CHARACTERS: usize = 256;
}

/// What a dead letter keeps of a record.
#[derive(Debug)]
pub struct DeadLetterLimits;

impl DeadLetterLimits {
    /// Largest value that is kept whole. For an element of an array: largest value and key together.
    pub const VALUE_BYTES: usize = 1024 * 1024;
    /// What is kept of a larger value: its first bytes.
    pub const CUT_VALUE_BYTES: usize = 64 * 1024;
    /// What is kept of a key: its first bytes.
    pub const KEY_BYTES: usize = 1024;
}

/// Limits of what the stages write to each other's topics.
#[derive(Debug)]
pub struct StageLimits;

impl StageLimits {
    /// Largest message between the stages, in bytes before compression, key and headers included. A single larger row
    /// is sent alone.
    pub const MESSAGE_BYTES: usize = 1024 * 1024;
    /// Most output of one transaction, in bytes before compression, keys and headers included.
    pub const TRANSACTION_BYTES: usize = 16 * 1024 * 1024;
}

/// What the contract allows as the value of one field of the raw event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldLimit {
    /// A text of at most this many characters. A longer one rejects the event.
    Characters(usize),
    /// A text that clients do not choose: it is cut to this many characters, and the event is accepted.
    CutCharacters(usize),
    /// A whole number from the first to the second. Any other one rejects the event.
    WholeNumber(i64, i64),
}

/// The field with this JSON pointer, and its limit. Texts with a form of their own, such as `event_name`, are not here.
pub const FIELD_LIMITS: &[(&str, FieldLimit)] = {
    use FieldLimit::{Characters, CutCharacters, WholeNumber};
    const DAY_MS: i64 = 24 * 3_600_000;
    &[
        ("/app_version", Characters(32)),
        ("/anonymous_id", Characters(128)),
        ("/user_id", Characters(128)),
        ("/session_id", Characters(64)),
        ("/locale", Characters(256)),
        ("/timezone", Characters(256)),
        ("/device/id", Characters(128)),
        ("/device/manufacturer", Characters(128)),
        ("/device/model", Characters(128)),
        ("/device/type", Characters(128)),
        ("/device/os_name", Characters(128)),
        ("/device/os_version", Characters(128)),
        ("/device/network_type", Characters(128)),
        ("/user_agent", CutCharacters(1024)),
        ("/page/url", CutCharacters(4096)),
        ("/page/path", CutCharacters(1024)),
        ("/page/title", CutCharacters(1024)),
        ("/page/referrer", CutCharacters(4096)),
        ("/page/page_type", Characters(256)),
        ("/screen/name", Characters(256)),
        ("/campaign/source", Characters(256)),
        ("/campaign/medium", Characters(256)),
        ("/campaign/name", Characters(256)),
        ("/campaign/term", Characters(256)),
        ("/campaign/content", Characters(256)),
        ("/campaign/id", Characters(256)),
        ("/click_id", Characters(256)),
        ("/click_id_type", Characters(256)),
        ("/install_source", Characters(64)),
        ("/content/id", Characters(256)),
        ("/content/type", Characters(128)),
        ("/content/author_id", Characters(256)),
        ("/content/category", Characters(64)),
        ("/content/duration_ms", WholeNumber(0, 30 * DAY_MS)),
        ("/playback/id", Characters(256)),
        ("/playback/state", Characters(128)),
        ("/playback/position_ms", WholeNumber(0, 30 * DAY_MS)),
        ("/playback/played_ms", WholeNumber(0, DAY_MS)),
        ("/playback/quality", Characters(128)),
        ("/playback/rebuffer_ms", WholeNumber(0, DAY_MS)),
        ("/upload/id", Characters(256)),
        ("/upload/bytes", WholeNumber(0, 1 << 50)),
        ("/upload/duration_ms", WholeNumber(0, 30 * DAY_MS)),
        ("/upload/error_code", Characters(256)),
        ("/commerce/order_id", Characters(128)),
        ("/commerce/product_id", Characters(128)),
        ("/commerce/product_type", Characters(128)),
        ("/commerce/quantity", WholeNumber(0, 1_000_000)),
        ("/commerce/revenue_minor", WholeNumber(-1_000_000_000_000, 1_000_000_000_000)),
        ("/commerce/currency", Characters(128)),
        ("/commerce/entry_point", Characters(128)),
        ("/commerce/gift_id", Characters(128)),
        ("/commerce/receiver_id", Characters(128)),
        ("/creator/id", Characters(256)),
        ("/creator/level", Characters(256)),
        ("/creator/previous_level", Characters(256)),
        ("/library/name", Characters(256)),
        ("/library/version", Characters(256)),
    ]
};
