//! What ingest counted in the current transaction. The counts are published when it commits and discarded when it
//! aborts.
use crate::{contract::PLACES, raw_event::places};
use event::{RejectCode, TimeSource};

const CODES: usize = RejectCode::ALL.len();

/// Counts of events, in the order of the lists they are indexed by.
#[derive(Debug)]
pub(crate) struct BatchCounts {
    pub(crate) emitted: u64,
    rejected: [u64; CODES],
    time_sources: [u64; TimeSource::ALL.len()],
    /// Fields that the contract does not know, in accepted and rejected events.
    pub(crate) unknown_fields: u64,
    /// By the place of a field: number of accepted events whose text was cut.
    cut_texts: [u64; PLACES],
    /// For each record: its partition, and whether it or any event in it was rejected.
    records: Vec<(i32, bool)>,
}

impl Default for BatchCounts {
    fn default() -> Self {
        Self {
            emitted: 0,
            rejected: [0; CODES],
            time_sources: [0; TimeSource::ALL.len()],
            unknown_fields: 0,
            cut_texts: [0; PLACES],
            records: Vec::new(),
        }
    }
}

impl BatchCounts {
    /// Counts an accepted event. `cut_texts` has one bit for each place with a text that was cut.
    pub(crate) fn emitted(&mut self, source: TimeSource, cut_texts: u128) {
        self.emitted += 1;
        for place in places(cut_texts) {
            self.cut_texts[place] += 1;
        }
        self.time_sources[source as usize] += 1;
    }

    /// Returns whether this is the first rejection with this code.
    pub(crate) fn rejected(&mut self, code: RejectCode) -> bool {
        let count = &mut self.rejected[code as usize];
        *count += 1;
        *count == 1
    }

    pub(crate) fn record(&mut self, partition: i32, any_rejected: bool) {
        self.records.push((partition, any_rejected));
    }

    pub(crate) fn records(&self) -> &[(i32, bool)] {
        &self.records
    }

    /// Every code with its number of events.
    pub(crate) fn rejected_by_code(&self) -> impl Iterator<Item = (RejectCode, u64)> {
        RejectCode::ALL.iter().copied().zip(self.rejected)
    }

    /// Every time source with its number of accepted events.
    pub(crate) fn by_time_source(&self) -> impl Iterator<Item = (TimeSource, u64)> {
        TimeSource::ALL.iter().copied().zip(self.time_sources)
    }

    /// The place of each field with texts that were cut, and their number.
    pub(crate) fn cut_texts_by_place(&self) -> impl Iterator<Item = (usize, u64)> {
        self.cut_texts.into_iter().enumerate().filter(|&(_, count)| count > 0)
    }

    /// Forgets everything and keeps the allocation.
    pub(crate) fn clear(&mut self) {
        let mut records = std::mem::take(&mut self.records);
        records.clear();
        *self = Self { records, ..Self::default() };
    }
}
