//! Which events were seen before, exactly, for at least one window and at most two.
//!
//! Two sets take turns: when the current one is a window old it becomes the previous one, and the previous one is
//! forgotten as a whole. Time is the broker's receive time, so a restart decides the same.
use foldhash::fast::RandomState;
use hashbrown::HashSet;

/// How long and how many events are remembered.
#[derive(Debug, Clone, Copy)]
pub struct WindowLimits {
    /// Length of the window in milliseconds of receive time.
    pub length_ms: i64,
    /// Most events remembered; beyond it the window becomes shorter.
    pub max_entries: usize,
}

/// The events one partition has accepted lately.
#[derive(Debug)]
pub struct Window {
    limits: WindowLimits,
    current: HashSet<u128, RandomState>,
    previous: HashSet<u128, RandomState>,
    /// Receive time at which `current` began.
    current_since_ms: Option<i64>,
    /// Newest receive time.
    newest_ms: i64,
    /// Receive time since which everything is remembered, if the cap has cut the window short.
    cut_at_ms: Option<i64>,
    /// What the open transaction added to `current`.
    uncommitted: Vec<u128>,
    /// Rotations of the open transaction, oldest first.
    rotations: Vec<Rotation>,
}

/// What a rotation replaced, to undo it: the events before it will be asked about again.
#[derive(Debug)]
struct Rotation {
    /// How many of the `uncommitted` came before it.
    at: usize,
    forgotten: HashSet<u128, RandomState>,
    /// Forgotten as well, because more than a window had passed at once.
    forgotten_current: Option<HashSet<u128, RandomState>>,
    since_ms: i64,
    cut_at_ms: Option<i64>,
}

impl Window {
    /// An empty window.
    pub fn new(limits: WindowLimits) -> Self {
        let limits =
            WindowLimits { length_ms: limits.length_ms.max(1), max_entries: limits.max_entries.max(2) };
        Self {
            limits,
            current: HashSet::default(),
            previous: HashSet::default(),
            current_since_ms: None,
            newest_ms: i64::MIN,
            cut_at_ms: None,
            uncommitted: Vec::new(),
            rotations: Vec::new(),
        }
    }

    /// Notes an event and says whether it is the first with this key. The first received wins.
    pub fn accept(&mut self, key: u128, received_ms: i64) -> bool {
        self.rotate(received_ms);
        if self.previous.contains(&key) || !self.current.insert(key) {
            return false;
        }
        self.uncommitted.push(key);
        true
    }

    /// Has the processor fetch the places of these events, all at once: one after the other they would be waited for.
    pub(crate) fn fetch(&self, keys: impl Iterator<Item = u128>) {
        let known = keys.filter(|key| self.current.contains(key) | self.previous.contains(key));
        // Nobody wants to know the number, and so it would not be counted.
        std::hint::black_box(known.count());
    }

    /// The events accepted since the last commit stay.
    pub fn commit(&mut self) {
        self.uncommitted.clear();
        self.rotations.clear();
    }

