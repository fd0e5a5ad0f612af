//! Which events were seen before: exact for at least one window and at most two.
//!
//! Two sets take turns: when the current set is one window old it becomes the previous set, and the previous set is
//! dropped as a whole. Time is the broker's receive time, so a restart decides the same. It moves on only to where the
//! slowest raw partition is: an event of that one may repeat an event of another that was received long ago.
//!
//! Events are 128-bit keys and the sets use foldhash: 2.6 to 28 times as fast as texts under the standard library's
//! SipHash, by the size of the set.
use foldhash::fast::RandomState;
use hashbrown::HashSet;

/// How long and how many events are remembered.
#[derive(Debug, Clone, Copy)]
pub struct DedupeLimits {
    /// Length of the window in milliseconds of receive time.
    pub length_ms: i64,
    /// Most events remembered. More make the window shorter.
    pub max_entries: usize,
    /// Most bytes of memory. More events make the window shorter.
    pub max_bytes: usize,
}

impl DedupeLimits {
    /// Most events of one of the two sets.
    fn entries_of_a_set(&self) -> usize {
        // A set has a power of two of places, one byte each beside the key, and fills seven eighths of them. Both sets, the
        // one that an open transaction may have dropped, and the half of a set that grows are in memory together.
        let places = (self.max_bytes / (size_of::<u128>() + 1) * 2 / 7).max(16);
        let most = (1_usize << places.ilog2()) / 8 * 7;
        (self.max_entries / 2).min(most).max(1)
    }
}

/// The events that one partition has accepted lately.
#[derive(Debug)]
pub struct DedupeWindow {
    length_ms: i64,
    /// Most events of one set.
    set_entries: usize,
    current: HashSet<u128, RandomState>,
    previous: HashSet<u128, RandomState>,
    /// Receive time at which `current` started.
    current_since_ms: Option<i64>,
    /// Newest receive time in `current`.
    current_newest_ms: i64,
    /// Newest receive time in `previous`.
    previous_newest_ms: i64,
    /// Newest receive time.
    newest_ms: i64,
    /// Receive time since which everything is remembered, when `max_entries` has made the window shorter.
    cut_at_ms: Option<i64>,
    /// What the open transaction added to `current`.
    uncommitted: Vec<u128>,
    /// Rotations of the open transaction, oldest first.
    rotations: Vec<Rotation>,
}

/// Entries of a buffer that stay allocated between transactions.
const KEPT_CAPACITY: usize = 65_536;

/// What a rotation replaced, to undo it: after an abort the events before it come again.
#[derive(Debug)]
struct Rotation {
    /// Number of `uncommitted` events before it.
    uncommitted_before: usize,
    dropped_previous: HashSet<u128, RandomState>,
    /// Set when more than one window had passed, so that the current set was dropped too.
    dropped_current: Option<HashSet<u128, RandomState>>,
    since_ms: i64,
    current_newest_ms: i64,
    previous_newest_ms: i64,
    cut_at_ms: Option<i64>,
}

impl DedupeWindow {
    /// Creates an empty window.
    pub(super) fn new(limits: DedupeLimits) -> Self {
        Self {
            length_ms: limits.length_ms.max(1),
            set_entries: limits.entries_of_a_set(),
            current: HashSet::default(),
            previous: HashSet::default(),
            current_since_ms: None,
            current_newest_ms: i64::MIN,
            previous_newest_ms: i64::MIN,
            newest_ms: i64::MIN,
            cut_at_ms: None,
            uncommitted: Vec::new(),
            rotations: Vec::new(),
        }
    }

