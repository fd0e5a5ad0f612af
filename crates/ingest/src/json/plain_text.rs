//! Finds where the plain part of a JSON string ends, eight bytes at a time.

/// Position of the first quote, backslash or control character at or after `at`, or the length of `bytes`.
#[inline]
pub(super) fn end_of_plain_text(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES * 0x80;
    let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word;
    while let Some(&next) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(next);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = zero_byte(word ^ (ONES * u64::from(b'"')));
        let backslash = zero_byte(word ^ (ONES * u64::from(b'\\')));
        // A borrow may mark bytes after a hit, but never before it, so the lowest mark is correct.
        let found = (control | quote | backslash) & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        at += 1;
    }
    at
}