    /// The events accepted since the last commit come again: they were not seen.
    pub fn abort(&mut self) {
        while let Some(rotation) = self.rotations.pop() {
            for key in self.uncommitted.drain(rotation.at..) {
                self.current.remove(&key);
            }
            self.current = rotation.forgotten_current.unwrap_or_else(|| std::mem::take(&mut self.previous));
            self.previous = rotation.forgotten;
            self.current_since_ms = Some(rotation.since_ms);
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

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For how long back every repetition is recognised: the window's length, unless the cap has made it shorter.
    pub fn horizon_ms(&self) -> i64 {
        let covered = self.cut_at_ms.map_or(self.limits.length_ms, |cut| self.newest_ms.saturating_sub(cut));
        covered.clamp(0, self.limits.length_ms)
    }

    fn rotate(&mut self, received_ms: i64) {
        self.newest_ms = self.newest_ms.max(received_ms);
        let since_ms = *self.current_since_ms.get_or_insert(received_ms);
        let windows = received_ms.saturating_sub(since_ms) / self.limits.length_ms;
        // The larger half of all that may be remembered, so that the two sets together stay below the cap.
        let full = self.current.len() >= self.limits.max_entries / 2;
        if windows < 1 && !full {
            return;
        }
        let mut forgotten = std::mem::take(&mut self.current);
        std::mem::swap(&mut self.previous, &mut forgotten);
        let forgotten_current = (windows > 1).then(|| std::mem::take(&mut self.previous));
        let cut_at_ms = self.cut_at_ms;
        self.rotations.push(Rotation {
            at: self.uncommitted.len(),
            forgotten,
            forgotten_current,
            since_ms,
            cut_at_ms,
        });
        if windows >= 1 {
            // In whole windows, so that a quiet hour does not keep old events longer than promised.
            self.current_since_ms = Some(since_ms + windows * self.limits.length_ms);
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

    fn window(length_ms: i64) -> Window {
        Window::new(WindowLimits { length_ms, max_entries: 1_000_000 })
    }

    #[test]
    fn a_repeated_event_is_recognised_for_a_whole_window() {
        let mut window = window(HOUR);
        assert!(window.accept(1, 0));
        assert!(window.accept(2, HOUR - 1));
        assert!(!window.accept(1, HOUR));
        assert!(!window.accept(2, 2 * HOUR - 1));
    }

    #[test]
    fn after_two_windows_an_event_is_forgotten() {
        let mut window = window(HOUR);
        assert!(window.accept(1, 0));
        assert!(window.accept(1, 2 * HOUR));
        assert_eq!(window.len(), 1);
    }

    #[test]
    fn an_aborted_event_was_not_seen() {
        let mut window = window(HOUR);
        assert!(window.accept(1, 0));
        window.commit();
        assert!(window.accept(2, 1));
        assert!(window.accept(3, HOUR + 1));
        window.abort();
        assert!(!window.accept(1, HOUR + 2));
        assert!(window.accept(2, HOUR + 2));
        assert!(window.accept(3, HOUR + 2));
    }

    #[test]
    fn a_rotation_is_undone_with_its_transaction() {
        let mut window = window(HOUR);
        assert!(window.accept(1, HOUR - 5));
        assert!(window.accept(2, HOUR));
        window.commit();
        // Two rotations at once, then one more: the first event of this batch is asked about again after the abort.
        assert!(!window.accept(1, HOUR + 1));
        assert!(window.accept(3, 4 * HOUR));
        assert!(window.accept(4, 5 * HOUR));
        window.abort();
        assert!(!window.accept(1, HOUR + 1));
        assert!(!window.accept(2, HOUR + 2));
        assert!(window.accept(3, HOUR + 3));
        assert!(window.accept(4, HOUR + 4));
    }

    #[test]
    fn the_cap_makes_the_window_shorter_and_says_so() {
        let mut window = Window::new(WindowLimits { length_ms: HOUR, max_entries: 100 });
        assert_eq!(window.horizon_ms(), HOUR);
        for key in 0..1000 {
            assert!(window.accept(key, key as i64 * 1000));
            assert!(window.len() <= 100);
            assert!(key < 50 || window.horizon_ms() >= 50_000, "{key}: {}", window.horizon_ms());
        }
        assert!(window.horizon_ms() <= 100_000);
        let repeated = window.accept(999 - 40, 999_000);
        assert!(!repeated && window.horizon_ms() >= 40_000, "what the horizon covers is recognised");
    }

    proptest! {
        /// Batches that commit or abort: an aborted one leaves no trace, so processing it again decides the same.
        #[test]
        fn an_aborted_batch_leaves_no_trace(
            batches in prop::collection::vec((prop::collection::vec((0u128..30, 0i64..800), 1..20), 0..3_u8), 1..30),
            max_entries in prop_oneof![Just(8_usize), Just(1_000_000)],
        ) {
            let limits = WindowLimits { length_ms: 1_000, max_entries };
            let (mut window, mut never_aborted) = (Window::new(limits), Window::new(limits));
            let mut now = 0;
            for (events, aborts) in batches {
                let batch: Vec<(u128, i64)> = events.iter().map(|&(key, step)| { now += step; (key, now) }).collect();
                for _ in 0..aborts {
                    batch.iter().for_each(|&(key, at)| { window.accept(key, at); });
                    window.abort();
                }
                for &(key, at) in &batch {
                    prop_assert_eq!(window.accept(key, at), never_aborted.accept(key, at));
                }
                window.commit();
                never_aborted.commit();
                prop_assert_eq!(window.len(), never_aborted.len());
                prop_assert_eq!(window.horizon_ms(), never_aborted.horizon_ms());
            }
        }

        #[test]
        fn within_one_window_the_answer_is_that_of_a_plain_list(
            events in prop::collection::vec((0u128..20, 0i64..50), 1..200)
        ) {
            let mut window = window(1_000);
            let mut seen: Vec<(u128, i64)> = Vec::new();
            let mut now = 0;
            for (key, step) in events {
                now += step;
                let last = seen.iter().filter(|(k, _)| *k == key).map(|(_, at)| *at).max();
                let first = window.accept(key, now);
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
