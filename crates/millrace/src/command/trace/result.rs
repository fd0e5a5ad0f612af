//! What a search for an event found.
use serde::Serialize;

use super::{dead_letter::TracedDeadLetter, event::TracedEvent, position::RawPosition};

/// Where the events were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FoundIn {
    /// The tables in ClickHouse.
    Tables,
    /// The topics.
    Topics,
}

impl FoundIn {
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Tables => "the tables events and dead_letters",
            Self::Topics => "the topics enriched-events and dead-letters",
        }
    }
}

/// What was found, oldest first.
#[derive(Debug)]
pub(crate) struct TraceResult {
    pub(crate) source: FoundIn,
    pub(crate) events: Vec<TracedEvent>,
    pub(crate) dead_letters: Vec<TracedDeadLetter>,
    /// Raw records that contain the ID. Only read if no event and no dead letter is found.
    pub(crate) waiting: Vec<RawPosition>,
}

impl TraceResult {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.dead_letters.is_empty()
    }
}
