//! Reads the bytes of one event into a [`RawEvent`]. Only what makes the event unreadable is rejected here;
//! `validate` checks the values.
use event::{Limits, RejectCode, Rejection};
use foldhash::fast::RandomState;
use std::{borrow::Cow, collections::HashSet};

use crate::{
    contract::{ENVELOPE, FieldGroup, FieldRule, PLACES},
    json::{JsonCursor, JsonReader, JsonValue, SyntaxError},
    raw_event::RawEvent,
    rejection::{malformed_json, pointer_to},
};

/// Which key followed which key the last time. Clients write the members of an object in one order, so the next key
/// is usually the predicted one; a wrong prediction costs one comparison.
#[derive(Debug, Clone)]
pub struct KeyOrder {
    /// By the place of the previous key: the place in its group of the key that followed. The last entry is the
    /// first key of an event.
    next: [u8; PLACES + 1],
}

impl Default for KeyOrder {
    fn default() -> Self {
        Self { next: [0; PLACES + 1] }
    }
}

/// Reads `json`, which must be exactly one event, into a fresh `event`. After a rejection `event` keeps what was read
/// before.
///
/// # Errors
/// The rejection: `malformed_json`, `too_deep` or `duplicate_key`.
pub(crate) fn parse<'a>(
    json: &'a str,
    event: &mut RawEvent<'a>,
    order: &mut KeyOrder,
) -> Result<(), Rejection> {
    let mut parser =
        Parser { event, order, seen: 0, unknown_keys: HashSet::default(), repeated: None, too_deep: None };
    let mut reader = JsonReader::new(json);
    let read = parser.envelope(&mut reader).and_then(|()| reader.end());
    if let Err(error) = read {
        return Err(malformed_json(error));
    }
    if reader.lone_surrogate() {
        let message =
            "a string holds half of a surrogate pair (\\ud800 to \\udfff): send both halves, or UTF-8";
        return Err(Rejection::new(RejectCode::MalformedJson, "", message));
    }
    if let Some(key) = parser.too_deep {
        let pointer = pointer_to("", &key);
        let message = format!(
            "{pointer} nests objects and arrays {} deep, at most {} are accepted: flatten it",
            reader.deepest(),
            Limits::DEPTH
        );
        return Err(Rejection::new(RejectCode::TooDeep, pointer, message));
    }
    if let Some(key) = parser.repeated {
        let pointer = pointer_to("", &key);
        let message = format!("{pointer} occurs twice in the event: send it once");
        return Err(Rejection::new(RejectCode::DuplicateKey, pointer, message));
    }
    Ok(())
}

struct Parser<'e, 'a> {
    event: &'e mut RawEvent<'a>,
    order: &'e mut KeyOrder,
    /// One bit for each field of the envelope that has been read.
    seen: u64,
    /// Keys of the envelope that the contract does not know.
    unknown_keys: HashSet<Cow<'a, str>, RandomState>,
    /// The first key of the envelope that occurs twice.
    repeated: Option<Cow<'a, str>>,
    /// The key under which nesting first exceeded the limit.
    too_deep: Option<Cow<'a, str>>,
}

/// A key in an object of the contract.
enum MemberKey<'a> {
    /// The contract knows it, at this place of its group.
    Known(usize),
    Unknown(Cow<'a, str>),
}

