//! The forms of names that clients, activities and the configuration share.

/// Whether an event can have this `app_id`: 1 to 64 of a-z, 0-9 and `-`.
pub fn is_app_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

/// Whether an event can have this `event_name`: a lowercase letter, then at most 63 of a-z, 0-9 and `_`.
pub fn is_event_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(allowed)
}
