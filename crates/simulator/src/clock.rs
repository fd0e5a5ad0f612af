//! When events happen: the activity over a day, the times of a span, and the contract's rule for `event_time`.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::Offset;

use crate::names::TimeSource;

const HOUR_MS: i64 = 3_600_000;
const SHANGHAI_MS: i64 = 8 * HOUR_MS;

/// Longest time from `now_ms` to the receipt by the broker for which the truth holds.
pub(crate) const LONGEST_TRANSIT_MS: i64 = 40_000;

/// Activity by hour of the day in Asia/Shanghai, as a multiple of the daily mean.
const DAY_CURVE: [f64; 24] = [
    0.72, 0.42, 0.24, 0.16, 0.14, 0.19, 0.36, 0.62, 0.82, 0.93, 1.00, 1.10, 1.36, 1.30, 1.08, 1.02, 1.04,
    1.12, 1.30, 1.58, 1.92, 2.08, 1.98, 1.52,
];

/// When the events happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// Just before `now_ms`: live traffic.
    Now,
    /// The first `events` events are spread from `start_ms` to `end_ms` (epoch milliseconds), in order, by the
    /// activity over a day. They are sent at `now_ms`, so `time_source` is client. The span must be within
    /// `ingest.max_event_age`.
    Span {
        /// Time of the first event.
        start_ms: i64,
        /// Time of the last event.
        end_ms: i64,
        /// Number of events in the span.
        events: u64,
    },
}

/// How busy the platform is at `now_ms` (epoch ms), as a multiple of the daily mean in Asia/Shanghai.
pub(crate) fn day_weight(now_ms: i64) -> f64 {
    let of_day = (now_ms + SHANGHAI_MS).rem_euclid(24 * HOUR_MS);
    let hour = (of_day / HOUR_MS) as usize;
    let share = (of_day % HOUR_MS) as f64 / HOUR_MS as f64;
    DAY_CURVE[hour] * (1.0 - share) + DAY_CURVE[(hour + 1) % 24] * share
}

/// When an event happens, by the number of events before it.
pub(crate) enum Calendar {
    Now,
    /// Ends of quarter hours with the share of events until then.
    Span {
        start_ms: i64,
        slices: Vec<(i64, f64)>,
        events: u64,
    },
}

impl Calendar {
    pub(crate) fn new(timing: Timing) -> Self {
        let Timing::Span { start_ms, end_ms, events } = timing else { return Self::Now };
        let mut slices = Vec::new();
        let mut weight = 0.0;
        let mut at = start_ms;
        while at < end_ms {
            let until = (at + HOUR_MS / 4).min(end_ms);
            weight += day_weight(at) * (until - at) as f64;
            slices.push((until, weight));
            at = until;
        }
        for slice in &mut slices {
            slice.1 /= weight;
        }
        Self::Span { start_ms, slices, events: events.max(1) }
    }

    pub(crate) fn moment(&self, now_ms: i64, sent: u64) -> i64 {
        let Self::Span { start_ms, slices, events } = self else { return now_ms };
        let share = (sent as f64 / *events as f64).min(1.0);
        let at = slices.partition_point(|&(_, until)| until < share);
        let Some(&(end_ms, until)) = slices.get(at) else { return *start_ms };
        let (from_ms, from) = if at == 0 { (*start_ms, 0.0) } else { slices[at - 1] };
        let within = if until > from { (share - from) / (until - from) } else { 0.0 };
        from_ms + (within * (end_ms - from_ms) as f64) as i64
    }
}

/// The contract's rule: the clock that the time of an event comes from. All in epoch milliseconds.
pub(crate) fn time_source(original: i64, sent_at: Option<i64>, received: i64) -> TimeSource {
    let mut event_time = original;
    let mut source = TimeSource::Client;
    if let Some(sent_at) = sent_at {
        if sent_at < original {
            return TimeSource::Received;
        }
        if (received - sent_at).abs() > 60_000 {
            event_time = original + (received - sent_at);
            source = TimeSource::Corrected;
        }
    }
    if event_time - received > 300_000 { TimeSource::Clamped } else { source }
}

/// The same for an event sent at `now_ms`. None if it depends on when the broker receives the event.
pub(crate) fn certain_time_source(original: i64, sent_at: Option<i64>, now_ms: i64) -> Option<TimeSource> {
    let early = time_source(original, sent_at, now_ms - 5_000);
    let late = time_source(original, sent_at, now_ms + LONGEST_TRANSIT_MS);
    (early == late).then_some(early)
}

