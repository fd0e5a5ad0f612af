//! Values that several commands take as arguments.
use std::time::Duration;

use jiff::{SpanRelativeTo, Timestamp, Unit};

/// A duration such as `90min`, `1h` or `2d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a duration such as 30min, 1h or 2d";
    let span: jiff::Span = text.parse().map_err(|_| EXPECTED.to_owned())?;
    let seconds = span.total((Unit::Second, SpanRelativeTo::days_are_24_hours()));
    Duration::try_from_secs_f64(seconds.map_err(|_| EXPECTED.to_owned())?).map_err(|_| EXPECTED.to_owned())
}

/// A time in RFC 3339 with a time zone.
pub(super) fn timestamp(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "expected RFC 3339 with a time zone, such as 2026-08-01T00:00:00+08:00".into())
}

/// A time in RFC 3339 with a time zone, as epoch milliseconds.
pub(super) fn timestamp_ms(text: &str) -> Result<i64, String> {
    timestamp(text).map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_given_in_days_hours_and_minutes() {
        for (text, seconds) in [("1h", 3_600), ("2d", 172_800), ("90min", 5_400), ("1d12h", 129_600)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "soon", "5", "-1h", "1mo"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
