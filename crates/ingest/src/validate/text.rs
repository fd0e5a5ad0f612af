//! Texts and their lengths.
use event::Rejection;

use crate::{
    contract::ContractField,
    json::{JsonText, JsonValue},
    rejection::{invalid, wrong_type},
};

/// The text of a value that must be one.
pub(super) fn expect<'a>(field: &ContractField, value: &JsonValue<'a>) -> Result<JsonText<'a>, Rejection> {
    match value {
        JsonValue::Text(text) => Ok(*text),
        _ => Err(wrong_type(field.pointer, value, "a string")),
    }
}

/// Checks the length in Unicode code points. `least` is 0 or 1.
pub(super) fn check_length(
    field: &ContractField,
    text: JsonText<'_>,
    least: usize,
    most: usize,
) -> Result<(), Rejection> {
    let bytes = text.sent_bytes();
    if bytes > 0 && bytes <= most {
        return Ok(());
    }
    let text = text.read();
    if text.is_empty() && least > 0 {
        return Err(invalid(field, "", "at least one character"));
    }
    if text.len() > most && text.chars().count() > most {
        return Err(invalid(field, &text, &format!("at most {most} characters")));
    }
    Ok(())
}
