//! Which events were seen before, exactly, for at least one window and at most two.
//!
//! Two sets take turns: when the current one is a window old it becomes the previous one, and the previous one is
//! forgotten as a whole. Time is the broker's receive time, so a restart decides the same.
use foldhash::fast::RandomState;
use hashbrown::HashSet;

/// The events one partition has accepted lately.
#[derive(Debug)]
pub struct Window {
    length_ms: i64,
    current: HashSet<u128, RandomState>,
    previous: HashSet<u128, RandomState>,
    /// Receive time at which `current` began.
    current_since_ms: Option<i64>,
    /// What the open transaction added to `current`.
    uncommitted: Vec<u128>,
}

impl Window {
    /// An empty window of `length_ms` milliseconds.
    pub fn new(length_ms: i64) -> Self {
        Self {
            length_ms: length_ms.max(1),
            current: HashSet::default(),
            previous: HashSet::default(),
            current_since_ms: None,
            uncommitted: Vec::new(),
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

    /// The events accepted since the last commit stay.
    pub fn commit(&mut self) {
        self.uncommitted.clear();
    }

    /// The events accepted since the last commit come again: they were not seen.
    pub fn abort(&mut self) {
        for key in self.uncommitted.drain(..) {
            // A rotation in mid-transaction may have moved it.
            if !self.current.remove(&key) {
                self.previous.remove(&key);
            }
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

    fn rotate(&mut self, received_ms: i64) {
        let since = *self.current_since_ms.get_or_insert(received_ms);
        let windows = received_ms.saturating_sub(since) / self.length_ms;
        if windows < 1 {
            return;
        }
        std::mem::swap(&mut self.current, &mut self.previous);
        self.current.clear();
        if windows > 1 {
            self.previous.clear();
        }
        // In whole windows, so that a quiet hour does not keep old events longer than promised.
        self.current_since_ms = Some(since + windows * self.length_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_repeated_event_is_recognised_for_a_whole_window() {
        let mut window = Window::new(HOUR);
        assert!(window.accept(1, 0));
        assert!(window.accept(2, HOUR - 1));
        assert!(!window.accept(1, HOUR));
        assert!(!window.accept(2, 2 * HOUR - 1));
    }

    #[test]
    fn after_two_windows_an_event_is_forgotten() {
        let mut window = Window::new(HOUR);
        assert!(window.accept(1, 0));
        assert!(window.accept(1, 2 * HOUR));
        assert_eq!(window.len(), 1);
    }

    #[test]
    fn an_aborted_event_was_not_seen() {
        let mut window = Window::new(HOUR);
        assert!(window.accept(1, 0));
        window.commit();
        assert!(window.accept(2, 1));
        assert!(window.accept(3, HOUR + 1));
        window.abort();
        assert!(!window.accept(1, HOUR + 2));
        assert!(window.accept(2, HOUR + 2));
        assert!(window.accept(3, HOUR + 2));
    }

    proptest! {
        #[test]
        fn within_one_window_the_answer_is_that_of_a_plain_list(
            events in prop::collection::vec((0u128..20, 0i64..50), 1..200)
        ) {
            let mut window = Window::new(1_000);
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