impl<'a> Parser<'_, 'a> {
    fn envelope(&mut self, reader: &mut JsonReader<'a>) -> Result<(), SyntaxError> {
        self.members(reader, ENVELOPE, PLACES, |parser, reader, key| match key {
            MemberKey::Known(at) => {
                if parser.seen & 1 << at != 0 && parser.repeated.is_none() {
                    parser.repeated = Some(ENVELOPE.fields[at].key.into());
                }
                parser.seen |= 1 << at;
                let place = ENVELOPE.first + at;
                let value = match ENVELOPE.fields[at].rule {
                    FieldRule::Object(group) if reader.peek() == b'{' => {
                        parser.object(reader, group, place)?
                    }
                    _ => reader.value(1)?,
                };
                parser.event.set(place, value);
                parser.note_depth(reader, || ENVELOPE.fields[at].key.into());
                Ok(())
            }
            MemberKey::Unknown(key) => {
                parser.event.unknown_fields += 1;
                reader.value(1)?;
                parser.note_depth(reader, || key.clone());
                if !parser.unknown_keys.insert(key.clone()) && parser.repeated.is_none() {
                    parser.repeated = Some(key);
                }
                Ok(())
            }
        })?;
        Ok(())
    }

    fn note_depth(&mut self, reader: &JsonReader<'a>, key: impl FnOnce() -> Cow<'a, str>) {
        if reader.deepest() > Limits::DEPTH && self.too_deep.is_none() {
            self.too_deep = Some(key());
        }
    }

    /// Reads an object of the contract, whose own value is at `place`. If a key occurs twice in it, the last one
    /// counts.
    fn object(
        &mut self,
        reader: &mut JsonReader<'a>,
        group: &'static FieldGroup,
        place: usize,
    ) -> Result<JsonValue<'a>, SyntaxError> {
        let start = reader.position();
        let entries = self.members(reader, group, place, |parser, reader, key| {
            let value = reader.value(2)?;
            match key {
                MemberKey::Known(at) => parser.event.set(group.first + at, value),
                MemberKey::Unknown(_) => parser.event.unknown_fields += 1,
            }
            Ok(())
        })?;
        Ok(JsonValue::Object { json: reader.since(start), entries })
    }

    /// Reads the value of a known key, if it is a plain text or number, as nearly all are; false otherwise.
    #[inline(always)]
    fn plain_value(&mut self, cursor: &mut JsonCursor<'a>, group: &'static FieldGroup, at: usize) -> bool {
        let is_envelope = group.first == ENVELOPE.first;
        if is_envelope && self.seen & 1 << at != 0 {
            // The slow path reports the repeated key.
            return false;
        }
        if let Some(text) = cursor.plain_text() {
            self.event.set_text(group.first + at, text);
        } else if let Some(digits) = cursor.plain_number() {
            self.event.set(group.first + at, JsonValue::Number(digits));
        } else {
            return false;
        }
        if is_envelope {
            self.seen |= 1 << at;
        }
        true
    }

    /// Reads the members of an object of the contract: plain values of known keys here, every other member through
    /// `member`. `before` is the place after which the first key is predicted. Returns the number of members.
    #[inline(always)]
    fn members(
        &mut self,
        reader: &mut JsonReader<'a>,
        group: &'static FieldGroup,
        mut before: usize,
        mut member: impl FnMut(&mut Self, &mut JsonReader<'a>, MemberKey<'a>) -> Result<(), SyntaxError>,
    ) -> Result<usize, SyntaxError> {
        reader.take(b'{', "an object")?;
        if reader.peek() == b'}' {
            reader.take(b'}', "`}`")?;
            return Ok(0);
        }
        let mut entries = 0;
        let mut cursor = reader.cursor();
        loop {
            let guess: usize = self.order.next[before].into();
            let key = match group.fields.get(guess) {
                Some(field) if cursor.skip_key(&field.literal) => MemberKey::Known(guess),
                _ => {
                    reader.continue_at(cursor);
                    let key = reader.key()?.read();
                    cursor = reader.cursor();
                    match group.find(&key) {
                        Some(at) => {
                            self.order.next[before] = at as u8;
                            MemberKey::Known(at)
                        }
                        None => MemberKey::Unknown(key),
                    }
                }
            };
            let read = match key {
                MemberKey::Known(at) => {
                    before = group.first + at;
                    self.plain_value(&mut cursor, group, at)
                }
                MemberKey::Unknown(_) => false,
            };
            if !read {
                reader.continue_at(cursor);
                member(self, reader, key)?;
                cursor = reader.cursor();
            }
            entries += 1;
            if cursor.skip(b',') {
                continue;
            }
            reader.continue_at(cursor);
            match reader.peek() {
                b',' => {
                    reader.take(b',', "`,`")?;
                    cursor = reader.cursor();
                }
                b'}' => break,
                _ => return reader.expected("`,` or `}`"),
            }
        }
        reader.take(b'}', "`}`")?;
        Ok(entries)
    }
}
