//! Epoch milliseconds, read from the digits of a JSON number.

/// Reads a JSON number as epoch milliseconds, exactly from its digits; a fraction is cut. None if it does not fit
/// 64 bits.
pub(super) fn parse(number: &str) -> Option<i64> {
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
        // Only zeros follow: they do not change a zero.
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

/// Reads an exponent of any length. It saturates: such a number is out of range either way.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            assert_eq!(parse(number), expected, "{}", number.get(..40).unwrap_or(number));
        }
    }

    proptest! {
        #[test]
        fn a_number_means_the_same_wherever_its_point_stands(millis: i64, shift in 0usize..30, more in "[0-9]{0,5}") {
            let digits = format!("{:0>31}", millis.unsigned_abs());
            let (whole, fraction) = digits.split_at(digits.len() - shift);
            let sign = if millis < 0 { "-" } else { "" };
            let text = format!("{sign}{whole}.{fraction}{more}5e{shift}");
            prop_assert_eq!(parse(&text), Some(millis), "{}", text);
        }
    }
}
