//! Finds the newest event of each partition. Pure.
//!
//! The end of a topic may hold no message: each transaction ends with a marker that has an offset too. So the search
//! reads the last few offsets first, and goes further back in the partitions where it has found no message.
use rdkafka::Offset;
use std::collections::BTreeMap;

/// Offsets before the end that are read first.
const FIRST_LOOK: i64 = 64;
/// Offsets by which a further look goes back, at most.
const FURTHER: i64 = 4096;

/// The search in progress.
#[derive(Debug)]
pub(super) struct NewestSearch {
    partitions: BTreeMap<i32, Searched>,
}

#[derive(Debug)]
struct Searched {
    first: i64,
    /// The last look started here.
    from: i64,
    newest_received_ms: Option<i64>,
}

impl NewestSearch {
    /// Starts a search in partitions with these first offsets and ends. An empty partition needs none.
    pub(super) fn new(bounds: impl Iterator<Item = (i32, i64, i64)>) -> Self {
        let partitions = bounds.filter(|(_, first, end)| first < end).map(|(partition, first, end)| {
            (partition, Searched { first, from: (end - FIRST_LOOK).max(first), newest_received_ms: None })
        });
        Self { partitions: partitions.collect() }
    }

    /// The offsets from which to read first.
    pub(super) fn start(&self) -> Vec<(i32, Offset)> {
        let start = |(&partition, searched): (&i32, &Searched)| (partition, Offset::Offset(searched.from));
        self.partitions.iter().map(start).collect()
    }

    /// A message was read, whose newest event was received at this time.
    pub(super) fn found(&mut self, partition: i32, received_ms: i64) {
        if let Some(searched) = self.partitions.get_mut(&partition) {
            searched.newest_received_ms = searched.newest_received_ms.max(Some(received_ms));
        }
    }

    /// The offsets from which to read next, once everything has been read to the end; empty when the search is over.
    pub(super) fn look_further(&mut self) -> Vec<(i32, Offset)> {
        let mut further = Vec::new();
        for (&partition, searched) in &mut self.partitions {
            if searched.newest_received_ms.is_none() && searched.from > searched.first {
                searched.from = (searched.from - FURTHER).max(searched.first);
                further.push((partition, Offset::Offset(searched.from)));
            }
        }
        further
    }

    /// Receive time of the newest event of each partition that has one.
    pub(super) fn newest(&self) -> impl Iterator<Item = (i32, i64)> {
        let newest = |(&partition, searched): (&i32, &Searched)| {
            searched.newest_received_ms.map(|received_ms| (partition, received_ms))
        };
        self.partitions.iter().filter_map(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_goes_back_only_where_it_has_found_no_message() {
        let mut search =
            NewestSearch::new([(0, 5, 5), (1, 0, 10_000), (2, 0, 10_000), (3, 7, 20)].into_iter());
        let at = |partition, offset| (partition, Offset::Offset(offset));
        assert_eq!(search.start(), [at(1, 9_936), at(2, 9_936), at(3, 7)]);
        search.found(1, 200);
        search.found(1, 100);
        assert_eq!(search.look_further(), [at(2, 5_840)]);
        assert_eq!(search.look_further(), [at(2, 1_744)]);
        assert_eq!(search.look_further(), [at(2, 0)]);
        assert_eq!(search.look_further(), []);
        search.found(2, 300);
        assert_eq!(search.newest().collect::<Vec<_>>(), [(1, 200), (2, 300)]);
    }
}