/// Bounds of the event time that ingest computes for an event sent at `now_ms`, for any time of receipt.
pub(crate) fn event_time_bounds(original: i64, sent_at: Option<i64>, now_ms: i64) -> (i64, i64) {
    let received = (now_ms - 5_000, now_ms + LONGEST_TRANSIT_MS);
    let moved = |sent_at: i64| (original + received.0 - sent_at, original + received.1 - sent_at);
    match (certain_time_source(original, sent_at, now_ms), sent_at) {
        (Some(TimeSource::Client), _) => (original, original),
        (Some(TimeSource::Corrected), Some(sent_at)) => moved(sent_at),
        (Some(_), _) => received,
        (None, sent_at) => {
            let (from, to) = sent_at.map_or(received, moved);
            (original.min(from).min(received.0), original.max(to).max(received.1))
        }
    }
}

/// How a client library writes timestamps.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TimeFormat {
    EpochMillis,
    Utc,
    Shanghai,
}

/// Writes epoch milliseconds as a JSON value.
pub(crate) fn write_time(out: &mut Vec<u8>, ms: i64, format: TimeFormat) {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    let stamp = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    match format {
        TimeFormat::EpochMillis => {
            out.extend_from_slice(itoa::Buffer::new().format(ms).as_bytes());
            return;
        }
        TimeFormat::Utc => {
            out.push(b'"');
            // Writing to a Vec cannot fail.
            let _ = PRINTER.print_timestamp(&stamp, &mut *out);
        }
        TimeFormat::Shanghai => {
            out.push(b'"');
            let _ = PRINTER.print_timestamp_with_offset(&stamp, Offset::constant(8), &mut *out);
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_UTC: i64 = 1_772_366_400_123; // 2026-03-01T12:00:00.123Z

    #[test]
    fn each_format_is_a_json_value_of_the_same_moment() {
        let written = |format| {
            let mut out = Vec::new();
            write_time(&mut out, NOON_UTC, format);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(TimeFormat::EpochMillis), "1772366400123");
        assert_eq!(written(TimeFormat::Utc), "\"2026-03-01T12:00:00.123Z\"");
        assert_eq!(written(TimeFormat::Shanghai), "\"2026-03-01T20:00:00.123+08:00\"");
    }

    #[test]
    fn the_time_source_follows_the_contract() {
        let now = NOON_UTC;
        for (name, original, sent_at, expected) in [
            ("no sent_at", now - 5_000, None, TimeSource::Client),
            ("transit", now - 5_000, Some(now - 60_000 + 60_000), TimeSource::Client),
            ("offline for hours", now - 7_200_000, Some(now), TimeSource::Client),
            ("clock behind", now - 900_000, Some(now - 899_000), TimeSource::Corrected),
            ("clock ahead", now + 900_000, Some(now + 900_500), TimeSource::Corrected),
            ("sent before it happened", now, Some(now - 1), TimeSource::Received),
            ("future", now + 300_001, None, TimeSource::Clamped),
            ("near future", now + 300_000, None, TimeSource::Client),
        ] {
            assert_eq!(time_source(original, sent_at, now), expected, "{name}");
        }
        assert_eq!(certain_time_source(now, Some(now - 50_000 + 50_000), now), Some(TimeSource::Client));
        assert_eq!(certain_time_source(now - 30_000, Some(now - 30_000), now), None);
    }

    #[test]
    fn the_event_time_is_known_as_far_as_the_broker_cannot_change_it() {
        let now = NOON_UTC;
        for (name, original, sent_at, expected) in [
            ("client", now - 9, Some(now), (now - 9, now - 9)),
            ("corrected", now - 900_000, Some(now - 899_000), (now - 6_000, now + 39_000)),
            ("received", now, Some(now - 1), (now - 5_000, now + 40_000)),
            ("clamped", now + 900_000, None, (now - 5_000, now + 40_000)),
        ] {
            assert_eq!(event_time_bounds(original, sent_at, now), expected, "{name}");
        }
    }

    #[test]
    fn a_span_runs_from_start_to_end_and_is_busier_in_the_evening() {
        let start = NOON_UTC - NOON_UTC.rem_euclid(86_400_000);
        let end = start + 2 * 86_400_000;
        let calendar = Calendar::new(Timing::Span { start_ms: start, end_ms: end, events: 10_000 });
        let moments: Vec<_> = (0..=10_000).map(|sent| calendar.moment(0, sent)).collect();
        assert!(moments.is_sorted());
        assert_eq!((moments[0], moments[10_000]), (start, end));
        let in_hour = |hour: i64| {
            moments.iter().filter(|&&at| (at + SHANGHAI_MS).rem_euclid(86_400_000) / HOUR_MS == hour).count()
        };
        assert!(in_hour(21) > 8 * in_hour(4), "{} and {}", in_hour(21), in_hour(4));
    }
}
