//! JSON that is safe for a terminal: characters that a terminal executes are written as `\u` escapes, which mean the same.
use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::escape::is_unsafe;

/// Writes one value without a line break.
pub(super) fn write<T: Serialize + ?Sized>(out: &mut impl Write, value: &T) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Escaping))
}

/// Compact JSON. Control characters below U+0020 are escaped in any JSON.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        write_escaped(out, fragment)
    }

    /// Between the strings, JSON may have line breaks and tabs; the other characters stand only inside strings.
    fn write_raw_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        for part in fragment.split_inclusive(|letter: char| letter.is_ascii_whitespace()) {
            let (text, space) =
                part.split_at(part.trim_end_matches(|letter: char| letter.is_ascii_whitespace()).len());
            write_escaped(out, text)?;
            out.write_all(space.as_bytes())?;
        }
        Ok(())
    }
}

fn write_escaped<W: ?Sized + Write>(out: &mut W, mut text: &str) -> io::Result<()> {
    while let Some(at) = text.find(is_unsafe) {
        let (safe, rest) = text.split_at(at);
        out.write_all(safe.as_bytes())?;
        let mut letters = rest.chars();
        for unit in letters.next().into_iter().flat_map(|letter| letter.encode_utf16(&mut [0; 2]).to_vec()) {
            write!(out, "\\u{unit:04x}")?;
        }
        text = letters.as_str();
    }
    out.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, value::RawValue};

    use super::*;

    fn written<T: Serialize + ?Sized>(value: &T) -> String {
        let mut text = Vec::new();
        write(&mut text, value).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_value_is_the_same_and_no_character_is_executed() {
        let value = json!({"会\u{9b}2J": ["\u{202e}gpj", "a\n\u{1b}\"\\", 1.5, null]});
        let text = written(&value);
        assert!(!text.contains(is_unsafe), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        let raw = RawValue::from_string("{\"a\": \"\u{202e}\"}".to_owned()).unwrap();
        assert_eq!(written(&raw), "{\"a\": \"\\u202e\"}");
    }
}
