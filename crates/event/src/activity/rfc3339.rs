//! Epoch milliseconds as RFC 3339 text, for serde's `with`.
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// The time as text.
pub(super) fn text(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |at| at.to_string())
}

pub(super) fn serialize<S: Serializer>(ms: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    match *ms {
        Some(ms) => serializer.serialize_str(&text(ms)),
        None => serializer.serialize_none(),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => Ok(Some(at.as_millisecond())),
        Err(_) => Err(D::Error::custom(format!(
            "{text:?} is not RFC 3339 with a time zone, such as 2026-03-01T00:00:00+08:00"
        ))),
    }
}
