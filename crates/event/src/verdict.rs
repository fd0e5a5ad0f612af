//! The decision about one event or record. An invalid record is a value, never an `Err`: `Err` means that the
//! process cannot continue.
use std::borrow::Cow;

use crate::code::RejectCode;

/// The decision about one event or record. With either verdict its offset may be committed.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict<T> {
    /// It goes to the next stage.
    Emit(T),
    /// It goes to `dead-letters`.
    Reject(Rejection),
}

/// Why an event or record is rejected: a code for programs, a pointer and a message for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The reason, from the closed list.
    pub code: RejectCode,
    /// JSON pointer (RFC 6901) to the invalid field, relative to the event; '' for the event as a whole.
    pub pointer: Cow<'static, str>,
    /// One sentence that names the field, its value and what to send instead; at most [`Rejection::MAX_MESSAGE`]
    /// bytes.
    pub message: String,
}

impl Rejection {
    /// Longest message in bytes. Values quoted in it are cut to less.
    pub const MAX_MESSAGE: usize = 300;

    /// Builds a rejection. A message above the limit is cut at a character boundary.
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
