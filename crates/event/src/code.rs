//! Why an event or record is rejected. This closed list serves as metric label, Kafka header and ClickHouse column.
use std::fmt;

macro_rules! codes {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// Why an event or record went to `dead-letters`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RejectCode { $(#[doc = $doc] $variant,)* }

        impl RejectCode {
            /// Every code, in the order of the contract.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as written in metrics, headers and tables.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What the code means, for client teams.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

codes! {
    NotUtf8 "not_utf8" "The record is not UTF-8.",
    MalformedJson "malformed_json" "The record is not one JSON object or array of objects.",
    TooLarge "too_large" "The event is larger than 256 KiB, or the array larger than 4 MiB.",
    TooDeep "too_deep" "Objects or arrays are nested more than 8 deep inside the event.",
    DuplicateKey "duplicate_key" "A top-level key occurs twice in the event.",
    UnsupportedSchema "unsupported_schema" "The major version of `schema_version` is not known.",
    MissingField "missing_field" "A required field is absent or null.",
    InvalidType "invalid_type" "A field has the wrong JSON type.",
    InvalidValue "invalid_value" "A field has the right type, but its value is outside the contract.",
    ForbiddenId "forbidden_id" "`anonymous_id` is a placeholder that many devices share.",
    UnknownApp "unknown_app" "`app_id` is not configured.",
    UnknownEvent "unknown_event" "`event_name` is not in the list and the policy is `reject`.",
    InvalidTimestamp "invalid_timestamp" "A timestamp is neither RFC 3339 with a zone nor epoch milliseconds.",
    TooOld "too_old" "The event happened longer ago than `max_event_age`.",
    Undecodable "undecodable" "A Kafka batch cannot be decompressed or fails its checksum, or no stage wrote the message.",
    EnrichmentError "enrichment_error" "Enrich could not read the message: it is damaged, or ingest did not write it.",
}

impl fmt::Display for RejectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
