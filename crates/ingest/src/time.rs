//! When an event happened: timestamps as clients write them, and the one rule that weighs the device's clock
//! against the broker's. No clock is read here.
use event::TimeSource;

/// Below this difference between sending and receipt the delay is transit, above it the device's clock is wrong.
const TRANSIT_MS: i64 = 60_000;
/// How far an event may lie in the future before its time is not believed.
const FUTURE_MS: i64 = 5 * 60_000;

/// The time that counts, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTime {
    /// Epoch milliseconds.
    pub event_time: i64,
    /// Whose clock it comes from.
    pub source: TimeSource,
    /// `received_at - sent_at` in milliseconds; 0 without `sent_at`.
    pub skew_ms: i64,
}

/// Weighs the device's clock against the broker's. All in epoch milliseconds; extreme times saturate.
pub fn event_time(original: i64, sent_at: Option<i64>, received_at: i64) -> EventTime {
    let skew_ms = sent_at.map_or(0, |sent_at| received_at.saturating_sub(sent_at));
    let stamp = |event_time, source| EventTime { event_time, source, skew_ms };
    if sent_at.is_some_and(|sent_at| sent_at < original) {
        return stamp(received_at, TimeSource::Received);
    }
    let believed = if skew_ms.saturating_abs() > TRANSIT_MS {
        stamp(original.saturating_add(skew_ms), TimeSource::Corrected)
    } else {
        stamp(original, TimeSource::Client)
    };
    if believed.event_time > received_at.saturating_add(FUTURE_MS) {
        return stamp(received_at, TimeSource::Clamped);
    }
    believed
}

/// Reads RFC 3339 with a zone into epoch milliseconds. Digits beyond milliseconds are cut; the leap second `:60`
/// counts as `:59`.
///
/// Stricter than ISO 8601 parsers on purpose: a client that omits the zone or swaps separators is told so.
pub(crate) fn parse_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let separators = [(4, b"--"), (7, b"--"), (10, b"Tt"), (13, b"::"), (16, b"::")];
    if separators.iter().any(|&(at, allowed)| bytes.get(at).is_none_or(|byte| !allowed.contains(byte))) {
        return None;
    }
    let year = digits(bytes, 0, 4)?;
    let (month, day) = (digits(bytes, 5, 2)?, digits(bytes, 8, 2)?);
    let (hour, minute, second) = (digits(bytes, 11, 2)?, digits(bytes, 14, 2)?, digits(bytes, 17, 2)?);
    let in_range = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (millis, zone) = fraction(bytes.get(19..)?)?;
    let minutes_east = zone_offset(zone)?;
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - minutes_east;
    Some((minutes * 60 + second.min(59)) * 1000 + millis)
}

/// Reads a JSON number as epoch milliseconds, from its digits and so exactly; a fraction is cut. Nothing when it does
/// not fit 64 bits.
pub(crate) fn parse_millis(number: &str) -> Option<i64> {
    if let Ok(millis) = number.parse() {
        return Some(millis);
    }
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, saturating_exponent(exponent)?),
        None => (number, 0),
    };
    let (is_negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => (true, mantissa),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = whole.bytes().chain(fraction.bytes()).map(|byte| i128::from(byte) - i128::from(b'0'));
    let length = whole.len() + fraction.len();
    let before_the_point = exponent.saturating_add(i64::try_from(whole.len()).ok()?);
    let mut millis: i128 = 0;
    for at in 0..before_the_point {
        // Zeros to come change nothing, however many there are.
        if millis == 0 && at >= length as i64 {
            break;
        }
        millis = millis * 10 + digits.next().unwrap_or(0);
        if millis > i128::from(i64::MAX) + 1 {
            return None;
        }
    }
    i64::try_from(if is_negative { -millis } else { millis }).ok()
}

/// An exponent of any length; far beyond every time it makes no difference which.
fn saturating_exponent(exponent: &str) -> Option<i64> {
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, exponent.strip_prefix('+').unwrap_or(exponent)),
    };
    let mut number: i64 = 0;
    for byte in digits.bytes() {
        number = number.saturating_mul(10).saturating_add(i64::from(byte.checked_sub(b'0')?));
    }
    Some(sign * number)
}

/// The milliseconds at the start of `rest`, if it starts with a fraction, and what follows.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = rest.strip_prefix(b".") else { return Some((0, rest)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, zone) = rest.split_at(length);
    if length == 0 {
        return None;
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |byte| i64::from(byte - b'0'));
    Some((digit(0) * 100 + digit(1) * 10 + digit(2), zone))
}

/// Minutes east of UTC.
fn zone_offset(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (digits(zone, 1, 2)?, digits(zone, 4, 2)?);
            let offset = hours * 60 + minutes;
            let in_range = hours <= 23 && minutes <= 59;
            in_range.then_some(if *sign == b'-' { -offset } else { offset })
        }
        _ => None,
    }
}

