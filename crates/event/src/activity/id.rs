//! The form of activity IDs and of the keys of their events.

/// The form, for messages.
pub(super) const ID_FORM: &str =
    "1 to 40 letters, digits and dashes (an underscore separates activity ID and event key)";

/// Whether `text` has the form of an activity ID or of the key of an event.
pub(super) fn is_id(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
