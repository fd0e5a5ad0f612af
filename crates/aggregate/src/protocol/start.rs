//! How an assigned Kafka partition starts, given its offsets in Kafka and its newest marker in ClickHouse.
//! Where a start could lose records or count them twice, the partition halts with a message that contains what to do.
use event::NextOffset;

use super::{Halt, Intent};

/// The committed offset of an assigned partition, and the offsets of its first and last records.
#[derive(Debug, Clone, Copy)]
pub struct CommittedOffset<'a> {
    /// The group's committed offset, if there is one.
    pub next: Option<NextOffset>,
    /// The metadata of that offset.
    pub metadata: &'a str,
    /// The first offset that exists.
    pub low: i64,
    /// The offset after the last record.
    pub high: i64,
}

/// How an assigned partition starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Read from this offset.
    Read(NextOffset),
    /// Replay the records from this offset to the end of the intent, then read which of their markers are in the table.
    Replay(NextOffset, Intent),
}

/// Decides how a partition starts, from Kafka alone: without a committed offset at its first record. [`check_newest_marker`] then compares it with ClickHouse.
///
/// # Errors
/// The partition needs an operator.
pub fn start(committed: CommittedOffset<'_>) -> Result<Start, Halt> {
    let CommittedOffset { next, metadata, low, high } = committed;
    let Some(next) = next else { return Ok(Start::Read(NextOffset(low))) };
    if next.0 < low {
        return Err(Halt::RecordsGone { offset: next.0, low });
    }
    let intent = Intent::decode(metadata)?;
    let needed = intent.as_ref().map_or(next, |intent| intent.end);
    if needed.0 > high {
        return Err(Halt::BeyondEnd { offset: needed.0, high });
    }
    match intent {
        Some(intent) if intent.end > next => Ok(Start::Replay(next, intent)),
        Some(_) => Err(Halt::UnknownIntent(metadata.to_owned())),
        None => Ok(Start::Read(next)),
    }
}

/// Compares the start of a partition with the newest marker of its records.
///
/// # Errors
/// The table holds rows of records that would be read again.
pub fn check_newest_marker(start: &Start, newest: Option<u64>) -> Result<(), Halt> {
    let (next, end) = match start {
        Start::Read(next) => (next.0, next.0),
        Start::Replay(next, intent) => (next.0, intent.end.0),
    };
    // A marker between `next` and `end` belongs to a flush that began at the same offset as this intent and ended at
    // another one: a process that no longer owned the partition committed the intent late.
    let is_known = |marker: u64| i64::try_from(marker).is_ok_and(|marker| marker <= next || marker == end);
    match newest {
        Some(marker) if !is_known(marker) => Err(Halt::BelowMarker { offset: next, marker }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent() -> Intent {
        Intent {
            end: NextOffset(9),
            committed_ms: 2_000_000_000_000,
            epoch: 1,
            hash: 7,
            blocks: 1,
            markers: 2,
            ledger_partition: 0,
        }
    }

    #[test]
    fn a_partition_starts_where_kafka_says_or_halts_with_what_to_do() {
        let text = intent().encode();
        let check = |next: Option<i64>, metadata: &str, low, high, expected: Result<Start, Halt>| {
            let committed = CommittedOffset { next: next.map(NextOffset), metadata, low, high };
            assert_eq!(start(committed), expected, "{committed:?}");
        };
        check(None, "", 3, 9, Ok(Start::Read(NextOffset(3))));
        check(Some(5), "", 3, 9, Ok(Start::Read(NextOffset(5))));
        check(Some(9), "", 3, 9, Ok(Start::Read(NextOffset(9))));
        check(Some(5), &text, 5, 9, Ok(Start::Replay(NextOffset(5), intent())));
        check(Some(5), &text, 6, 9, Err(Halt::RecordsGone { offset: 5, low: 6 }));
        check(Some(5), "", 6, 9, Err(Halt::RecordsGone { offset: 5, low: 6 }));
        check(Some(5), "", 0, 4, Err(Halt::BeyondEnd { offset: 5, high: 4 }));
        check(Some(5), &text, 0, 8, Err(Halt::BeyondEnd { offset: 9, high: 8 }));
        check(Some(5), "2;", 0, 8, Err(Halt::UnknownIntent("2;".into())));
    }

    #[test]
    fn no_record_whose_rows_are_in_the_table_is_read_again() {
        let read = Start::Read(NextOffset(5));
        let replay = Start::Replay(NextOffset(5), intent());
        for (start, newest, is_fine) in [
            (&read, None, true),
            (&read, Some(5), true),
            (&read, Some(6), false),
            (&replay, Some(5), true),
            (&replay, Some(9), true),
            (&replay, Some(7), false),
            (&replay, Some(10), false),
        ] {
            assert_eq!(check_newest_marker(start, newest).is_ok(), is_fine, "{start:?} {newest:?}");
        }
    }
}
