//! Playbacks: the first event of each, and when it reaches ten seconds and nine tenths of its content.
//!
//! All by `playback.id`: what was watched since the event before is summed up. A playback silent for longer than the
//! de-duplication window, by the broker's receive time, is over, and so is the one silent longest when a device has
//! more than eight open; a later event of that ID begins another.
use std::rc::Rc;

use super::recent::RC;

/// Open playbacks of one device.
const OPEN: usize = 8;
const EFFECTIVE_MS: i64 = 10_000;

/// What an event says of its playback.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlaybackEvent {
    /// Hash of `playback.id`.
    pub id: u64,
    /// Watched since the event before, in milliseconds.
    pub played_ms: i64,
    /// Duration of the content in milliseconds; 0 when unknown.
    pub duration_ms: i64,
    /// Hash of `content.id`; 0 when there is none.
    pub content: u64,
}

/// What an event was to its playback.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlaybackStamps {
    /// Its first event.
    pub start: bool,
    /// With it ten seconds are watched.
    pub effective: bool,
    /// With it nine tenths of the content are watched.
    pub completed: bool,
    /// It starts, and the device had started the same content before.
    pub replay: bool,
    /// Watched so far, in milliseconds.
    pub played_total_ms: i64,
}

/// A playback that may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Playback {
    pub(crate) id: u64,
    pub(crate) played_ms: i64,
    /// When the broker received its newest event.
    pub(crate) received_ms: i64,
    pub(crate) completed: bool,
}

/// The open playbacks of a device, the one with the latest event last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Playbacks(pub(crate) Option<Rc<[Playback]>>);

impl Playbacks {
    /// Takes an event that the broker received at `received_ms`; all stamps but the replay.
    pub(crate) fn take(
        &mut self,
        event: &PlaybackEvent,
        received_ms: i64,
        silence_ms: i64,
    ) -> PlaybackStamps {
        let open = self.open();
        let place = open.iter().position(|playback| playback.id == event.id);
        let known = place
            .and_then(|place| open.get(place).copied())
            .filter(|known| received_ms.saturating_sub(known.received_ms) <= silence_ms);
        let before = known.unwrap_or(Playback { id: event.id, played_ms: 0, received_ms, completed: false });
        let mut now = before;
        now.received_ms = before.received_ms.max(received_ms);
        now.played_ms = before.played_ms.saturating_add(event.played_ms.max(0));
        // Both are Int64 of the contract's size; ten times that needs more.
        let nine_tenths = i128::from(now.played_ms) * 10 >= i128::from(event.duration_ms) * 9;
        now.completed |= event.duration_ms > 0 && nine_tenths;
        self.put(place, now);
        PlaybackStamps {
            start: known.is_none(),
            effective: before.played_ms < EFFECTIVE_MS && now.played_ms >= EFFECTIVE_MS,
            completed: now.completed && !before.completed,
            replay: false,
            played_total_ms: now.played_ms,
        }
    }

    /// Puts a playback last, which stood at `place` or is new.
    fn put(&mut self, place: Option<usize>, now: Playback) {
        if let (Some(place), Some(open)) = (place, &mut self.0) {
            let later = &mut Rc::make_mut(open)[place..];
            later[0] = now;
            later.rotate_left(1);
        } else {
            let open = self.open();
            let over = (open.len() + 1).saturating_sub(OPEN);
            self.0 = Some(open.iter().skip(over).copied().chain([now]).collect());
        }
    }

    pub(crate) fn open(&self) -> &[Playback] {
        self.0.as_deref().unwrap_or_default()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |open| RC + size_of_val(&**open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: i64 = 3_600_000;

    /// Of each event: seconds at which it is received, ID, milliseconds played, duration; and its stamps as letters.
    fn stamps(events: &[(i64, u64, i64, i64)]) -> Vec<(String, i64)> {
        let mut playbacks = Playbacks::default();
        let mut found = Vec::new();
        for &(seconds, id, played_ms, duration_ms) in events {
            let event = PlaybackEvent { id, played_ms, duration_ms, content: 0 };
            let stamps = playbacks.take(&event, seconds * 1000, WINDOW);
            let letters = [(stamps.start, 's'), (stamps.effective, 'e'), (stamps.completed, 'c')];
            let letters = letters.iter().filter(|(is, _)| *is).map(|&(_, letter)| letter).collect();
            found.push((letters, stamps.played_total_ms));
        }
        found
    }

    #[test]
    fn a_playback_starts_is_effective_and_completed_once() {
        for (name, events, expected) in [
            (
                "step by step",
                vec![
                    (0, 1, 0, 20_000),
                    (5, 1, 9_999, 20_000),
                    (6, 1, 1, 20_000),
                    (9, 1, 8_000, 20_000),
                    (9, 1, 9_000, 20_000),
                ],
                vec![("s", 0), ("", 9_999), ("e", 10_000), ("c", 18_000), ("", 27_000)],
            ),
            ("all at once", vec![(0, 1, 10_000, 10_000)], vec![("sec", 10_000)]),
            ("a short one", vec![(0, 1, 900, 1_000), (1, 1, 9_100, 1_000)], vec![("sc", 900), ("e", 10_000)]),
            ("nine tenths are not rounded", vec![(0, 1, 8, 9), (1, 1, 1, 9)], vec![("s", 8), ("c", 9)]),
            ("never complete without a duration", vec![(0, 1, 99_000, 0)], vec![("se", 99_000)]),
            (
                "two in turn",
                vec![(0, 1, 6_000, 0), (1, 2, 6_000, 0), (2, 1, 6_000, 0)],
                vec![("s", 6_000), ("s", 6_000), ("e", 12_000)],
            ),
            ("silent for a window", vec![(0, 1, 1, 0), (3600, 1, 1, 0)], vec![("s", 1), ("", 2)]),
            ("silent for longer", vec![(0, 1, 1, 0), (3601, 1, 1, 0)], vec![("s", 1), ("s", 1)]),
            (
                "received out of order",
                vec![(100, 1, 1, 0), (0, 1, 1, 0), (3700, 1, 1, 0)],
                vec![("s", 1), ("", 2), ("", 3)],
            ),
            (
                "as much as can be said",
                vec![(0, 1, i64::MAX, i64::MAX), (0, 1, i64::MAX, i64::MAX)],
                vec![("sec", i64::MAX), ("", i64::MAX)],
            ),
        ] {
            let expected: Vec<(String, i64)> =
                expected.iter().map(|&(text, sum)| (text.into(), sum)).collect();
            assert_eq!(stamps(&events), expected, "{name}");
        }
    }

    #[test]
    fn of_more_than_eight_the_one_silent_longest_is_over() {
        let mut events: Vec<_> = (0..8).map(|id| (id as i64, id, 1, 0)).collect();
        events.extend([(8, 0, 1, 0), (9, 8, 1, 0), (10, 0, 1, 0), (11, 1, 1, 0)]);
        let found = stamps(&events);
        let sums: Vec<i64> = found[8..].iter().map(|&(_, sum)| sum).collect();
        assert_eq!(sums, [2, 1, 3, 1]);
    }
}
