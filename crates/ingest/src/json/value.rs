//! JSON values that borrow from the text they were read from, and why a text is not JSON.
use std::borrow::Cow;

/// Where a text stops being JSON, and what the reader expected there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// Byte offset in the text.
    pub(crate) at: usize,
    /// What the grammar allows at this place.
    pub(crate) expected: &'static str,
}

/// A JSON string as sent: the bytes between its quotes, escapes included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct JsonText<'a> {
    sent: &'a str,
    escaped: bool,
}

impl<'a> JsonText<'a> {
    /// A text without escapes.
    #[inline(always)]
    pub(super) fn plain(sent: &'a str) -> Self {
        Self { sent, escaped: false }
    }

    /// A text that holds at least one escape.
    pub(super) fn with_escapes(sent: &'a str) -> Self {
        Self { sent, escaped: true }
    }

    /// Length as sent, in bytes. It is an upper bound of the length of the unescaped text.
    pub(crate) fn sent_bytes(self) -> usize {
        self.sent.len()
    }

    /// The first `most` characters, if the text has more; a character that was sent as two escapes is one.
    pub(crate) fn start(self, most: usize) -> Option<Self> {
        if self.sent.len() <= most {
            return None;
        }
        let (mut rest, mut end) = (self.sent, 0);
        for _ in 0..most {
            let bytes = character_bytes(rest);
            end += bytes;
            rest = rest.get(bytes..)?;
        }
        let start = self.sent.get(..end)?;
        (!rest.is_empty()).then_some(Self { sent: start, escaped: self.escaped })
    }

    /// The unescaped text. A text with a lone surrogate is returned as sent, escapes included.
    #[inline]
    pub(crate) fn read(self) -> Cow<'a, str> {
        if self.escaped { unescape(self.sent) } else { Cow::Borrowed(self.sent) }
    }
}

/// Bytes of the first character of a text as sent.
fn character_bytes(sent: &str) -> usize {
    let bytes = sent.as_bytes();
    let high_surrogate =
        |unit: &[u8]| matches!(unit, [b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', ..]);
    match bytes {
        [b'\\', b'u', unit @ ..] if high_surrogate(unit) => 12,
        [b'\\', b'u', ..] => 6,
        [b'\\', ..] => 2,
        _ => sent.chars().next().map_or(0, char::len_utf8),
    }
}

#[cold]
fn unescape(sent: &str) -> Cow<'_, str> {
    serde_json::from_str(&format!("\"{sent}\"")).map_or(Cow::Borrowed(sent), Cow::Owned)
}

/// A JSON value as sent.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) enum JsonValue<'a> {
    /// The key does not occur in the object.
    #[default]
    Absent,
    /// null
    Null,
    /// true or false
    Bool(bool),
    /// A number, digits as sent.
    Number(&'a str),
    /// A string.
    Text(JsonText<'a>),
    /// An array.
    Array {
        /// The text from `[` to `]`.
        json: &'a str,
        /// Number of elements.
        entries: usize,
    },
    /// An object.
    Object {
        /// The text from `{` to `}`.
        json: &'a str,
        /// Number of members, repeated keys included.
        entries: usize,
    },
    /// A number or time that validation has already converted.
    Whole(i64),
}

impl JsonValue<'_> {
    /// The JSON type in words, for messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            JsonValue::Absent => "nothing",
            JsonValue::Null => "null",
            JsonValue::Bool(_) => "a boolean",
            JsonValue::Number(_) | JsonValue::Whole(_) => "a number",
            JsonValue::Text(_) => "a text",
            JsonValue::Array { .. } => "an array",
            JsonValue::Object { .. } => "an object",
        }
    }
}
