//! The dead-letter codes that the simulator expects of ingest. They are listed here again, independently of the
//! pipeline's own list, so that a change on either side is noticed.

use serde::{Deserialize, Serialize};

/// A dead-letter code of ingest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the contract's codes")]
pub enum ExpectedCode {
    NotUtf8,
    MalformedJson,
    TooLarge,
    TooDeep,
    DuplicateKey,
    UnsupportedSchema,
    MissingField,
    InvalidType,
    InvalidValue,
    ForbiddenId,
    UnknownApp,
    UnknownEvent,
    InvalidTimestamp,
    TooOld,
    /// Not among [`ALL`](Self::ALL): the simulator's own records can be decoded.
    Undecodable,
    /// Not among [`ALL`](Self::ALL): it is for messages that no stage wrote.
    EnrichmentError,
}

impl ExpectedCode {
    /// Those that the simulator provokes, in the contract's order.
    pub const ALL: &[Self] = &[
        Self::NotUtf8,
        Self::MalformedJson,
        Self::TooLarge,
        Self::TooDeep,
        Self::DuplicateKey,
        Self::UnsupportedSchema,
        Self::MissingField,
        Self::InvalidType,
        Self::InvalidValue,
        Self::ForbiddenId,
        Self::UnknownApp,
        Self::UnknownEvent,
        Self::InvalidTimestamp,
        Self::TooOld,
    ];

    /// The code as written in the contract and in the header of dead letters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::MalformedJson => "malformed_json",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::DuplicateKey => "duplicate_key",
            Self::UnsupportedSchema => "unsupported_schema",
            Self::MissingField => "missing_field",
            Self::InvalidType => "invalid_type",
            Self::InvalidValue => "invalid_value",
            Self::ForbiddenId => "forbidden_id",
            Self::UnknownApp => "unknown_app",
            Self::UnknownEvent => "unknown_event",
            Self::InvalidTimestamp => "invalid_timestamp",
            Self::TooOld => "too_old",
            Self::Undecodable => "undecodable",
            Self::EnrichmentError => "enrichment_error",
        }
    }

    /// Relative frequency among invalid records. Large ones are rare: each costs as much as hundreds of events.
    pub(crate) const fn weight(self) -> u32 {
        match self {
            Self::TooLarge => 1,
            Self::MissingField | Self::InvalidType | Self::InvalidValue => 24,
            _ => 10,
        }
    }

    /// Whether the whole array around such an event is rejected too.
    pub(crate) const fn needs_own_record(self) -> bool {
        matches!(self, Self::NotUtf8)
    }
}
