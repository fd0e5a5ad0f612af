//! What a stage decided about one record. Trouble with a record is a value, never an `Err`: `Err` means that
//! the process cannot go on.
use std::borrow::Cow;

use crate::RejectCode;

/// What a stage decided about one record. Whichever it is, the record is settled: its offset may be committed.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict<T> {
    /// The record goes on.
    Emit(T),
    /// The record is counted and goes no further.
    Drop(DropReason),
    /// The record goes to `dead-letters`.
    Reject(Rejection),
}

/// Why a record is counted, but feeds no cube other than `quality`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// An event with the same key was accepted inside the window.
    Duplicate,
}

impl DropReason {
    /// The reason as metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
        }
    }
}

/// A refusal that names the field, the value and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The closed code.
    pub code: RejectCode,
    /// JSON pointer (RFC 6901) to the field, relative to the event; '' means the event as a whole.
    pub pointer: Cow<'static, str>,
    /// One sentence; [`Rejection::MAX_MESSAGE`] bytes at most.
    pub message: String,
}

impl Rejection {
    /// Longest message in bytes. Values quoted in it are cut well before.
    pub const MAX_MESSAGE: usize = 300;

    /// Builds a refusal and cuts the message to its bound, at a character boundary.
    pub fn new(code: RejectCode, pointer: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > Self::MAX_MESSAGE {
            message.truncate(message.floor_char_boundary(Self::MAX_MESSAGE - '…'.len_utf8()));
            message.push('…');
        }
        Self { code, pointer: pointer.into(), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let rejection = Rejection::new(RejectCode::InvalidValue, "/app_id", "活".repeat(200));
        assert!(rejection.message.len() <= Rejection::MAX_MESSAGE);
        assert!(rejection.message.ends_with('…'));
    }
}
