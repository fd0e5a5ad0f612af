//! Decides about a record: one verdict for each event in it, or one for the whole record if its events cannot be told
//! apart. The order of the checks is the contract's: size, UTF-8, JSON, depth, repeated keys, then the fields.
//!
//! A record is one event or an array of events. UTF-8 and JSON syntax of an array are checked as a whole, because
//! nobody can tell where an element of broken JSON ends. After that each element is checked alone, so a bad element
//! never affects its neighbours.
#[cfg(test)]
mod tests;

use event::{Limits, RejectCode, Rejection, Verdict};

use crate::{
    json::JsonReader,
    parse::{KeyOrder, parse},
    policy::EventPolicy,
    raw_event::RawEvent,
    rejection::malformed_json,
    validate::{Validated, validate},
};

/// The verdict on one event, or on a whole record whose events cannot be told apart.
#[derive(Debug)]
pub struct Decision<'d, 'a> {
    /// Position in the record's array; 0 for a single event or the whole record.
    pub index: usize,
    /// The exact bytes that the verdict is about.
    pub bytes: &'a [u8],
    /// What could be read of the event; with a rejection that may be nothing.
    pub event: &'d RawEvent<'a>,
    /// Whether the event is accepted.
    pub verdict: Verdict<Validated>,
}

/// Decides about a record and calls `settle` with each decision, in order. `received_at` is the record's timestamp,
/// epoch milliseconds.
///
/// # Errors
/// The first error of `settle`.
pub fn decide<'a, E>(
    value: Option<&'a [u8]>,
    received_at: i64,
    policy: &EventPolicy,
    order: &mut KeyOrder,
    mut settle: impl FnMut(Decision<'_, 'a>) -> Result<(), E>,
) -> Result<(), E> {
    let bytes = value.unwrap_or_default();
    let mut decide_event = |index, bytes: &'a [u8], content: Result<&'a str, Rejection>| {
        let mut event = RawEvent::default();
        let checked = content.and_then(|json| {
            parse(json, &mut event, order)?;
            validate(&mut event, policy, received_at)
        });
        let verdict = checked.map_or_else(Verdict::Reject, Verdict::Emit);
        settle(Decision { index, bytes, event: &event, verdict })
    };
    if !is_array(bytes) {
        return decide_event(0, bytes, single_event(bytes));
    }
    match split(bytes) {
        Ok(elements) => elements.into_iter().enumerate().try_for_each(|(index, element)| {
            let text = check_size("event", element.as_bytes(), Limits::EVENT_BYTES).map(|()| element);
            decide_event(index, element.as_bytes(), text)
        }),
        Err(rejection) => decide_event(0, bytes, Err(rejection)),
    }
}

fn is_array(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) == Some(&b'[')
}

fn single_event(bytes: &[u8]) -> Result<&str, Rejection> {
    check_size("event", bytes, Limits::EVENT_BYTES)?;
    utf8(bytes)
}

/// `what` is the event or the array.
fn check_size(what: &str, bytes: &[u8], most: usize) -> Result<(), Rejection> {
    if bytes.len() <= most {
        return Ok(());
    }
    let sent = bytes.len();
    let message = format!("the {what} has {sent} bytes, at most {most} are accepted: send a smaller {what}");
    Err(Rejection::new(RejectCode::TooLarge, "", message))
}

fn utf8(bytes: &[u8]) -> Result<&str, Rejection> {
    simdutf8::compat::from_utf8(bytes).map_err(|error| {
        let message = format!("byte {} is not UTF-8: send JSON in UTF-8, uncompressed", error.valid_up_to());
        Rejection::new(RejectCode::NotUtf8, "", message)
    })
}

/// The exact texts of an array's elements.
fn split(bytes: &[u8]) -> Result<Vec<&str>, Rejection> {
    check_size("array", bytes, Limits::ARRAY_BYTES)?;
    let mut reader = JsonReader::new(utf8(bytes)?);
    let (mut elements, mut count) = (Vec::new(), 0);
    let read = reader.elements(|_, element| {
        count += 1;
        if count <= Limits::ARRAY_EVENTS {
            elements.push(element);
        }
    });
    read.and_then(|()| reader.end()).map_err(malformed_json)?;
    let most = Limits::ARRAY_EVENTS;
    if count == 0 {
        let message = format!("the array is empty: send 1 to {most} events");
        return Err(Rejection::new(RejectCode::MalformedJson, "", message));
    }
    if count > most {
        let message =
            format!("the record has {count} events, at most {most} are accepted: send more records");
        return Err(Rejection::new(RejectCode::InvalidValue, "", message));
    }
    Ok(elements)
}
