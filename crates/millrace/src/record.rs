//! Any Kafka record as one JSON object: its value as JSON where it is some, else as text, else as base64.
use base64::{Engine, engine::general_purpose::STANDARD};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, value::RawValue};

/// Where a record stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Epoch milliseconds.
    pub(crate) timestamp_ms: Option<i64>,
}

impl Place {
    pub(crate) fn of(message: &BorrowedMessage<'_>) -> Self {
        let timestamp_ms = message.timestamp().to_millis();
        Self { partition: message.partition(), offset: message.offset(), timestamp_ms }
    }

    pub(crate) fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("_partition", &self.partition)?;
        map.serialize_entry("_offset", &self.offset)?;
        map.serialize_entry("_timestamp", &self.timestamp_ms)
    }
}

/// One record of a topic that holds no batches.
pub(crate) struct Record<'a> {
    pub(crate) place: Place,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) headers: Vec<(&'a str, &'a [u8])>,
    pub(crate) value: Option<&'a [u8]>,
    /// Why the value is not shown as what it should be.
    pub(crate) problem: Option<String>,
}

impl<'a> Record<'a> {
    pub(crate) fn of(message: &'a BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            place: Place::of(message),
            key: message.key(),
            headers: headers.map(|header| (header.key, header.value.unwrap_or_default())).collect(),
            value: message.payload(),
            problem: None,
        }
    }
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.place.write(&mut map)?;
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

/// JSON as it is written, but on one line; None when the text is no JSON, or such that common readers would refuse the
/// whole line for it: nested too deep, a lone surrogate, a number beyond all bounds.
pub(crate) fn embedded(text: &str) -> Option<Box<RawValue>> {
    serde_json::from_str::<&RawValue>(text).ok()?;
    // One level deeper, as it will stand in the line.
    serde_json::from_str::<Value>(&format!("[{text}]")).ok()?;
    // Between tokens a line break is as good as a space, and inside a string JSON allows none.
    RawValue::from_string(text.replace(['\n', '\r'], " ")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_would_spoil_its_line_is_shown_as_text() {
        for text in ["[".repeat(127) + &"]".repeat(127), r#""\ud800""#.into(), "1e999".into(), "1],[2".into()]
        {
            assert!(embedded(&text).is_none(), "{text}");
        }
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert_eq!(embedded(&deep).unwrap().get(), deep);
    }

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
            let place = Place { partition: 0, offset: 5, timestamp_ms: None };
            let record = Record {
                place,
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
