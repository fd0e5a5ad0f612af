//! The topics of a pipeline, by name.

/// A topic of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Events as clients send them.
    RawEvents,
    /// Valid events, partitioned by device.
    CleanEvents,
    /// Enriched events, partitioned by device.
    EnrichedEvents,
    /// Changelog of enrich's state, one key per device.
    EnrichState,
    /// Rejected records, with their original bytes.
    DeadLetters,
    /// The activity registry.
    Activities,
}

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
}
