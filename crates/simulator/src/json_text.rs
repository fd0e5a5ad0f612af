//! Writes JSON by hand into a reused buffer. The simulator must be faster than the pipeline it feeds.

use crate::dice::Dice;

/// Appends `before`, then `value`.
pub(crate) fn text(out: &mut Vec<u8>, before: &str, value: &str) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(value.as_bytes());
}

/// Appends `before`, then `value` in decimal.
pub(crate) fn number(out: &mut Vec<u8>, before: &str, value: u64) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a new UUID v7, without quotes.
pub(crate) fn event_id(out: &mut Vec<u8>, dice: &mut Dice, moment: i64) {
    let id = uuid::Builder::from_unix_timestamp_millis(moment.max(0) as u64, &dice.bytes()).into_uuid();
    out.extend_from_slice(id.hyphenated().encode_lower(&mut [0; 36]).as_bytes());
}
