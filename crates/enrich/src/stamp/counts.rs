//! How many events of each kind a batch holds.
use event::Kind;

/// Number of events by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StampCounts {
    /// Valid, unique events of real clients.
    pub events: u64,
    /// Events seen before.
    pub duplicates: u64,
    /// Test events.
    pub tests: u64,
    /// Events of crawlers.
    pub bots: u64,
}

impl StampCounts {
    /// Counts an event.
    pub(super) fn count(&mut self, kind: Kind) {
        *match kind {
            Kind::Event => &mut self.events,
            Kind::Duplicate => &mut self.duplicates,
            Kind::Test => &mut self.tests,
            Kind::Bot => &mut self.bots,
        } += 1;
    }

    /// Adds the counts of another batch.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.duplicates += other.duplicates;
        self.tests += other.tests;
        self.bots += other.bots;
    }

    /// As the stage's ledger counts them: every event is emitted, whatever its kind.
    pub fn ledger(&self) -> event::LedgerCounts {
        let events = self.events + self.duplicates + self.tests + self.bots;
        let duplicates = self.duplicates;
        event::LedgerCounts { events, emitted: events, duplicates, ..event::LedgerCounts::default() }
    }
}
