//! Tags, experiments and properties: their types and the limits of their sizes.
use event::{Limits, RejectCode, Rejection};
use std::borrow::Cow;

use crate::{
    contract::ContractField,
    json::{JsonText, JsonValue, elements_of, members_of},
    rejection::{pointer_to, wrong_type},
};

/// Reads an array of texts.
pub(super) fn tags<'a>(field: &ContractField, value: &JsonValue<'a>) -> Result<Vec<JsonText<'a>>, Rejection> {
    let JsonValue::Array { json, entries } = *value else {
        return Err(wrong_type(field.pointer, value, "an array of strings"));
    };
    at_most(field, entries, Limits::TAGS, "tags")?;
    let (mut tags, mut first_problem) = (Vec::with_capacity(entries), None);
    elements_of(json, |tag| match tag {
        JsonValue::Text(text) => tags.push(text),
        _ if first_problem.is_some() => (),
        _ => {
            let pointer = format!("{}/{}", field.pointer, tags.len());
            first_problem = Some(wrong_type(pointer, &tag, "a string"));
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
        match variant {
            JsonValue::Text(text) => variants.push((name, text)),
            _ => return Err(wrong_type(pointer_to(field.pointer, &name), &variant, "a string")),
        }
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

fn at_most(field: &ContractField, count: usize, most: usize, what: &str) -> Result<(), Rejection> {
    if count <= most {
        return Ok(());
    }
    let message = format!("{} has more than {most} {what}: send fewer", field.pointer);
    Err(Rejection::new(RejectCode::InvalidValue, field.pointer, message))
}
