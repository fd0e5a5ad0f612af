//! What a stage has made of each input partition, ever, as facts that Kafka itself keeps.
//!
//! The totals travel as the metadata of the offset they stand for and commit in the same transaction as the messages
//! they count. So they are exact through every crash, and whoever can read the group's offsets can audit the stage.
use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::NextOffset;

/// Layout of the text.
const VERSION: &str = "1";

/// How many of what: of one batch, or of one partition since `from`.
///
/// Every event found has one fate: `events = emitted + rejected`. Duplicates travel on, so they are emitted too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Kafka records read.
    pub records: u64,
    /// Events found in them; an element of an array is one, and so is a record that cannot be taken apart.
    pub events: u64,
    /// Events sent on.
    pub emitted: u64,
    /// Those of the emitted that were recognised as duplicates.
    pub duplicates: u64,
    /// Events that became dead letters.
    pub rejected: u64,
}

impl Counts {
    /// Names and values, in the order of the text.
    pub fn entries(&self) -> [(&'static str, u64); 5] {
        [
            ("records", self.records),
            ("events", self.events),
            ("emitted", self.emitted),
            ("duplicates", self.duplicates),
            ("rejected", self.rejected),
        ]
    }

    /// Adds what another batch came to.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.events += other.events;
        self.emitted += other.emitted;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
    }

    /// Reads the counts out of the metadata of a committed offset; see [`Entry`] for where they begin.
    ///
    /// # Errors
    /// [`LedgerError`] when the text is none of ours.
    pub fn parse(metadata: &str) -> Result<Self, LedgerError> {
        metadata.parse::<Entry>().map(|entry| entry.counts)
    }
}

/// The ledger of one input partition: everything from `from` up to the committed offset it stands beside.
///
/// As text: `1;from=0;records=9;events=12;emitted=11;duplicates=2;rejected=1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Offset of the first record that is counted.
    pub from: NextOffset,
    /// What became of the records since.
    pub counts: Counts,
}

/// Why a text is no ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "offset metadata {text:?} is no ledger of this version: {problem}; the group's offsets were set by other means"
)]
pub struct LedgerError {
    /// The text, cut to what fits a log line.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Entry {
    /// A ledger that begins at `from` with nothing.
    pub fn begin(from: NextOffset) -> Self {
        Self { from, counts: Counts::default() }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION};from={}", self.from.0)?;
        self.counts.entries().iter().try_for_each(|(name, value)| write!(f, ";{name}={value}"))
    }
}

impl FromStr for Entry {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let wrong = |problem| LedgerError { text: text.chars().take(100).collect(), problem };
        let rest = text.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix(';'));
        let mut entry = Self::begin(NextOffset(0));
        let mut missing = 6_u32;
        for part in rest.ok_or_else(|| wrong("it does not begin with the version"))?.split(';') {
            let (name, value) = part.split_once('=').ok_or_else(|| wrong("a part has no ="))?;
            let value: u64 = value.parse().map_err(|_| wrong("a value is no whole number"))?;
            let Counts { records, events, emitted, duplicates, rejected } = &mut entry.counts;
            match name {
                "from" => {
                    entry.from = NextOffset(i64::try_from(value).map_err(|_| wrong("`from` is no offset"))?);
                }
                "records" => *records = value,
                "events" => *events = value,
                "emitted" => *emitted = value,
                "duplicates" => *duplicates = value,
                "rejected" => *rejected = value,
                // A newer program may count more.
                _ => continue,
            }
            missing = missing.saturating_sub(1);
        }
        if missing == 0 { Ok(entry) } else { Err(wrong("a count is missing")) }
    }
}

/// The ledgers of the partitions a worker owns: committed totals, and the open transaction on top.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    committed: BTreeMap<i32, Entry>,
    open: BTreeMap<i32, Counts>,
}

