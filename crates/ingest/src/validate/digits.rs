//! Decimal digits at a fixed place of a timestamp.

/// The number that `count` digits from `at` on write. None if one of them is not a digit.
pub(super) fn number(bytes: &[u8], at: usize, count: usize) -> Option<i64> {
    let digits = bytes.get(at..at + count)?;
    digits
        .iter()
        .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}
