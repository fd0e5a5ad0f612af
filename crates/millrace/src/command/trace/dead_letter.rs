//! A dead letter that names the event.
use event::RejectCode;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::position::RawPosition;

/// A rejected record, or a rejected element of its array.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct TracedDeadLetter {
    pub(crate) code: String,
    pub(crate) message: String,
    /// JSON pointer to the field; '' for the whole event.
    pub(crate) pointer: String,
    pub(crate) stage: String,
    pub(crate) raw: RawPosition,
    /// Epoch milliseconds.
    pub(crate) received_at: i64,
    pub(crate) app_id: String,
    pub(crate) anonymous_id: String,
    pub(crate) event_name: String,
    /// Whether the rejected bytes are this one event. False for an array or for invalid JSON that contains the ID.
    pub(crate) is_its_own: bool,
    /// Length of the rejected bytes if they were cut, else 0.
    pub(crate) cut_from_bytes: i64,
}

impl TracedDeadLetter {
    /// The meaning of its code.
    pub(crate) fn meaning(&self) -> String {
        let known = RejectCode::ALL.iter().find(|code| code.as_str() == self.code);
        known.map_or_else(String::new, |code| code.meaning().to_owned())
    }

    /// Adds the fields that the rejected bytes contain. None when the bytes do not contain the ID of the event.
    pub(crate) fn with_payload(self, id: u128, payload: &[u8]) -> Option<Self> {
        let wanted = Uuid::from_u128(id).to_string();
        let named = payload.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted.as_bytes()));
        if !named {
            return None;
        }
        let event: Value = serde_json::from_slice(payload).unwrap_or_default();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let is_its_own = text("event_id").eq_ignore_ascii_case(&wanted);
        if event.is_object() && !is_its_own {
            // Another event, with the ID in its properties for example.
            return None;
        }
        let app_id = if self.app_id.is_empty() { text("app_id") } else { self.app_id };
        let (anonymous_id, event_name) = (text("anonymous_id"), text("event_name"));
        Some(Self { app_id, anonymous_id, event_name, is_its_own, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: u128 = 0x0199_f0a0_7c1e_7abc_8def_0123_4567_89ab;

    #[test]
    fn rejected_bytes_are_the_event_or_contain_its_id_or_are_unrelated() {
        for (payload, expected) in [
            (r#"{"event_id":"0199F0A0-7C1E-7ABC-8DEF-0123456789AB","event_name":"x"}"#, Some(true)),
            (r#"{"event_id":"0199f0a0-7c1e-7abc-8def-0123456789ab",broken"#, Some(false)),
            (r#"[{"event_id":"0199f0a0-7c1e-7abc-8def-0123456789ab"}]"#, Some(false)),
            (r#"{"event_id":"x","properties":{"a":"0199f0a0-7c1e-7abc-8def-0123456789ab"}}"#, None),
            (r#"{"event_id":"0199f0a0-7c1e-7abc-8def-0123456789ac"}"#, None),
            ("", None),
        ] {
            let letter = TracedDeadLetter::default().with_payload(ID, payload.as_bytes());
            assert_eq!(letter.map(|letter| letter.is_its_own), expected, "{payload}");
        }
    }
}
