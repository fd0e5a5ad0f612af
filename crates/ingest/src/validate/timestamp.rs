//! Timestamps: RFC 3339 with a time zone, or epoch milliseconds. Anything else is rejected as `invalid_timestamp`,
//! above all a timestamp without a time zone ([`time_zone`]).
use event::{RejectCode, Rejection};

use super::{digits::number, epoch_millis, time_zone};
use crate::{
    contract::ContractField,
    json::JsonValue,
    rejection::{quoted, quoted_digits},
};

/// Reads a time into epoch milliseconds.
pub(super) fn read(field: &ContractField, value: &JsonValue<'_>) -> Result<i64, Rejection> {
    let read = match value {
        JsonValue::Text(text) => parse_rfc3339(&text.read()),
        JsonValue::Number(digits) => epoch_millis::parse(digits),
        _ => None,
    };
    read.ok_or_else(|| {
        let sent = match value {
            JsonValue::Text(text) => quoted(&text.read()),
            JsonValue::Number(digits) => quoted_digits(digits).to_owned(),
            other => other.type_name().to_owned(),
        };
        let message = format!(
            "{} is {sent}: send RFC 3339 with a time zone, such as 2026-03-02T12:00:00+08:00, or epoch milliseconds as a \
             number",
            field.pointer
        );
        Rejection::new(RejectCode::InvalidTimestamp, field.pointer, message)
    })
}

/// Reads RFC 3339 with a time zone into epoch milliseconds. Digits beyond milliseconds are cut; the leap second `:60`
/// counts as `:59`. Other forms of ISO 8601 are None, so that a client that omits the time zone learns of it.
fn parse_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let separators = [(4, b"--"), (7, b"--"), (10, b"Tt"), (13, b"::"), (16, b"::")];
    if separators.iter().any(|&(at, allowed)| bytes.get(at).is_none_or(|byte| !allowed.contains(byte))) {
        return None;
    }
    let year = number(bytes, 0, 4)?;
    let (month, day) = (number(bytes, 5, 2)?, number(bytes, 8, 2)?);
    let (hour, minute, second) = (number(bytes, 11, 2)?, number(bytes, 14, 2)?, number(bytes, 17, 2)?);
    let in_range = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (millis, zone) = fraction(bytes.get(19..)?)?;
    let minutes_east = time_zone::minutes_east(zone)?;
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - minutes_east;
    Some((minutes * 60 + second.min(59)) * 1000 + millis)
}

/// Splits an optional fraction of a second from the start of `rest`: its milliseconds, and the rest.
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
    use proptest::prelude::*;

    fn at(time: &str) -> i64 {
        format!("2026-03-02T{time}Z").parse::<jiff::Timestamp>().unwrap().as_millisecond()
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

    proptest! {
        #[test]
        fn jiff_reads_the_same(
            (year, month, day) in (0..9999u32, 0..14u32, 0..33u32),
            (hour, minute, second) in (0..25u32, 0..61u32, 0..62u32),
            fraction in "(\\.[0-9]{1,9})?",
            zone in "Z|z|[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]",
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}");
            let theirs = text.parse::<jiff::Timestamp>().ok();
            // Cut towards the past, not rounded towards zero.
            let theirs = theirs.map(|time| time.as_nanosecond().div_euclid(1_000_000) as i64);
            if second != 60 {
                prop_assert_eq!(parse_rfc3339(&text), theirs, "{}", text);
            }
        }
    }
}
