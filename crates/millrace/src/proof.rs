//! The proof that nothing was lost or counted twice, as pure arithmetic: what went into each step must have come out
//! of it, but for what was under way while the numbers were read.
use serde::Serialize;

/// One comparison: of a stage with itself, or of what a stage sent with what the next one received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What is compared.
    pub(crate) what: &'static str,
    /// Topic in question.
    pub(crate) topic: String,
    /// Its partition; none for a sum over all of them.
    pub(crate) partition: Option<i32>,
    /// Events that went in.
    pub(crate) before: u64,
    /// Events that came out.
    pub(crate) after: u64,
    /// Events in the topic that had not come out yet.
    pub(crate) in_flight: InFlight,
}

/// How many events were under way. Numbers that move cannot all be read at one instant: what was there before the
/// sender's count was read is the least, what was there afterwards the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct InFlight {
    pub(crate) least: u64,
    pub(crate) most: u64,
}

impl InFlight {
    /// Adds what another partition holds.
    pub(crate) fn add(&mut self, other: Self) {
        self.least += other.least;
        self.most += other.most;
    }
}

impl Check {
    /// Events too few (positive) or too many (negative) behind the step; 0 when the numbers agree.
    pub(crate) fn difference(&self) -> i128 {
        let missing = i128::from(self.before) - i128::from(self.after);
        let (least, most) = (i128::from(self.in_flight.least), i128::from(self.in_flight.most));
        missing - missing.clamp(least, most.max(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_no_difference() {
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
            let check = Check { what: "x", topic: "t".into(), partition: None, before, after, in_flight };
            assert_eq!(check.difference(), difference, "{check:?}");
        }
    }
}
