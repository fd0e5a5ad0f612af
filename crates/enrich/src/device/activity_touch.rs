//! The activities that a device touched: the first touch of each, and the last touch of all, to which conversions are
//! attributed.
//!
//! Only an event with status `ok` touches its activity. The last touch is that of the newest event time. A conversion
//! is attributed to it when it lies at most the activity's attribution window after it; a conversion that itself touches
//! an activity is attributed to that one.
use std::rc::Rc;

use super::{recent::Recent, shared::Shared};

/// Activities that the device has touched, by hash.
pub(crate) type TouchedActivities = Recent<32>;

/// A touch of an activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityTouch {
    /// The activity's ID.
    pub activity_id: Rc<str>,
    /// Event time in epoch milliseconds.
    pub time_ms: i64,
}

impl ActivityTouch {
    /// Replaces the last touch by one of `activity_id` at `time_ms`, unless the last one is newer.
    pub(crate) fn update(last: &mut Option<Rc<Self>>, activity_id: &str, time_ms: i64, shared: &mut Shared) {
        if last.as_ref().is_some_and(|last| last.time_ms > time_ms) {
            return;
        }
        let activity_id = match last {
            Some(last) if &*last.activity_id == activity_id => Rc::clone(&last.activity_id),
            _ => shared.text(activity_id),
        };
        *last = Some(Rc::new(Self { activity_id, time_ms }));
    }

    /// Whether a conversion at `time_ms` lies within `window_ms` after this touch.
    pub(crate) fn leads_to(&self, time_ms: i64, window_ms: i64) -> bool {
        (0..=window_ms).contains(&time_ms.saturating_sub(self.time_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversion_lies_within_the_window_after_the_touch_of_the_newest_event_time() {
        let (mut last, mut shared) = (None, Shared::default());
        for (activity, time_ms) in [("spring", 100), ("summer", 200), ("autumn", 150)] {
            ActivityTouch::update(&mut last, activity, time_ms, &mut shared);
        }
        let last = last.unwrap();
        assert_eq!((&*last.activity_id, last.time_ms), ("summer", 200));
        for (time_ms, expected) in [(199, false), (200, true), (260, true), (261, false)] {
            assert_eq!(last.leads_to(time_ms, 60), expected, "{time_ms}");
        }
    }
}
