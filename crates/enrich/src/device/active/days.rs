//! The days on which a device was active, as a bitmap up to the newest.
//!
//! The bitmap makes an event that comes late, around midnight or days after others, the first of its day exactly once. It
//! is as long as an event may be late, and a month longer, because the first of a month depends on its other days. Days
//! before it count as active already, so nothing is stamped twice.
use event::calendar::{month_of, week_of};
use std::{ops::RangeInclusive, rc::Rc};

use crate::device::heap::RC_COUNTERS;

/// Days of one number of the bitmap, and the shortest bitmap.
pub(super) const WORD: i32 = 64;

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

/// The active days up to the newest one, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ActiveDays {
    /// In days since 1970-01-01.
    pub(crate) newest: i32,
    /// Bit i stands for day `newest - i`.
    pub(crate) days: u64,
    /// The days before those, 64 in each number, the newest first. None without any active one, and always when events may be
    /// late for a few days only.
    pub(crate) older: Option<Rc<Vec<u64>>>,
}

impl ActiveDays {
    /// Active on one day only.
    pub(crate) fn of(day: i32) -> Self {
        Self { newest: day, days: 1, older: None }
    }

    /// Adds a day, and returns what it is the first of. The bitmap has `length` days.
    pub(crate) fn insert(&mut self, day: i32, length: i32) -> FirstOf {
        if self.contains(day, length) {
            return FirstOf::default();
        }
        let is_first_of = |days| !self.any_of(days, length);
        let first = FirstOf { day: true, week: is_first_of(week_of(day)), month: is_first_of(month_of(day)) };
        let age = self.age(day);
        if age < 0 {
            self.advance(age.unsigned_abs(), length);
            self.newest = day;
            self.days |= 1;
        } else {
            self.set(age);
        }
        first
    }

    /// Whether the device was active on this day. A day before the bitmap counts as active.
    pub(super) fn contains(&self, day: i32, length: i32) -> bool {
        let age = self.age(day);
        age >= i64::from(length) || age >= 0 && self.has(age)
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let older = |older: &Rc<Vec<u64>>| RC_COUNTERS + size_of::<Vec<u64>>() + size_of_val(&older[..]);
        self.older.as_ref().map_or(0, older)
    }

    fn age(&self, day: i32) -> i64 {
        i64::from(self.newest) - i64::from(day)
    }

    fn any_of(&self, days: RangeInclusive<i32>, length: i32) -> bool {
        let youngest = self.age(*days.end()).max(0);
        let oldest = self.age(*days.start()).min(i64::from(length) - 1);
        (youngest..=oldest).any(|age| self.has(age))
    }

    fn has(&self, age: i64) -> bool {
        let word = match usize::try_from(age / i64::from(WORD)) {
            Ok(0) => self.days,
            Ok(word) => self.older.as_ref().and_then(|older| older.get(word - 1)).copied().unwrap_or(0),
            Err(_) => 0,
        };
        word >> (age % i64::from(WORD)) & 1 == 1
    }

    fn set(&mut self, age: i64) {
        let bit = 1 << (age % i64::from(WORD));
        match usize::try_from(age / i64::from(WORD)).unwrap_or(0) {
            0 => self.days |= bit,
            word => {
                let mut older = self.older.take().map(|older| older.to_vec()).unwrap_or_default();
                older.resize(older.len().max(word), 0);
                older[word - 1] |= bit;
                self.older = Some(Rc::new(exact(older)));
            }
        }
    }

    /// Makes all days older by a number of days.
    fn advance(&mut self, days: u64, length: i32) {
        let words = (length.max(WORD) as usize).div_ceil(WORD as usize);
        let (by, bits) = ((days / WORD as u64) as usize, days % WORD as u64);
        let mut moved = vec![0_u64; words];
        let older = self.older.as_ref().map(|older| &older[..]).unwrap_or_default();
        for (word, &value) in std::iter::once(&self.days).chain(older).enumerate() {
            if let Some(to) = moved.get_mut(word.saturating_add(by)) {
                *to |= value << bits;
            }
            if let Some(to) = moved.get_mut(word.saturating_add(by).saturating_add(1))
                && bits > 0
            {
                *to |= value >> (WORD as u64 - bits);
            }
        }
        self.days = moved.remove(0);
        let used = moved.iter().rposition(|&value| value != 0).map_or(0, |last| last + 1);
        moved.truncate(used);
        self.older = (used > 0).then(|| Rc::new(exact(moved)));
    }
}

/// Without unused capacity, so that equal bitmaps take equal memory.
fn exact(mut words: Vec<u64>) -> Vec<u64> {
    words.shrink_to_fit();
    words
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
            assert_eq!(days.insert(day, 64), FirstOf { day: true, week, month }, "{}", day - march(0));
            assert_eq!(days.insert(day, 64), FirstOf::default(), "again {}", day - march(0));
        }
    }

    proptest! {
        #[test]
        fn in_any_order_every_day_week_and_month_is_first_exactly_once(
            length in prop::sample::select(vec![64, 97, 128, 431]),
            first in 0..600_i32,
            days in prop::collection::vec(0..600_i32, 0..300),
        ) {
            let mut active = ActiveDays::of(first);
            let mut seen = BTreeSet::from([first]);
            for day in days {
                let newest = *seen.last().unwrap();
                let reached = newest - day < length && !seen.contains(&day);
                let known: BTreeSet<i32> = seen.iter().copied().filter(|day| newest - day < length).collect();
                let expected = FirstOf {
                    day: reached,
                    week: reached && !known.iter().any(|other| week_of(*other) == week_of(day)),
                    month: reached && !known.iter().any(|other| month_of(*other) == month_of(day)),
                };
                prop_assert_eq!(active.insert(day, length), expected, "day {} of {:?}", day, seen);
                if newest - day < length {
                    seen.insert(day);
                }
            }
            let newest = *seen.last().unwrap();
            let expected: BTreeSet<i32> = seen.iter().copied().filter(|day| newest - day < length).collect();
            let found: BTreeSet<i32> =
                (0..length).filter(|age| active.has(i64::from(*age))).map(|age| newest - age).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
