//! A Kafka record as one JSON object. Its value is shown as JSON if it is valid JSON, else as text, else as base64.
use base64::{Engine, engine::general_purpose::STANDARD};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{embedded::embedded, position::RecordPosition};

/// One record of a topic whose records are not batches of events.
pub(crate) struct RecordLine<'a> {
    pub(crate) position: RecordPosition,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) headers: Vec<(&'a str, &'a [u8])>,
    pub(crate) value: Option<&'a [u8]>,
    /// Why the value cannot be decoded.
    pub(crate) problem: Option<String>,
}

impl<'a> RecordLine<'a> {
    pub(crate) fn of(message: &'a BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            position: RecordPosition::of(message),
            key: message.key(),
            headers: headers.map(|header| (header.key, header.value.unwrap_or_default())).collect(),
            value: message.payload(),
            problem: None,
        }
    }
}

impl Serialize for RecordLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.position.write(&mut map)?;
        match self.key {
            None => (),
            Some(key) => match std::str::from_utf8(key) {
                Ok(key) => map.serialize_entry("_key", key)?,
                Err(_) => map.serialize_entry("_key_base64", &STANDARD.encode(key))?,
            },
        }
        if !self.headers.is_empty() {
            map.serialize_entry("_headers", &HeaderMap(&self.headers))?;
        }
        if let Some(problem) = &self.problem {
            map.serialize_entry("_problem", problem)?;
        }
        match self.value {
            None => map.serialize_entry("value", &())?,
            Some(value) => match std::str::from_utf8(value) {
                Ok(text) => match embedded(text) {
                    Some(json) => map.serialize_entry("value", &json)?,
                    None => map.serialize_entry("value", text)?,
                },
                Err(_) => map.serialize_entry("value_base64", &STANDARD.encode(value))?,
            },
        }
        map.end()
    }
}

struct HeaderMap<'a>(&'a [(&'a str, &'a [u8])]);

impl Serialize for HeaderMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, String::from_utf8_lossy(value))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_as_json_text_or_base64() {
        for (value, expected) in [
            (Some(b"{\"a\":\n 1.10, \"a\":2}".as_slice()), r#""value":{"a":  1.10, "a":2}}"#),
            (Some(b"[1,\r\n2]"), r#""value":[1,  2]}"#),
            (Some(b"{broken\n"), r#""value":"{broken\n"}"#),
            (Some(b"\"line\nbreak\""), r#""value":"\"line\nbreak\""}"#),
            (Some(b""), r#""value":""}"#),
            (Some(b"\xff\x00"), r#""value_base64":"/wA="}"#),
            (None, r#""value":null}"#),
        ] {
            let position = RecordPosition { partition: 0, offset: 5, timestamp_ms: None };
            let record = RecordLine {
                position,
                key: Some(b"d1"),
                headers: vec![("code", b"not_utf8")],
                value,
                problem: None,
            };
            let line = serde_json::to_string(&record).unwrap();
            let expected = format!(
                r#"{{"_partition":0,"_offset":5,"_timestamp":null,"_key":"d1","_headers":{{"code":"not_utf8"}},{expected}"#
            );
            assert_eq!(line, expected);
            assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{line}");
        }
    }
}
