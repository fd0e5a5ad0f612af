//! Lanes: independent paths from a topic to a ClickHouse table, each with its own consumer group.

/// A lane of the stage `aggregate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Cubes with panes of seconds.
    Live,
    /// Cubes with panes of hours and days.
    Report,
    /// Dead letters, one row each.
    DeadLetters,
    /// Events, one row each.
    Events,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 4] = [Self::Live, Self::Report, Self::DeadLetters, Self::Events];

    /// The name in the configuration, in group names, tables and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Report => "report",
            Self::DeadLetters => "dead_letters",
            Self::Events => "events",
        }
    }

    /// The lane of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.as_str() == name)
    }
}