    /// Changes the limits, between two transactions, and returns true. Returns false and changes nothing if the window is
    /// larger than they allow: it has to be restored, because without one of its sets nearly every event could be missing.
    #[must_use]
    pub(super) fn set_limits(&mut self, limits: DedupeLimits) -> bool {
        let set_entries = limits.entries_of_a_set();
        if self.current.len().max(self.previous.len()) > set_entries && !self.previous.is_empty() {
            return false;
        }
        self.length_ms = limits.length_ms.max(1);
        self.set_entries = set_entries;
        true
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        let dropped = self.rotations.iter().map(|rotation| {
            let current = rotation.dropped_current.as_ref().map_or(0, HashSet::allocation_size);
            rotation.dropped_previous.allocation_size() + current
        });
        self.current.allocation_size()
            + self.previous.allocation_size()
            + self.uncommitted.capacity() * size_of::<u128>()
            + dropped.sum::<usize>()
    }

    /// Remembers an event; true when it is the first with this key. This event and those to come were received at
    /// `pending_since_ms` or later.
    pub(crate) fn accept(&mut self, key: u128, received_ms: i64, pending_since_ms: i64) -> bool {
        self.rotate(received_ms, received_ms.min(pending_since_ms));
        if self.previous.contains(&key) || !self.current.insert(key) {
            return false;
        }
        self.current_newest_ms = self.current_newest_ms.max(received_ms);
        self.uncommitted.push(key);
        true
    }

    /// Prefetches the entries of these events, so that the cache misses of a batch overlap.
    pub(crate) fn prefetch(&self, keys: impl Iterator<Item = u128>) {
        let known = keys.filter(|key| self.current.contains(key) | self.previous.contains(key));
        // Without `black_box` the compiler removes look-ups whose result is unused.
        std::hint::black_box(known.count());
    }

    /// The transaction is committed: its events stay.
    pub(super) fn commit(&mut self) {
        self.uncommitted.clear();
        self.uncommitted.shrink_to(KEPT_CAPACITY);
        self.rotations.clear();
    }

    /// The transaction is aborted: its events come again and are new then.
    pub(super) fn abort(&mut self) {
        while let Some(rotation) = self.rotations.pop() {
            for key in self.uncommitted.drain(rotation.uncommitted_before..) {
                self.current.remove(&key);
            }
            self.current = rotation.dropped_current.unwrap_or_else(|| std::mem::take(&mut self.previous));
            self.previous = rotation.dropped_previous;
            self.current_since_ms = Some(rotation.since_ms);
            self.current_newest_ms = rotation.current_newest_ms;
            self.previous_newest_ms = rotation.previous_newest_ms;
            self.cut_at_ms = rotation.cut_at_ms;
        }
        for key in self.uncommitted.drain(..) {
            self.current.remove(&key);
        }
    }

    /// Number of events remembered.
    pub fn len(&self) -> usize {
        self.current.len() + self.previous.len()
    }

    /// Whether no event is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How far back every duplicate is recognised: the window's length, unless `max_entries` has made it shorter.
    pub(crate) fn horizon_ms(&self) -> i64 {
        let covered = self.cut_at_ms.map_or(self.length_ms, |cut| self.newest_ms.saturating_sub(cut));
        covered.clamp(0, self.length_ms)
    }

