//! The fast part of a device: what nearly every event moves, so that it would cost a record of the changelog each.
//!
//! It is written along whenever there is a record, and when a change has waited for half a de-duplication window. In
//! between it is found again by taking the events of the last window once more: [`Fast::take`] depends on the event
//! and on nothing else. `last_event` says which of them the record knows already.
use std::rc::Rc;

use super::{
    Event,
    activities::ActivityTouch,
    playback::{PlaybackStamps, Playbacks},
    shared::Shared,
    touch::Touch,
};

/// What is found again by taking events once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fast {
    /// The newest event time, epoch milliseconds.
    pub(crate) latest_event_ms: i64,
    /// The highest `event_number`; 0 before the first.
    pub(crate) event_number: i64,
    pub(crate) touch: Option<Touch>,
    pub(crate) activity: Option<Rc<ActivityTouch>>,
    pub(crate) playbacks: Playbacks,
    /// What the event is called that was taken last.
    pub(crate) last_event: u64,
}

/// What the fast part says of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FastStamps {
    pub(crate) lost_events: i64,
    /// Without the replay.
    pub(crate) playback: PlaybackStamps,
}

impl Default for Fast {
    fn default() -> Self {
        Self {
            latest_event_ms: i64::MIN,
            event_number: 0,
            touch: None,
            activity: None,
            playbacks: Playbacks::default(),
            last_event: 0,
        }
    }
}

impl Fast {
    /// Takes an event.
    pub(crate) fn take(
        &mut self,
        event: &Event<'_>,
        is_new_device: bool,
        window_ms: i64,
        shared: &mut Shared,
    ) -> FastStamps {
        self.latest_event_ms = self.latest_event_ms.max(event.time_ms);
        self.last_event = event.called;
        let lost_events = self.count(event.number);
        Touch::after(&mut self.touch, event.judgement.own(is_new_device), event.time_ms);
        if let Some(activity_id) = event.touched_activity {
            ActivityTouch::after(&mut self.activity, activity_id, event.time_ms, shared);
        }
        let playback = match &event.playback {
            Some(playback) => self.playbacks.take(playback, event.received_ms, window_ms),
            None => PlaybackStamps::default(),
        };
        FastStamps { lost_events, playback }
    }

    /// Events missing between the highest number so far and this one.
    fn count(&mut self, number: i64) -> i64 {
        if number <= self.event_number {
            return 0;
        }
        let before = std::mem::replace(&mut self.event_number, number);
        if before == 0 { 0 } else { number - before - 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_the_numbers_is_counted_once_and_a_lower_number_changes_nothing() {
        let mut fast = Fast::default();
        for (number, lost) in
            [(0, 0), (6, 0), (7, 0), (10, 2), (8, 0), (10, 0), (0, 0), (12, 1), (i64::MAX, i64::MAX - 13)]
        {
            assert_eq!(fast.count(number), lost, "{number}");
        }
    }
}