impl Ledger {
    /// Goes on from what stands beside the committed offset; begins anew where nothing readable does. Returns the
    /// totals so far.
    pub(crate) fn assigned(&mut self, partition: i32, next: NextOffset, metadata: &str) -> Counts {
        let entry = match metadata.parse::<Entry>() {
            Ok(entry) => entry,
            Err(error) => {
                if !metadata.is_empty() {
                    tracing::warn!(partition, %error, "the ledger of a partition begins anew");
                }
                Entry::begin(next)
            }
        };
        self.committed.insert(partition, entry);
        entry.counts
    }

    pub(crate) fn revoked(&mut self, partition: i32) {
        self.committed.remove(&partition);
        self.open.remove(&partition);
    }

    /// Adds to the open transaction.
    pub(crate) fn count(&mut self, partition: i32, counts: &Counts) {
        self.open.entry(partition).or_default().add(counts);
    }

    /// The text to commit beside the partition's offset.
    pub(crate) fn metadata(&self, partition: i32) -> String {
        self.total(partition).map(|entry| entry.to_string()).unwrap_or_default()
    }

    fn total(&self, partition: i32) -> Option<Entry> {
        let mut entry = *self.committed.get(&partition)?;
        if let Some(open) = self.open.get(&partition) {
            entry.counts.add(open);
        }
        Some(entry)
    }

    /// The open transaction is a fact. Calls `tell` with each partition that changed.
    pub(crate) fn commit(&mut self, mut tell: impl FnMut(i32, &Counts)) {
        for (partition, open) in std::mem::take(&mut self.open) {
            if let Some(entry) = self.committed.get_mut(&partition) {
                entry.counts.add(&open);
                tell(partition, &entry.counts);
            }
        }
    }

    /// The open transaction never happened.
    pub(crate) fn abort(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_text_is_what_the_page_says() {
        let counts = Counts { records: 9, events: 12, emitted: 11, duplicates: 2, rejected: 1 };
        let entry = Entry { from: NextOffset(0), counts };
        let text = "1;from=0;records=9;events=12;emitted=11;duplicates=2;rejected=1";
        assert_eq!(entry.to_string(), text);
        assert_eq!(text.parse(), Ok(entry));
        assert_eq!(Counts::parse(text), Ok(counts));
    }

    #[test]
    fn a_newer_count_is_passed_over_and_anything_else_is_refused() {
        let newer = "1;from=3;records=1;events=1;emitted=1;duplicates=0;rejected=0;reordered=7";
        assert_eq!(newer.parse::<Entry>().unwrap().from, NextOffset(3));
        for text in [
            "",
            "1",
            "2;from=0;records=1;events=1;emitted=1;duplicates=0;rejected=0",
            "1;from=0;records=1;events=1;emitted=1;duplicates=0",
            "1;from=0;records=-1;events=1;emitted=1;duplicates=0;rejected=0",
            "1;c=7;ts=9;h=abc",
        ] {
            assert!(text.parse::<Entry>().is_err(), "{text}");
        }
    }

    proptest! {
        /// Transactions that commit, abort or are cut off by a crash: what is read back is the sum of the committed.
        #[test]
        fn totals_are_the_sum_of_what_was_committed(
            steps in prop::collection::vec((0..3_i32, 0..1000_u64, 0..1000_u64, 0..4_u8), 1..100)
        ) {
            let mut ledger = Ledger::default();
            let mut kafka = [(); 3].map(|()| String::new());
            let mut model = [Counts::default(); 3];
            for partition in 0..3 {
                ledger.assigned(partition, NextOffset(0), "");
            }
            for (partition, records, duplicates, fate) in steps {
                let counts = Counts { records, events: 2 * records, emitted: records, duplicates, rejected: records };
                ledger.count(partition, &counts);
                let text = ledger.metadata(partition);
                let place = partition as usize;
                match fate {
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
                    prop_assert_eq!(Counts::parse(&kafka[place]).unwrap(), model[place]);
                }
            }
        }
    }
}
