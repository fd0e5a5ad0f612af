//! The ledgers of the partitions a worker is assigned. Pure: the text that is committed beside each offset goes in
//! and out.
use event::{LedgerCounts, LedgerEntry, LedgerError, NextOffset};
use std::collections::BTreeMap;

/// Committed totals of each assigned partition, and the counts of the open transaction.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    committed: BTreeMap<i32, LedgerEntry>,
    open: BTreeMap<i32, LedgerCounts>,
}

/// A ledger at the beginning of an assignment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// Totals so far.
    pub(super) total: LedgerCounts,
    /// The metadata is not a ledger entry, so the counts begin at 0.
    pub(super) unreadable: Option<LedgerError>,
}

impl Ledger {
    /// Continues from the metadata of the committed offset, or begins at 0 without any.
    pub(super) fn assigned(&mut self, partition: i32, next: NextOffset, metadata: &str) -> Opened {
        let (entry, unreadable) = match metadata.parse::<LedgerEntry>() {
            Ok(entry) => (entry, None),
            Err(_) if metadata.is_empty() => (LedgerEntry::begin(next), None),
            Err(error) => (LedgerEntry::begin(next), Some(error)),
        };
        self.committed.insert(partition, entry);
        Opened { total: entry.counts, unreadable }
    }

    pub(super) fn revoked(&mut self, partition: i32) {
        self.committed.remove(&partition);
        self.open.remove(&partition);
    }

    /// Adds to the open transaction.
    pub(super) fn count(&mut self, partition: i32, counts: &LedgerCounts) {
        self.open.entry(partition).or_default().add(counts);
    }

    /// The text to commit beside the partition's offset; empty for a partition that is not assigned.
    pub(super) fn metadata(&self, partition: i32) -> String {
        let Some(mut entry) = self.committed.get(&partition).copied() else { return String::new() };
        if let Some(open) = self.open.get(&partition) {
            entry.counts.add(open);
        }
        entry.to_string()
    }

    /// The open transaction has committed. Calls `report` with the new total of each partition that changed.
    pub(super) fn commit(&mut self, mut report: impl FnMut(i32, &LedgerCounts)) {
        for (partition, open) in std::mem::take(&mut self.open) {
            if let Some(entry) = self.committed.get_mut(&partition) {
                entry.counts.add(&open);
                report(partition, &entry.counts);
            }
        }
    }

    /// The open transaction has been aborted.
    pub(super) fn abort(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_partition_whose_metadata_is_unreadable_begins_at_0_and_says_why() {
        let mut ledger = Ledger::default();
        let opened = ledger.assigned(0, NextOffset(7), "set by hand");
        assert_eq!(opened.total, LedgerCounts::default());
        assert!(opened.unreadable.is_some());
        assert_eq!(ledger.assigned(0, NextOffset(7), "").unreadable, None);
        assert!(ledger.metadata(0).contains("from=7;records=0"));
    }

    proptest! {
        /// Transactions commit, abort or are cut off by a crash: what is read back is the sum of those that committed.
        #[test]
        fn totals_are_the_sum_of_what_was_committed(
            steps in prop::collection::vec((0..3_i32, 0..1000_u64, 0..1000_u64, 0..4_u8), 1..100)
        ) {
            let mut ledger = Ledger::default();
            let mut kafka = [(); 3].map(|()| String::new());
            let mut model = [LedgerCounts::default(); 3];
            for partition in 0..3 {
                ledger.assigned(partition, NextOffset(0), "");
            }
            for (partition, records, duplicates, end) in steps {
                let counts = LedgerCounts { records, events: 2 * records, emitted: records, duplicates, rejected: records };
                ledger.count(partition, &counts);
                let text = ledger.metadata(partition);
                let place = partition as usize;
                match end {
                    0 => ledger.abort(),
                    1 => {
                        ledger = Ledger::default();
                        for (partition, text) in (0..).zip(&kafka) {
                            ledger.assigned(partition, NextOffset(0), text);
                        }
                    }
                    _ => {
                        kafka[place] = text;
                        model[place].add(&counts);
                        ledger.commit(|partition, total| assert_eq!(total, &model[partition as usize]));
                    }
                }
                if !kafka[place].is_empty() {
                    prop_assert_eq!(LedgerCounts::parse(&kafka[place]).unwrap(), model[place]);
                }
            }
        }
    }
}
