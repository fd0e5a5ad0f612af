//! Tags, experiments and properties: their types and the limits of their sizes.
use event::{Limits, RejectCode, Rejection};
use std::borrow::Cow;

use crate::{
    contract::ContractField,
    json::{JsonText, JsonValue, elements_of, members_of},
    rejection::{pointer_to, quoted, wrong_type},
};

/// Reads an array of texts.
pub(super) fn tags<'a>(field: &ContractField, value: &JsonValue<'a>) -> Result<Vec<JsonText<'a>>, Rejection> {
    let JsonValue::Array { json, entries } = *value else {
        return Err(wrong_type(field.pointer, value, "an array of strings"));
    };
    at_most(field, entries, Limits::TAGS, "tags")?;
    let (mut tags, mut first_problem) = (Vec::with_capacity(entries), None);
    elements_of(json, |tag| {
        let pointer = || format!("{}/{}", field.pointer, tags.len());
        let problem = match tag {
            JsonValue::Text(text) => too_long(pointer, text, Limits::TAG_CHARACTERS),
            _ => Some(wrong_type(pointer(), &tag, "a string")),
        };
        match (tag, problem) {
            (JsonValue::Text(text), None) => tags.push(text),
            (_, problem) => first_problem = first_problem.take().or(problem),
        }
    });
    first_problem.map_or(Ok(tags), Err)
}

/// Reads experiments and their variants. If a name occurs twice, the last one counts.
pub(super) fn experiments<'a>(
    field: &ContractField,
    value: &JsonValue<'a>,
) -> Result<Vec<(Cow<'a, str>, JsonText<'a>)>, Rejection> {
    let JsonValue::Object { json, .. } = *value else {
        return Err(wrong_type(field.pointer, value, "an object of strings"));
    };
    let mut sent: Vec<(Cow<'_, str>, JsonValue<'_>)> = Vec::new();
    members_of(json, |name, variant| {
        let name = name.read();
        if let Some(known) = sent.iter_mut().find(|known| known.0 == name) {
            known.1 = variant;
        } else if sent.len() <= Limits::EXPERIMENTS {
            // One more than the limit is enough to reject the event.
            sent.push((name, variant));
        }
    });
    at_most(field, sent.len(), Limits::EXPERIMENTS, "experiments")?;
    let mut variants = Vec::with_capacity(sent.len());
    for (name, variant) in sent {
        let pointer = || pointer_to(field.pointer, &name);
        let JsonValue::Text(text) = variant else {
            return Err(wrong_type(pointer(), &variant, "a string"));
        };
        let most = Limits::EXPERIMENT_CHARACTERS;
        if has_more(&name, most) {
            return Err(longer(pointer(), &name, most));
        }
        if let Some(problem) = too_long(pointer, text, most) {
            return Err(problem);
        }
        variants.push((name, text));
    }
    Ok(variants)
}

/// Checks the size of an object whose content is free.
pub(super) fn properties(field: &ContractField, value: &JsonValue<'_>) -> Result<(), Rejection> {
    let JsonValue::Object { json, entries } = *value else {
        return Err(wrong_type(field.pointer, value, "an object"));
    };
    at_most(field, entries, Limits::PROPERTIES_KEYS, "keys")?;
    at_most(field, json.len(), Limits::PROPERTIES_BYTES, "bytes")
}

/// The rejection of a text with more than `most` characters.
fn too_long(pointer: impl FnOnce() -> String, text: JsonText<'_>, most: usize) -> Option<Rejection> {
    if text.sent_bytes() <= most {
        return None;
    }
    let text = text.read();
    has_more(&text, most).then(|| longer(pointer(), &text, most))
}

fn has_more(text: &str, most: usize) -> bool {
    text.len() > most && text.chars().nth(most).is_some()
}

fn longer(pointer: String, text: &str, most: usize) -> Rejection {
    let message = format!("{pointer} is {}: send at most {most} characters", quoted(text));
    Rejection::new(RejectCode::InvalidValue, pointer, message)
}

fn at_most(field: &ContractField, count: usize, most: usize, what: &str) -> Result<(), Rejection> {
    if count <= most {
        return Ok(());
    }
    let message = format!("{} has more than {most} {what}: send fewer", field.pointer);
    Err(Rejection::new(RejectCode::InvalidValue, field.pointer, message))
}
