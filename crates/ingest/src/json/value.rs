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

    /// The unescaped text. A text with a lone surrogate is returned as sent, escapes included.
    #[inline]
    pub(crate) fn read(self) -> Cow<'a, str> {
        if self.escaped { unescape(self.sent) } else { Cow::Borrowed(self.sent) }
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
