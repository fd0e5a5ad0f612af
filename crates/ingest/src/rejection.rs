//! The rejections of ingest as client teams read them: each message names the field by its JSON pointer, its value,
//! and what to send instead.
use event::{RejectCode, Rejection};
use std::borrow::Cow;

use crate::{
    contract::{ContractField, Required},
    json::{JsonValue, SyntaxError},
};

/// Longest part of a value that a message quotes, in characters.
const QUOTED_CHARS: usize = 40;
/// Longest key in a JSON pointer, in characters.
const POINTER_KEY_CHARS: usize = 64;

/// `malformed_json`: a record or an array element is not JSON.
pub(crate) fn malformed_json(SyntaxError { at, expected }: SyntaxError) -> Rejection {
    let message = format!("expected {expected} at byte {at}: send one JSON object, or an array of objects");
    Rejection::new(RejectCode::MalformedJson, "", message)
}

/// `missing_field`: a required field is absent or null.
pub(crate) fn missing(field: &ContractField) -> Rejection {
    let condition = match field.required {
        Required::Installed => " on ios, android and pc",
        Required::Device => " unless platform is server",
        Required::Browser => " on web and h5",
        Required::Login => " on login and register",
        Required::Content => " on content, playback and upload events",
        Required::Playback => " on playback events",
        Required::Upload => " on upload_step",
        Required::Order => " on vip_opened and gift_sent",
        Required::Creator => " on creator_level_changed",
        Required::Always | Required::No => "",
    };
    let message = format!("{} is absent or null: it is required{condition}", field.pointer);
    Rejection::new(RejectCode::MissingField, field.pointer, message)
}

/// `invalid_type`: the value has another JSON type than `expected`.
pub(crate) fn wrong_type(
    pointer: impl Into<Cow<'static, str>>,
    value: &JsonValue<'_>,
    expected: &str,
) -> Rejection {
    let pointer = pointer.into();
    let message = format!("{pointer} is {}: send {expected}", value.type_name());
    Rejection::new(RejectCode::InvalidType, pointer, message)
}

/// `invalid_value`: the value has the right JSON type, but the contract does not allow it.
pub(crate) fn invalid(field: &ContractField, value: &str, expected: &str) -> Rejection {
    let message = format!("{} is {}: send {expected}", field.pointer, quoted(value));
    Rejection::new(RejectCode::InvalidValue, field.pointer, message)
}

/// The start of a value, in quotes and with control characters escaped.
pub(crate) fn quoted(value: &str) -> String {
    let start = first_chars(value, QUOTED_CHARS);
    if start.len() < value.len() { format!("{start:?}…") } else { format!("{start:?}") }
}

/// The start of a number, as sent.
pub(crate) fn quoted_digits(digits: &str) -> &str {
    first_chars(digits, QUOTED_CHARS)
}

/// The JSON pointer (RFC 6901) of the member `key` of the object at `parent`. A long key is cut.
pub(crate) fn pointer_to(parent: &str, key: &str) -> String {
    format!("{parent}/{}", first_chars(key, POINTER_KEY_CHARS).replace('~', "~0").replace('/', "~1"))
}

/// At most `most` characters of a text.
pub(crate) fn first_chars(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}
