//! The time zone at the end of a timestamp: `Z`, or an offset such as `+08:00`.
//!
//! A timestamp without one is rejected as `invalid_timestamp` (see [`timestamp`](super::timestamp)). The field
//! `timezone` of an event is another matter: it is any text, and never rejects an event.
use super::digits::number;

/// Minutes east of UTC. None if `zone` is not a time zone, for example because it is empty.
pub(super) fn minutes_east(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(zone, 1, 2)?, number(zone, 4, 2)?);
            let offset = hours * 60 + minutes;
            let in_range = hours <= 23 && minutes <= 59;
            in_range.then_some(if *sign == b'-' { -offset } else { offset })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_zone_is_z_or_hours_and_minutes_with_a_sign() {
        for (zone, expected) in [
            ("Z", Some(0)),
            ("z", Some(0)),
            ("+08:00", Some(480)),
            ("-05:30", Some(-330)),
            ("", None),
            ("08:00", None),
            ("+0800", None),
            ("+08", None),
            ("+24:00", None),
            ("+08:60", None),
            ("Asia/Shanghai", None),
            ("Z[UTC]", None),
        ] {
            assert_eq!(minutes_east(zone.as_bytes()), expected, "{zone}");
        }
    }
}
