//! What a consumer has not read of a partition yet: all records up to the high watermark, those behind an open transaction
//! included. Readers see no record behind the first open transaction, whoever has opened it. Pure: time is an argument.
use std::time::{Duration, Instant};

/// The unread part of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backlog {
    records: i64,
    /// The last stable offset, and since when it has been the same with records behind it.
    open: Option<(i64, Instant)>,
}

impl Backlog {
    /// The backlog behind `position`. Offsets below 0 are not known yet. `earlier` is what was known before.
    pub(super) fn new(
        position: i64,
        last_stable: i64,
        high_watermark: i64,
        now: Instant,
        earlier: Option<Self>,
    ) -> Self {
        let end = high_watermark.max(last_stable);
        let records = if position >= 0 { (end - position).max(0) } else { 0 };
        let open = (last_stable >= 0 && last_stable < high_watermark).then(|| {
            let same = earlier.and_then(|earlier| earlier.open).filter(|(offset, _)| *offset == last_stable);
            same.unwrap_or((last_stable, now))
        });
        Self { records, open }
    }

    /// Records up to the high watermark, control records of transactions included.
    pub(super) fn records(&self) -> i64 {
        self.records
    }

    /// For how long the same open transaction has kept records back; 0 if there is none.
    pub(super) fn open_for(&self, now: Instant) -> Duration {
        self.open.map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_behind_an_open_transaction_count_and_its_age_grows_while_the_last_stable_offset_stands_still()
    {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let idle = Backlog::new(7, 7, 7, start, None);
        assert_eq!((idle.records(), idle.open_for(after(9))), (0, Duration::ZERO));

        let open = Backlog::new(7, 7, 507, start, Some(idle));
        assert_eq!((open.records(), open.open_for(start)), (500, Duration::ZERO));
        let longer = Backlog::new(7, 7, 600, after(40), Some(open));
        assert_eq!((longer.records(), longer.open_for(after(40))), (593, Duration::from_secs(40)));

        let next = Backlog::new(600, 601, 700, after(50), Some(longer));
        assert_eq!(next.open_for(after(52)), Duration::from_secs(2), "another transaction");
    }

    #[test]
    fn unknown_offsets_are_no_backlog() {
        let now = Instant::now();
        for (position, last_stable, high_watermark) in
            [(-1001, -1001, -1001), (5, -1001, -1001), (-1001, 3, 9)]
        {
            assert_eq!(Backlog::new(position, last_stable, high_watermark, now, None).records(), 0);
        }
    }
}
