//! The topics of a pipeline and what each must look like for the promises to hold.
use crate::config::Kafka;

mod check;

pub use check::{Found, Problem, check, check_at_start, find, problems};

/// A topic of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// What clients send.
    RawEvents,
    /// Valid events, by device.
    CleanEvents,
    /// Attributed events, by device.
    EnrichedEvents,
    /// Changelog of enrich's state per device.
    EnrichState,
    /// Refused records, with their original bytes.
    DeadLetters,
    /// The activity registry.
    Activities,
}

/// Largest record of `raw-events`. Dead letters may be larger, because they carry headers beside the same bytes.
const RAW_MAX_BYTES: u32 = 4 * 1024 * 1024;
/// Largest message of the other topics.
const MAX_BYTES: u32 = 8 * 1024 * 1024;

impl Topic {
    /// Every topic, in the order of the flow.
    pub const ALL: &[Self] = &[
        Self::RawEvents,
        Self::CleanEvents,
        Self::EnrichedEvents,
        Self::EnrichState,
        Self::DeadLetters,
        Self::Activities,
    ];

    /// The name without the configured prefix.
    pub fn name(self) -> &'static str {
        match self {
            Self::RawEvents => "raw-events",
            Self::CleanEvents => "clean-events",
            Self::EnrichedEvents => "enriched-events",
            Self::EnrichState => "enrich-state",
            Self::DeadLetters => "dead-letters",
            Self::Activities => "activities",
        }
    }

    /// How many partitions `millrace topics create` gives it. The registry is small and read whole by everyone.
    pub fn partitions(self, kafka: &Kafka) -> i32 {
        match self {
            Self::Activities => 1,
            _ => kafka.partitions as i32,
        }
    }

    /// The settings the topic is created with.
    pub fn settings(self) -> Vec<(&'static str, String)> {
        const DAY_MS: u64 = 24 * 3600 * 1000;
        let max_bytes = if self == Self::RawEvents { RAW_MAX_BYTES } else { MAX_BYTES };
        let mut settings = vec![("max.message.bytes", max_bytes.to_string())];
        match self {
            Self::RawEvents => {
                // The broker's clock decides what is late or too old, never a client's.
                settings.push(("message.timestamp.type", "LogAppendTime".into()));
                settings.push(("retention.ms", (7 * DAY_MS).to_string()));
            }
            Self::CleanEvents | Self::EnrichedEvents => {
                settings.push(("retention.ms", (3 * DAY_MS).to_string()))
            }
            Self::DeadLetters => settings.push(("retention.ms", (30 * DAY_MS).to_string())),
            Self::EnrichState | Self::Activities => settings.push(("cleanup.policy", "compact".into())),
        }
        settings
    }
}
