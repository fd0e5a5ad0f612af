//! The days on which a device was active, as a bitmap of 64 days up to the newest.
//!
//! The bitmap makes an event that comes late, around midnight or days after others, the first of its day exactly once.
//! Days before it count as active already, so nothing is stamped twice.
use event::calendar::{month_of, week_of};
use std::ops::RangeInclusive;

/// Days of the bitmap.
const DAYS: i32 = 64;

/// Whether an event is the first active one of its business day, ISO week and calendar month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FirstOf {
    /// Of its business day.
    pub day: bool,
    /// Of its ISO week.
    pub week: bool,
    /// Of its calendar month.
    pub month: bool,
}

impl FirstOf {
    /// A device's first active event ever.
    pub(crate) const ALL: Self = Self { day: true, week: true, month: true };
}

/// The last 64 days up to the newest active one, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ActiveDays {
    /// In days since 1970-01-01.
    pub(crate) newest: i32,
    /// Bit i stands for day `newest - i`.
    pub(crate) days: u64,
}

impl ActiveDays {
    /// Active on one day only.
    pub(crate) fn of(day: i32) -> Self {
        Self { newest: day, days: 1 }
    }

    /// Adds a day, and returns what it is the first of.
    pub(crate) fn insert(&mut self, day: i32) -> FirstOf {
        if self.contains(day) {
            return FirstOf::default();
        }
        let first =
            FirstOf { day: true, week: !self.any_of(week_of(day)), month: !self.any_of(month_of(day)) };
        let age = i64::from(self.newest) - i64::from(day);
        if age < 0 {
            self.days = if age > -i64::from(DAYS) { self.days << -age | 1 } else { 1 };
            self.newest = day;
        } else {
            self.days |= 1 << age;
        }
        first
    }

    /// Whether the device was active on this day. A day before the bitmap counts as active.
    pub(super) fn contains(&self, day: i32) -> bool {
        let age = i64::from(self.newest) - i64::from(day);
        age >= i64::from(DAYS) || age >= 0 && self.days >> age & 1 == 1
    }

    fn any_of(&self, days: RangeInclusive<i32>) -> bool {
        let age = |day: i32| i64::from(self.newest) - i64::from(day);
        let (youngest, oldest) = (age(*days.end()).max(0), age(*days.start()).min(i64::from(DAYS) - 1));
        if youngest > oldest {
            return false;
        }
        self.days >> youngest & u64::MAX >> (63 - (oldest - youngest)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_week_begins_on_monday_and_a_month_on_its_first_in_any_order_of_days() {
        // 2026-03-01 is a Sunday and day 20513.
        let march = |day: i32| 20_512 + day;
        let mut days = ActiveDays::of(march(2));
        for (day, week, month) in [
            (march(3), false, false),
            (march(8), false, false),
            (march(9), true, false),
            (march(1), true, false),
            (march(0), false, true),
            (march(-5), false, false),
            (march(31), true, false),
            (march(32), false, true),
        ] {
            assert_eq!(days.insert(day), FirstOf { day: true, week, month }, "{}", day - march(0));
            assert_eq!(days.insert(day), FirstOf::default(), "again {}", day - march(0));
        }
    }

    proptest! {
        #[test]
        fn in_any_order_every_day_week_and_month_is_first_exactly_once(first in 0..200_i32, days in prop::collection::vec(0..200_i32, 0..300)) {
            let mut active = ActiveDays::of(first);
            let mut seen = BTreeSet::from([first]);
            for day in days {
                let newest = *seen.last().unwrap();
                let reached = newest - day < DAYS && !seen.contains(&day);
                let known: BTreeSet<i32> = seen.iter().copied().filter(|day| newest - day < DAYS).collect();
                let expected = FirstOf {
                    day: reached,
                    week: reached && !known.iter().any(|other| week_of(*other) == week_of(day)),
                    month: reached && !known.iter().any(|other| month_of(*other) == month_of(day)),
                };
                prop_assert_eq!(active.insert(day), expected, "day {} of {:?}", day, seen);
                if newest - day < DAYS {
                    seen.insert(day);
                }
            }
            let expected: BTreeSet<i32> = seen.iter().copied().filter(|day| seen.last().unwrap() - day < DAYS).collect();
            let found: BTreeSet<i32> =
                (0..DAYS).filter(|age| active.days >> age & 1 == 1).map(|age| active.newest - age).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
