//! When an event happened: one rule compares the device's clock with the broker's.
use event::TimeSource;

/// Up to this difference between sending and receipt it is transit time; above it the device's clock is wrong.
const TRANSIT_MS: i64 = 60_000;
/// How far an event may be in the future before the receipt time replaces its own.
const FUTURE_MS: i64 = 5 * 60_000;

/// The event time, and which clock it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTime {
    /// Epoch milliseconds.
    pub event_time: i64,
    /// The clock it comes from.
    pub source: TimeSource,
    /// `received_at - sent_at` in milliseconds; 0 without `sent_at`.
    pub skew_ms: i64,
}

/// Computes the event time from the device's times and the broker's. All in epoch milliseconds; extreme times
/// saturate.
pub(crate) fn event_time(original: i64, sent_at: Option<i64>, received_at: i64) -> EventTime {
    let skew_ms = sent_at.map_or(0, |sent_at| received_at.saturating_sub(sent_at));
    let stamp = |event_time, source| EventTime { event_time, source, skew_ms };
    if sent_at.is_some_and(|sent_at| sent_at < original) {
        return stamp(received_at, TimeSource::Received);
    }
    let moved = if skew_ms.saturating_abs() > TRANSIT_MS {
        stamp(corrected(original, sent_at.unwrap_or(received_at), received_at), TimeSource::Corrected)
    } else {
        stamp(original, TimeSource::Client)
    };
    if moved.event_time > received_at.saturating_add(FUTURE_MS) {
        return stamp(received_at, TimeSource::Clamped);
    }
    moved
}

/// The original time, moved by how far the device's clock is off. Computed in 128 bits: the clock may be off by more than
/// 64 bits of milliseconds.
fn corrected(original: i64, sent_at: i64, received_at: i64) -> i64 {
    let time = i128::from(original) + i128::from(received_at) - i128::from(sent_at);
    i64::try_from(time).unwrap_or(if time < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use TimeSource::{Clamped, Client, Corrected, Received};
    use proptest::prelude::*;

    fn at(time: &str) -> i64 {
        format!("2026-03-02T{time}Z").parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    #[track_caller]
    fn check(original: &str, sent: Option<&str>, received: &str, expected: (&str, TimeSource)) {
        let stamped = event_time(at(original), sent.map(at), at(received));
        assert_eq!((stamped.event_time, stamped.source), (at(expected.0), expected.1));
        assert_eq!(stamped.skew_ms, sent.map_or(0, |sent| at(received) - at(sent)));
    }

    #[test]
    fn an_event_sent_ninety_seconds_late_is_moved_by_its_skew() {
        check("11:59:58", Some("12:00:00"), "12:01:30", ("12:01:28", Corrected));
    }

    #[test]
    fn a_clock_that_runs_ahead_is_moved_back() {
        check("12:59:58", Some("13:00:00"), "12:00:00", ("11:59:58", Corrected));
    }

    #[test]
    fn sixty_seconds_between_sending_and_receipt_are_transit() {
        check("11:59:58", Some("12:00:00"), "12:01:00", ("11:59:58", Client));
        check("11:59:58", Some("12:00:00"), "12:01:00.001", ("12:00:58.001", Corrected));
        check("12:01:00", Some("12:01:00"), "12:00:00", ("12:01:00", Client));
    }

    #[test]
    fn the_receipt_time_replaces_times_that_contradict_each_other() {
        check("12:00:01", Some("12:00:00"), "12:00:30", ("12:00:30", Received));
        check("12:00:00", Some("12:00:00"), "12:00:30", ("12:00:00", Client));
    }

    #[test]
    fn the_future_is_clamped_to_the_receipt() {
        check("12:05:00", None, "12:00:00", ("12:05:00", Client));
        check("12:05:00.001", None, "12:00:00", ("12:00:00", Clamped));
    }

    #[test]
    fn an_old_event_sent_at_once_keeps_its_age() {
        check("01:00:00", Some("12:00:00"), "12:00:01", ("01:00:00", Client));
        check("01:00:00", None, "12:00:01", ("01:00:00", Client));
    }

    proptest! {
        #[test]
        fn extreme_times_never_panic(original: i64, sent_at: Option<i64>, received_at: i64) {
            event_time(original, sent_at, received_at);
        }
    }
}
