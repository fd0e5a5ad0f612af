//! When the events were received that a partition has not seen yet.
//!
//! Raw partitions advance unevenly: one may be hours behind the others, and its events may repeat those of another raw
//! partition that were received at the same time. So the de-duplication window follows the slowest of them. A look at the
//! raw topic says which raw records ingest has not committed yet, and so since when their events were received. It holds
//! for the events behind those that were in `clean-events` at the time of the look.
use std::collections::VecDeque;

/// Most looks that are remembered. Beyond them every second one is dropped, so that old and new ones remain.
const MAX_LOOKS: usize = 256;

/// The looks at the raw topic, as one partition sees them.
#[derive(Debug, Default)]
pub struct PendingSince {
    /// End of the partition of `clean-events` at the look, and the receive time since which the events behind it were
    /// received. Both ascend.
    looks: VecDeque<(i64, i64)>,
}

impl PendingSince {
    /// Adds a look: the events behind `end` were received at `since_ms` or later.
    pub fn look(&mut self, end: i64, since_ms: i64) {
        let since_ms = self.looks.back().map_or(since_ms, |&(_, before_ms)| since_ms.max(before_ms));
        if self.looks.back().is_some_and(|&look| look == (end, since_ms)) {
            return;
        }
        if self.looks.len() >= MAX_LOOKS {
            let mut place = 0;
            self.looks.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
        self.looks.push_back((end, since_ms));
    }

    /// Since when the event at an offset and all behind it were received; [`i64::MAX`] when no look tells, so that the
    /// newest event alone decides.
    pub fn at(&self, offset: i64) -> i64 {
        if self.looks.is_empty() {
            return i64::MAX;
        }
        let known = self.looks.iter().take_while(|&&(end, _)| end <= offset).last();
        // Of the events before the first look nothing is known.
        known.map_or(i64::MIN, |&(_, since_ms)| since_ms)
    }

    /// Events before this offset are committed and do not come again.
    pub fn committed(&mut self, next: i64) {
        while self.looks.get(1).is_some_and(|&(end, _)| end <= next) {
            self.looks.pop_front();
        }
    }
}

/// What is known of the raw partitions, from looks at their ends and at the offsets that ingest has committed.
#[derive(Debug, Default)]
pub struct RawProgress {
    /// Time of each look, and the end of each raw partition then.
    ends: VecDeque<(i64, Vec<i64>)>,
}

impl RawProgress {
    /// Adds a look at `now_ms`: the end of each raw partition, read before the offset that ingest had committed in it.
    /// Returns since when the events of all raw records behind the committed offsets were received, at the earliest.
    pub fn look(&mut self, now_ms: i64, ends: Vec<i64>, committed: &[i64]) -> i64 {
        if self.ends.len() >= MAX_LOOKS {
            let mut place = 0;
            self.ends.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
        self.ends.push_back((now_ms, ends));
        let since = |(partition, &next): (usize, &i64)| {
            // Everything at or behind the end of a look was appended after it.
            let is_behind =
                |(_, ends): &&(i64, Vec<i64>)| ends.get(partition).is_some_and(|&end| end <= next);
            self.ends.iter().rev().find(is_behind).map_or(i64::MIN, |&(at_ms, _)| at_ms)
        };
        committed.iter().enumerate().map(since).min().unwrap_or(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_holds_for_the_events_behind_those_that_were_there_then() {
        let mut pending = PendingSince::default();
        assert_eq!(pending.at(0), i64::MAX);
        pending.look(10, 1_000);
        pending.look(20, 2_000);
        for (offset, expected) in [(9, i64::MIN), (10, 1_000), (19, 1_000), (20, 2_000), (99, 2_000)] {
            assert_eq!(pending.at(offset), expected, "{offset}");
        }
        pending.committed(25);
        assert_eq!((pending.at(25), pending.looks.len()), (2_000, 1));
        for number in 0..1_000 {
            pending.look(30 + number, 3_000 + number);
        }
        assert!(pending.looks.len() <= MAX_LOOKS);
        assert!(pending.at(2_000) >= 3_900);
    }

    #[test]
    fn a_raw_partition_that_ingest_has_not_read_holds_the_time_back_until_it_is_read() {
        let mut raw = RawProgress::default();
        assert_eq!(raw.look(1_000, vec![10, 10], &[10, 10]), 1_000, "both are read to their ends");
        assert_eq!(raw.look(2_000, vec![20, 20], &[20, 10]), 1_000, "the second stands still");
        assert_eq!(raw.look(3_000, vec![30, 30], &[30, 15]), 1_000);
        assert_eq!(raw.look(4_000, vec![40, 30], &[40, 20]), 2_000);
        assert_eq!(raw.look(5_000, vec![40, 30], &[40, 30]), 5_000);
        assert_eq!(
            RawProgress::default().look(1_000, vec![10, 10], &[10, 0]),
            i64::MIN,
            "nothing is known yet"
        );
        assert_eq!(RawProgress::default().look(1_000, vec![], &[]), 1_000);
    }
}
