//! The check that no event was lost or counted twice, as pure arithmetic: the events that go into a step equal the events
//! that come out of it plus those in flight.
use serde::Serialize;

/// Compares what a stage read with what it sent, or what a stage sent with what the next one has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LedgerCheck {
    /// What is compared.
    pub(super) what: &'static str,
    /// The topic.
    pub(super) topic: String,
    /// The partition; none for the sum over all partitions.
    pub(super) partition: Option<i32>,
    /// Events that went in.
    pub(super) before: u64,
    /// Events that came out.
    pub(super) after: u64,
    /// Events in the topic that have not come out yet.
    pub(super) in_flight: InFlight,
}

/// How many events are in flight. The counts change while they are read, so this is a range: `least` are the events in the
/// topic before the sender's ledger was read, `most` those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct InFlight {
    pub(super) least: u64,
    pub(super) most: u64,
}

impl InFlight {
    /// Adds the events of another partition.
    pub(super) fn add(&mut self, other: Self) {
        self.least += other.least;
        self.most += other.most;
    }
}

impl LedgerCheck {
    /// Events lost (positive) or counted twice (negative); 0 when the numbers agree.
    pub(super) fn difference(&self) -> i128 {
        let missing = i128::from(self.before) - i128::from(self.after);
        let (least, most) = (i128::from(self.in_flight.least), i128::from(self.in_flight.most));
        missing - missing.clamp(least, most.max(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_in_flight_are_not_a_difference() {
        for (before, after, least, most, difference) in [
            (10, 10, 0, 0, 0),
            (10, 7, 3, 3, 0),
            (10, 7, 2, 5, 0),
            (10, 6, 3, 3, 1),
            (10, 8, 3, 3, -1),
            (10, 12, 0, 4, -2),
            (0, 0, 0, 0, 0),
        ] {
            let in_flight = InFlight { least, most };
            let check =
                LedgerCheck { what: "x", topic: "t".into(), partition: None, before, after, in_flight };
            assert_eq!(check.difference(), difference, "{check:?}");
        }
    }
}