    /// Starts a new set when the current one is full, or one window old at `now_ms`.
    fn rotate(&mut self, received_ms: i64, now_ms: i64) {
        self.newest_ms = self.newest_ms.max(received_ms);
        let since_ms = *self.current_since_ms.get_or_insert(received_ms);
        let windows = now_ms.saturating_sub(since_ms) / self.length_ms;
        let full = self.current.len() >= self.set_entries;
        // While the time stood still, a set took in events of more than one window: it stays until the last is old.
        let old_ms = now_ms.saturating_sub(self.length_ms);
        let is_due = windows >= 1 && self.previous_newest_ms <= old_ms;
        if !is_due && !full {
            return;
        }
        let mut dropped_previous = std::mem::take(&mut self.current);
        std::mem::swap(&mut self.previous, &mut dropped_previous);
        let is_over = windows > 1 && self.current_newest_ms <= old_ms;
        let current_newest_ms = std::mem::replace(&mut self.current_newest_ms, i64::MIN);
        let kept_newest_ms = if is_over { i64::MIN } else { current_newest_ms };
        let previous_newest_ms = std::mem::replace(&mut self.previous_newest_ms, kept_newest_ms);
        let dropped_current = is_over.then(|| std::mem::take(&mut self.previous));
        self.rotations.push(Rotation {
            uncommitted_before: self.uncommitted.len(),
            dropped_previous,
            dropped_current,
            since_ms,
            current_newest_ms,
            previous_newest_ms,
            cut_at_ms: self.cut_at_ms,
        });
        if is_due {
            // In whole windows, so that a quiet hour does not keep old events for longer than two windows.
            self.current_since_ms = Some(since_ms + windows * self.length_ms);
        } else {
            self.current_since_ms = Some(received_ms);
            self.cut_at_ms = Some(since_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000;

    impl DedupeWindow {
        /// As [`accept`](Self::accept), when all raw partitions are at the same time.
        fn accept_alone(&mut self, key: u128, received_ms: i64) -> bool {
            self.accept(key, received_ms, i64::MAX)
        }
    }

    fn window(length_ms: i64) -> DedupeWindow {
        DedupeWindow::new(DedupeLimits { length_ms, max_entries: 1_000_000, max_bytes: usize::MAX })
    }

    #[test]
    fn a_duplicate_is_recognised_for_a_whole_window() {
        let mut window = window(HOUR);
        assert!(window.accept_alone(1, 0));
        assert!(window.accept_alone(2, HOUR - 1));
        assert!(!window.accept_alone(1, HOUR));
        assert!(!window.accept_alone(2, 2 * HOUR - 1));
    }

    #[test]
    fn the_window_follows_the_slowest_raw_partition() {
        let mut window = window(HOUR);
        assert!(window.accept(1, 0, 0));
        // One raw partition is five hours ahead of another, of which nothing has come yet.
        for hour in 1..=5 {
            assert!(window.accept(10 + hour, hour as i64 * HOUR, 0));
        }
        assert!(
            !window.accept(1, 60_000, 0),
            "the other raw partition repeats what was received a minute before"
        );
        assert!(window.accept(2, 4 * HOUR, 4 * HOUR));
        assert!(!window.accept(15, 5 * HOUR, 5 * HOUR), "the newest are kept when the time moves on at once");
        assert!(window.accept(3, 7 * HOUR, 7 * HOUR));
        assert!(window.accept(1, 8 * HOUR, 8 * HOUR), "the oldest are forgotten then");
    }

    #[test]
    fn after_two_windows_an_event_is_forgotten() {
        let mut window = window(HOUR);
        assert!(window.accept_alone(1, 0));
        assert!(window.accept_alone(1, 2 * HOUR));
        assert_eq!(window.len(), 1);
    }

    #[test]
    fn an_aborted_event_is_new_when_it_comes_again() {
        let mut window = window(HOUR);
        assert!(window.accept_alone(1, 0));
        window.commit();
        assert!(window.accept_alone(2, 1));
        assert!(window.accept_alone(3, HOUR + 1));
        window.abort();
        assert!(!window.accept_alone(1, HOUR + 2));
        assert!(window.accept_alone(2, HOUR + 2));
        assert!(window.accept_alone(3, HOUR + 2));
    }

    #[test]
    fn a_rotation_is_undone_with_its_transaction() {
        let mut window = window(HOUR);
        assert!(window.accept_alone(1, HOUR - 5));
        assert!(window.accept_alone(2, HOUR));
        window.commit();
        // Two rotations at once, then one more. The first event of this batch comes again after the abort.
        assert!(!window.accept_alone(1, HOUR + 1));
        assert!(window.accept_alone(3, 4 * HOUR));
        assert!(window.accept_alone(4, 5 * HOUR));
        window.abort();
        assert!(!window.accept_alone(1, HOUR + 1));
        assert!(!window.accept_alone(2, HOUR + 2));
        assert!(window.accept_alone(3, HOUR + 3));
        assert!(window.accept_alone(4, HOUR + 4));
    }

    #[test]
    fn too_many_entries_make_the_window_and_the_horizon_shorter() {
        let mut window =
            DedupeWindow::new(DedupeLimits { length_ms: HOUR, max_entries: 100, max_bytes: usize::MAX });
        assert_eq!(window.horizon_ms(), HOUR);
        for key in 0..1000 {
            assert!(window.accept_alone(key, key as i64 * 1000));
            assert!(window.len() <= 100);
            assert!(key < 50 || window.horizon_ms() >= 50_000, "{key}: {}", window.horizon_ms());
        }
        assert!(window.horizon_ms() <= 100_000);
        let accepted = window.accept_alone(999 - 40, 999_000);
        assert!(!accepted && window.horizon_ms() >= 40_000, "duplicates within the horizon are recognised");
    }

    #[test]
    fn bytes_bound_the_window_whatever_comes_and_a_window_that_is_too_large_is_not_cut() {
        let limits = |max_bytes| DedupeLimits { length_ms: HOUR, max_entries: usize::MAX, max_bytes };
        let mut window = DedupeWindow::new(limits(1 << 20));
        let mut most = 0;
        for key in 0..300_000 {
            assert!(window.accept_alone(key, key as i64));
            most = most.max(window.memory_bytes());
            if key % 1000 == 0 {
                window.commit();
            }
        }
        assert!((500_000..=1 << 20).contains(&most), "{most} bytes");
        assert!(!window.accept_alone(299_000, 300_000));
        window.commit();
        assert!(!window.set_limits(limits(1 << 18)), "it would forget events that the new limit allows");
        assert!(!window.accept_alone(299_000, 300_000));
        assert!(window.set_limits(limits(1 << 20)) && window.set_limits(limits(1 << 22)));
    }

    proptest! {
        /// A batch that is aborted and processed again gets the same decisions.
        #[test]
        fn an_aborted_batch_leaves_no_trace(
            batches in prop::collection::vec((prop::collection::vec((0u128..30, 0i64..800), 1..20), 0..3_u8), 1..30),
            max_entries in prop_oneof![Just(8_usize), Just(1_000_000)],
        ) {
            let limits = DedupeLimits { length_ms: 1_000, max_entries, max_bytes: usize::MAX };
            let (mut window, mut never_aborted) = (DedupeWindow::new(limits), DedupeWindow::new(limits));
            let mut now = 0;
            for (events, aborts) in batches {
                let batch: Vec<(u128, i64)> = events.iter().map(|&(key, step)| { now += step; (key, now) }).collect();
                for _ in 0..aborts {
                    batch.iter().for_each(|&(key, at)| { window.accept_alone(key, at); });
                    window.abort();
                }
                for &(key, at) in &batch {
                    prop_assert_eq!(window.accept_alone(key, at), never_aborted.accept_alone(key, at));
                }
                window.commit();
                never_aborted.commit();
                prop_assert_eq!(window.len(), never_aborted.len());
                prop_assert_eq!(window.horizon_ms(), never_aborted.horizon_ms());
            }
        }

        #[test]
        fn within_one_window_it_decides_like_a_naive_list(
            events in prop::collection::vec((0u128..20, 0i64..50), 1..200)
        ) {
            let mut window = window(1_000);
            let mut seen: Vec<(u128, i64)> = Vec::new();
            let mut now = 0;
            for (key, step) in events {
                now += step;
                let last = seen.iter().filter(|(k, _)| *k == key).map(|(_, at)| *at).max();
                let first = window.accept_alone(key, now);
                match last {
                    None => prop_assert!(first),
                    Some(at) if now - at < 1_000 => prop_assert!(!first),
                    Some(at) if now - at >= 2_000 => prop_assert!(first),
                    Some(_) => (),
                }
                if first {
                    seen.push((key, now));
                }
            }
        }
    }
}
