//! How long each partition has had records to write without a flush that ended. Every known cause of waiting has a reason
//! of its own in `/status`; this one is for the causes that nobody has thought of.
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Since when each partition has had something to write and has written nothing.
#[derive(Debug, Default)]
pub(super) struct Unwritten(BTreeMap<i32, Instant>);

impl Unwritten {
    /// The partitions that have something to write now.
    pub(super) fn observe(&mut self, partitions: &BTreeSet<i32>, now: Instant) {
        self.0.retain(|partition, _| partitions.contains(partition));
        for &partition in partitions {
            self.0.entry(partition).or_insert(now);
        }
    }

    /// A flush of the partition has ended.
    pub(super) fn written(&mut self, partition: i32) {
        self.0.remove(&partition);
    }

    /// The partition that has waited longest.
    pub(super) fn longest(&self, now: Instant) -> Option<(i32, Duration)> {
        let (&partition, since) = self.0.iter().min_by_key(|(_, since)| **since)?;
        Some((partition, now.saturating_duration_since(*since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_flush_ends_the_wait_and_the_next_record_begins_another() {
        let start = Instant::now();
        let mut unwritten = Unwritten::default();
        assert_eq!(unwritten.longest(start), None);
        unwritten.observe(&BTreeSet::from([3]), start);
        unwritten.observe(&BTreeSet::from([1, 3]), start + SECOND);
        assert_eq!(unwritten.longest(start + 5 * SECOND), Some((3, 5 * SECOND)));
        unwritten.written(3);
        unwritten.observe(&BTreeSet::from([1, 3]), start + 5 * SECOND);
        assert_eq!(unwritten.longest(start + 6 * SECOND), Some((1, 5 * SECOND)));
        unwritten.observe(&BTreeSet::new(), start + 7 * SECOND);
        assert_eq!(unwritten.longest(start + 8 * SECOND), None);
    }
}
