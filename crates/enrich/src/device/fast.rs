//! The fast part of a device: what nearly every event changes. A record of the changelog for each change would cost as
//! much as the event.
//!
//! It is written with every record of the device, and on its own once a change has waited for half a de-duplication
//! window. A restore rebuilds what came after the record from the events of the last window: [`Fast::apply`] depends on
//! the event alone, and `last_event` marks the last event that the record holds.
use std::rc::Rc;

use super::{
    activity_touch::ActivityTouch,
    event::FastEvent,
    playback::{PlaybackStamps, Playbacks},
    shared::Shared,
    touch::{EvidenceChannel, Touch},
};

/// A larger step of `event_number` is a client that started again, not a loss.
const LARGEST_JUMP: i64 = 1_000_000;

/// The state that a restore rebuilds from events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fast {
    /// Newest event time, epoch milliseconds.
    pub(crate) latest_event_ms: i64,
    /// Newest time at which an event was received, epoch milliseconds.
    pub(crate) received_ms: i64,
    /// Highest `event_number`; 0 before the first.
    pub(crate) event_number: i64,
    pub(crate) touch: Option<Touch>,
    pub(crate) activity: Option<Rc<ActivityTouch>>,
    pub(crate) playbacks: Playbacks,
    /// [`FastEvent::id`] of the event applied last.
    pub(crate) last_event: u64,
}

/// What an event is to the fast part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FastStamps {
    pub(crate) lost_events: i64,
    /// Without the rewatch, which the slow part decides.
    pub(crate) playback: PlaybackStamps,
}

impl Default for Fast {
    fn default() -> Self {
        Self {
            latest_event_ms: i64::MIN,
            received_ms: i64::MIN,
            event_number: 0,
            touch: None,
            activity: None,
            playbacks: Playbacks::default(),
            last_event: 0,
        }
    }
}

impl Fast {
    /// Applies an event. `own_channel` is the channel of its own evidence.
    pub(crate) fn apply(
        &mut self,
        event: &FastEvent<'_>,
        own_channel: Option<&EvidenceChannel>,
        window_ms: i64,
        shared: &mut Shared,
    ) -> FastStamps {
        self.latest_event_ms = self.latest_event_ms.max(event.time_ms);
        self.received_ms = self.received_ms.max(event.received_ms);
        self.last_event = event.id;
        let lost_events = self.count_lost(event.number);
        Touch::update(&mut self.touch, own_channel, event.time_ms);
        if let Some(activity_id) = event.touched_activity {
            ActivityTouch::update(&mut self.activity, activity_id, event.time_ms, shared);
        }
        let playback = match &event.playback {
            Some(playback) => self.playbacks.apply(playback, event.received_ms, window_ms),
            None => PlaybackStamps::default(),
        };
        FastStamps { lost_events, playback }
    }

    /// Events missing between the highest number so far and this one. A larger jump than any real loss is a client that
    /// started again.
    fn count_lost(&mut self, number: i64) -> i64 {
        if number <= self.event_number {
            return 0;
        }
        let before = std::mem::replace(&mut self.event_number, number);
        if before == 0 || number - before > LARGEST_JUMP { 0 } else { number - before - 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_the_numbers_is_counted_once_and_a_lower_number_changes_nothing() {
        let mut fast = Fast::default();
        for (number, lost) in [
            (0, 0),
            (6, 0),
            (7, 0),
            (10, 2),
            (8, 0),
            (10, 0),
            (0, 0),
            (12, 1),
            (1_000_012, 999_999),
            (i64::MAX, 0),
        ] {
            assert_eq!(fast.count_lost(number), lost, "{number}");
        }
    }

    #[test]
    fn a_jump_of_more_than_a_million_is_no_loss() {
        let mut fast = Fast::default();
        for (number, lost) in [(1, 0), (1_000_001, 999_999), (2_000_002, 0), (2_000_004, 1)] {
            assert_eq!(fast.count_lost(number), lost, "{number}");
        }
    }
}
