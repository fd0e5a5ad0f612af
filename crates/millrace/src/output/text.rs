//! Numbers and times as people read them.
use jiff::Timestamp;

/// A count with a space between thousands.
pub(crate) fn count(number: impl Into<i128>) -> String {
    let number = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A duration in one unit, from seconds to days.
pub(crate) fn duration(ms: i64) -> String {
    match ms {
        ..=9_999 => format!("{:.1} s", ms as f64 / 1000.0),
        10_000..=119_999 => format!("{} s", ms / 1000),
        120_000..=7_199_999 => format!("{} min", ms / 60_000),
        7_200_000..=172_799_999 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// Epoch milliseconds as RFC 3339.
pub(crate) fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_durations_are_short() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (-1_234_567, "-1 234 567")] {
            assert_eq!(count(number), text);
        }
        for (ms, text) in [
            (350, "0.3 s"),
            (9_950, "9.9 s"),
            (12_000, "12 s"),
            (180_000, "3 min"),
            (10_800_000, "3 h"),
            (432_000_000, "5 d"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }
}
