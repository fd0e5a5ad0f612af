//! The ledger of a stage: counts of everything it has read from an input partition, by outcome.
//!
//! The counts are the metadata of the committed offset, which commits in the same transaction as the messages they
//! count. They are exact after every crash. Read access to the group's offsets is enough to audit the stage.
use std::{fmt, str::FromStr};

use crate::offset::NextOffset;

/// Version of the text format.
const VERSION: &str = "1";

/// Counts of one batch, or of one partition since [`LedgerEntry::from`].
///
/// Every event is either emitted or rejected: `events = emitted + rejected`. `emitted` includes duplicates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LedgerCounts {
    /// Kafka records read.
    pub records: u64,
    /// Events in those records; each element of an array is one event, and a record that cannot be parsed is one event.
    pub events: u64,
    /// Events sent to the output topic.
    pub emitted: u64,
    /// Emitted events that were recognised as duplicates.
    pub duplicates: u64,
    /// Events that became dead letters.
    pub rejected: u64,
}

impl LedgerCounts {
    /// Names and values, in the order of the text format.
    pub fn entries(&self) -> [(&'static str, u64); 5] {
        [
            ("records", self.records),
            ("events", self.events),
            ("emitted", self.emitted),
            ("duplicates", self.duplicates),
            ("rejected", self.rejected),
        ]
    }

    /// Adds the counts of another batch.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.events += other.events;
        self.emitted += other.emitted;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
    }

    /// Parses the counts from the metadata of a committed offset; see [`LedgerEntry`] for the format.
    ///
    /// # Errors
    /// [`LedgerError`] when the text is not a ledger entry.
    pub fn parse(metadata: &str) -> Result<Self, LedgerError> {
        metadata.parse::<LedgerEntry>().map(|entry| entry.counts)
    }
}

/// The ledger of one input partition: counts of all records from `from` up to the committed offset.
///
/// As text: `1;from=0;records=9;events=12;emitted=11;duplicates=2;rejected=1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Offset of the first counted record.
    pub from: NextOffset,
    /// Counts of the records since then.
    pub counts: LedgerCounts,
}

/// Why a text is not a ledger entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "offset metadata {text:?} is not a ledger entry of this version: {problem}; the group's offsets were set by another \
     program"
)]
pub struct LedgerError {
    /// The first 100 characters of the text.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl LedgerEntry {
    /// A ledger that begins at `from` with all counts 0.
    pub fn begin(from: NextOffset) -> Self {
        Self { from, counts: LedgerCounts::default() }
    }
}

impl fmt::Display for LedgerEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION};from={}", self.from.0)?;
        self.counts.entries().iter().try_for_each(|(name, value)| write!(f, ";{name}={value}"))
    }
}

impl FromStr for LedgerEntry {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let wrong = |problem| LedgerError { text: text.chars().take(100).collect(), problem };
        let rest = text.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix(';'));
        let mut entry = Self::begin(NextOffset(0));
        let mut missing = 6_u32;
        for part in rest.ok_or_else(|| wrong("it does not begin with the version"))?.split(';') {
            let (name, value) = part.split_once('=').ok_or_else(|| wrong("a part has no ="))?;
            let value: u64 = value.parse().map_err(|_| wrong("a value is not a whole number"))?;
            let LedgerCounts { records, events, emitted, duplicates, rejected } = &mut entry.counts;
            match name {
                "from" => {
                    entry.from =
                        NextOffset(i64::try_from(value).map_err(|_| wrong("`from` is not an offset"))?);
                }
                "records" => *records = value,
                "events" => *events = value,
                "emitted" => *emitted = value,
                "duplicates" => *duplicates = value,
                "rejected" => *rejected = value,
                // A newer version may have more counts.
                _ => continue,
            }
            missing = missing.saturating_sub(1);
        }
        if missing == 0 { Ok(entry) } else { Err(wrong("a count is missing")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_documented_format() {
        let counts = LedgerCounts { records: 9, events: 12, emitted: 11, duplicates: 2, rejected: 1 };
        let entry = LedgerEntry { from: NextOffset(0), counts };
        let text = "1;from=0;records=9;events=12;emitted=11;duplicates=2;rejected=1";
        assert_eq!(entry.to_string(), text);
        assert_eq!(text.parse(), Ok(entry));
        assert_eq!(LedgerCounts::parse(text), Ok(counts));
    }

    #[test]
    fn an_unknown_count_is_ignored_and_any_other_text_is_an_error() {
        let newer = "1;from=3;records=1;events=1;emitted=1;duplicates=0;rejected=0;reordered=7";
        assert_eq!(newer.parse::<LedgerEntry>().unwrap().from, NextOffset(3));
        for text in [
            "",
            "1",
            "2;from=0;records=1;events=1;emitted=1;duplicates=0;rejected=0",
            "1;from=0;records=1;events=1;emitted=1;duplicates=0",
            "1;from=0;records=-1;events=1;emitted=1;duplicates=0;rejected=0",
            "1;c=7;ts=9;h=abc",
        ] {
            assert!(text.parse::<LedgerEntry>().is_err(), "{text}");
        }
    }
}
