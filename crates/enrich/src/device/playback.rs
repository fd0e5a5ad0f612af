//! Playbacks: the first event of each, and the event with which ten seconds or nine tenths of the content are watched.
//!
//! A playback is identified by `playback.id`; what its events report as watched is summed up. It is over when it is
//! silent for longer than the de-duplication window, by the broker's receive time, or when the device has eight others
//! with newer events. A later event with its ID starts a new playback.
use std::rc::Rc;

use super::heap::RC_COUNTERS;

/// Most open playbacks of one device.
const MAX_OPEN: usize = 8;
/// Watched milliseconds from which a playback is effective.
const EFFECTIVE_MS: i64 = 10_000;

/// What an event reports of its playback.
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

/// What an event is to its playback.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlaybackStamps {
    /// Its first event.
    pub start: bool,
    /// With it ten seconds are watched.
    pub effective: bool,
    /// With it nine tenths of the content are watched.
    pub completed: bool,
    /// It starts a playback of a content that the device has played before. The published field is called `replay`.
    pub rewatch: bool,
    /// Watched so far, in milliseconds.
    pub played_total_ms: i64,
}

/// An open playback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Playback {
    pub(crate) id: u64,
    /// Watched so far.
    pub(crate) played_ms: i64,
    /// When the broker received its newest event.
    pub(crate) received_ms: i64,
    pub(crate) completed: bool,
}

/// The open playbacks of a device, the one with the latest event last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Playbacks(pub(crate) Option<Rc<[Playback]>>);

impl Playbacks {
    /// Applies an event that the broker received at `received_ms`. A playback silent for longer than `silence_ms` is
    /// over. The stamps are without the rewatch.
    pub(crate) fn apply(
        &mut self,
        event: &PlaybackEvent,
        received_ms: i64,
        silence_ms: i64,
    ) -> PlaybackStamps {
        let open = self.open();
        let index = open.iter().position(|playback| playback.id == event.id);
        let known = index
            .and_then(|index| open.get(index).copied())
            .filter(|known| received_ms.saturating_sub(known.received_ms) <= silence_ms);
        let before = known.unwrap_or(Playback { id: event.id, played_ms: 0, received_ms, completed: false });
        let mut now = before;
        now.received_ms = before.received_ms.max(received_ms);
        now.played_ms = before.played_ms.saturating_add(event.played_ms.max(0));
        // Ten times an Int64 of the contract does not fit an i64.
        let nine_tenths = i128::from(now.played_ms) * 10 >= i128::from(event.duration_ms) * 9;
        now.completed |= event.duration_ms > 0 && nine_tenths;
        self.put_last(index, now);
        PlaybackStamps {
            start: known.is_none(),
            effective: before.played_ms < EFFECTIVE_MS && now.played_ms >= EFFECTIVE_MS,
            completed: now.completed && !before.completed,
            rewatch: false,
            played_total_ms: now.played_ms,
        }
    }

    /// Puts a playback last, in place of the one at `index`. A new one may push out the oldest.
    fn put_last(&mut self, index: Option<usize>, now: Playback) {
        if let (Some(index), Some(open)) = (index, &mut self.0) {
            let later = &mut Rc::make_mut(open)[index..];
            later[0] = now;
            later.rotate_left(1);
        } else {
            let open = self.open();
            let over = (open.len() + 1).saturating_sub(MAX_OPEN);
            self.0 = Some(open.iter().skip(over).copied().chain([now]).collect());
        }
    }

    pub(crate) fn open(&self) -> &[Playback] {
        self.0.as_deref().unwrap_or_default()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |open| RC_COUNTERS + size_of_val(&**open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: i64 = 3_600_000;

    /// Each event is: second of receipt, ID, milliseconds played, duration. Returns its stamps as letters, and the sum.
    fn stamps(events: &[(i64, u64, i64, i64)]) -> Vec<(String, i64)> {
        let mut playbacks = Playbacks::default();
        let mut found = Vec::new();
        for &(seconds, id, played_ms, duration_ms) in events {
            let event = PlaybackEvent { id, played_ms, duration_ms, content: 0 };
            let stamps = playbacks.apply(&event, seconds * 1000, WINDOW);
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
                "the largest numbers",
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