fn digits(bytes: &[u8], at: usize, count: usize) -> Option<i64> {
    let digits = bytes.get(at..at + count)?;
    digits
        .iter()
        .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar (Howard Hinnant's `days_from_civil`).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
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
    fn a_device_that_contradicts_itself_is_not_believed() {
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

    #[test]
    fn the_forms_of_rfc_3339_are_read() {
        for (text, expected) in [
            ("2026-03-02T12:00:00Z", Some(0)),
            ("2026-03-02t12:00:00z", Some(0)),
            ("2026-03-02T12:00:00.123Z", Some(123)),
            ("2026-03-02T12:00:00.1239999999999Z", Some(123)),
            ("2026-03-02T12:00:00.5Z", Some(500)),
            ("2026-03-02T20:00:00+08:00", Some(0)),
            ("2026-03-02T06:30:00-05:30", Some(0)),
            ("2026-03-02T12:00:60Z", Some(59_000)),
            ("2026-03-02T12:00:00", None),
            ("2026-03-02 12:00:00Z", None),
            ("2026-03-02T12:00Z", None),
            ("2026-03-02T12:00:00.Z", None),
            ("2026-03-02T12:00:00+0800", None),
            ("2026-03-02T12:00:00+08", None),
            ("2026-03-02T12:00:00+24:00", None),
            ("2026-03-02T12:00:00+08:60", None),
            ("2026-03-02T24:00:00Z", None),
            ("2026-03-02T12:60:00Z", None),
            ("2026-03-02T12:00:61Z", None),
            ("2026-02-29T12:00:00Z", None),
            ("2026-13-01T12:00:00Z", None),
            ("2026-00-01T12:00:00Z", None),
            ("2026-3-02T12:00:00Z", None),
            (" 2026-03-02T12:00:00Z", None),
            ("2026-03-02T12:00:00Z ", None),
            ("2026-03-02T12:00:00Z[UTC]", None),
            ("+2026-03-02T12:00:00Z", None),
            ("２026-03-02T12:00:00Z", None),
            ("1772452800000", None),
            ("", None),
        ] {
            assert_eq!(parse_rfc3339(text), expected.map(|offset| at("12:00:00") + offset), "{text}");
        }
        assert!(parse_rfc3339("2024-02-29T12:00:00Z").is_some());
        assert!(parse_rfc3339("1900-02-29T12:00:00Z").is_none());
    }

    #[test]
    fn numbers_are_read_to_the_millisecond_and_cut_there() {
        let longest = format!("1.{}e{}", "0".repeat(10_000), "9".repeat(10_000));
        let smallest = format!("1e-{}", "9".repeat(10_000));
        let zero = format!("0e{}", "9".repeat(10_000));
        for (number, expected) in [
            ("1772452799123", Some(1_772_452_799_123)),
            ("1772452799123.0", Some(1_772_452_799_123)),
            ("1772452799123.5", Some(1_772_452_799_123)),
            ("1772452799123.999999999999999999", Some(1_772_452_799_123)),
            ("1.772452799123e12", Some(1_772_452_799_123)),
            ("1.772452799123E+12", Some(1_772_452_799_123)),
            ("17724527991239e-1", Some(1_772_452_799_123)),
            ("0.01772452799123e14", Some(1_772_452_799_123)),
            ("2e3", Some(2_000)),
            ("0.5", Some(0)),
            ("-0.5", Some(0)),
            ("-0", Some(0)),
            ("-1.9", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775807.9", Some(i64::MAX)),
            ("-9223372036854775808.0", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("9223372036854775808.0", None),
            ("1e19", None),
            ("1e999", None),
            (&longest, None),
            (&smallest, Some(0)),
            (&zero, Some(0)),
        ] {
            assert_eq!(parse_millis(number), expected, "{}", number.get(..40).unwrap_or(number));
        }
    }

    proptest! {
        #[test]
        fn a_number_means_the_same_wherever_its_point_stands(millis: i64, shift in 0usize..30, more in "[0-9]{0,5}") {
            let digits = format!("{:0>31}", millis.unsigned_abs());
            let (whole, fraction) = digits.split_at(digits.len() - shift);
            let sign = if millis < 0 { "-" } else { "" };
            let text = format!("{sign}{whole}.{fraction}{more}5e{shift}");
            prop_assert_eq!(parse_millis(&text), Some(millis), "{}", text);
        }

        #[test]
        fn jiff_reads_the_same(
            (year, month, day) in (0..9999u32, 0..14u32, 0..33u32),
            (hour, minute, second) in (0..25u32, 0..61u32, 0..62u32),
            fraction in "(\\.[0-9]{1,9})?",
            zone in "Z|z|[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]",
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}");
            let theirs = text.parse::<jiff::Timestamp>().ok();
            // Cut, not rounded towards zero.
            let theirs = theirs.map(|time| time.as_nanosecond().div_euclid(1_000_000) as i64);
            if second != 60 {
                prop_assert_eq!(parse_rfc3339(&text), theirs, "{}", text);
            }
        }

        #[test]
        fn extreme_times_never_panic(original: i64, sent_at: Option<i64>, received_at: i64) {
            event_time(original, sent_at, received_at);
        }
    }
}
