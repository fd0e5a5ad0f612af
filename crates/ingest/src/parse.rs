//! From bytes to the values of one event, borrowed from them. Only what makes the event unreadable is refused
//! here; whether its values are what they should be is for `validate`.
use event::{Limits, RejectCode, Rejection};
use foldhash::fast::RandomState;
use std::{borrow::Cow, collections::HashSet};

use crate::{
    contract::{self, ENVELOPE, Group, PLACES, Rule},
    json::{Malformed, Reader, Text, Value},
};

/// Longest key that is quoted in a JSON pointer, in characters.
const POINTER_KEY_CHARS: usize = 64;
/// Longest text that becomes a header of a dead letter, in characters.
const LABEL_CHARS: usize = 64;

/// The values of one event, each at its place of the contract's table.
#[derive(Debug)]
pub struct Event<'a> {
    values: [Value<'a>; PLACES],
    /// One bit for each place with a value that is not null.
    present: u128,
    /// What `validate` read of the list and the map, for whoever stores the event.
    pub(crate) tags: Vec<Text<'a>>,
    pub(crate) experiments: Vec<(Cow<'a, str>, Text<'a>)>,
    /// Fields the contract does not know, in the event and in its objects.
    pub unknown_fields: u64,
}

impl Default for Event<'_> {
    fn default() -> Self {
        Self {
            values: [Value::Absent; PLACES],
            present: 0,
            tags: Vec::new(),
            experiments: Vec::new(),
            unknown_fields: 0,
        }
    }
}

impl<'a> Event<'a> {
    /// `app_id`, as far as it could be read; for dead letters, cut to a bounded length.
    pub fn app_id(&self) -> Cow<'a, str> {
        self.label(contract::APP_ID)
    }

    /// `platform`, as far as it could be read; for dead letters, cut to a bounded length.
    pub fn platform(&self) -> Cow<'a, str> {
        self.label(contract::PLATFORM)
    }

    /// `library.name`, as far as it could be read; for dead letters, cut to a bounded length.
    pub fn library(&self) -> Cow<'a, str> {
        self.label(contract::LIBRARY_NAME)
    }

    pub(crate) fn value(&self, place: usize) -> Value<'a> {
        self.values.get(place).copied().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, place: usize, value: Value<'a>) {
        let bit = 1 << place;
        match value {
            Value::Absent | Value::Null => self.present &= !bit,
            _ => self.present |= bit,
        }
        self.values[place] = value;
    }

    /// One bit for each place with a value that is not null.
    pub(crate) fn present(&self) -> u128 {
        self.present
    }

    fn label(&self, place: usize) -> Cow<'a, str> {
        match self.text(place) {
            Some(Cow::Borrowed(text)) => Cow::Borrowed(first_chars(text, LABEL_CHARS)),
            Some(Cow::Owned(text)) => Cow::Owned(first_chars(&text, LABEL_CHARS).to_owned()),
            None => Cow::Borrowed(""),
        }
    }

    pub(crate) fn text(&self, place: usize) -> Option<Cow<'a, str>> {
        match self.value(place) {
            Value::Text(text) => Some(text.read()),
            _ => None,
        }
    }
}

/// The places of the bits that are set, in ascending order.
pub(crate) fn places(mut bits: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (place < 128).then_some(place)
    })
}

/// At most so many characters of a text.
pub(crate) fn first_chars(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}

/// Reads one event, which must be all there is in `json`, into a fresh `event`. What was read before a refusal
/// stays there.
pub(crate) fn parse<'a>(json: &'a str, event: &mut Event<'a>) -> Result<(), Rejection> {
    let mut parser =
        Parser { event, seen: 0, unknown_keys: HashSet::default(), repeated: None, too_deep: None };
    let mut reader = Reader::new(json);
    let read = reader.members(|reader, key| parser.member(reader, key)).and_then(|_| reader.end());
    if let Err(malformed) = read {
        return Err(malformed_json(malformed));
    }
    if reader.lone_surrogate() {
        let message =
            "a text holds half of a surrogate pair (\\ud800 to \\udfff): send both halves, or UTF-8";
        return Err(Rejection::new(RejectCode::MalformedJson, "", message));
    }
    if let Some(key) = parser.too_deep {
        let message = format!(
            "objects and arrays nest {} deep, {} at most: flatten them",
            reader.deepest(),
            Limits::DEPTH
        );
        return Err(Rejection::new(RejectCode::TooDeep, pointer_to("", &key), message));
    }
    if let Some(key) = parser.repeated {
        let message = "the key stands twice in the event: send it once";
        return Err(Rejection::new(RejectCode::DuplicateKey, pointer_to("", &key), message));
    }
    Ok(())
}

/// The refusal of what is no JSON, of a record or an element.
pub(crate) fn malformed_json(malformed: Malformed) -> Rejection {
    let message = format!("no JSON event: expected {} at byte {}", malformed.expected, malformed.at);
    Rejection::new(RejectCode::MalformedJson, "", message)
}

/// The JSON pointer of a member called `key` (RFC 6901), of bounded length.
pub(crate) fn pointer_to(parent: &str, key: &str) -> String {
    format!("{parent}/{}", first_chars(key, POINTER_KEY_CHARS).replace('~', "~0").replace('/', "~1"))
}

struct Parser<'e, 'a> {
    event: &'e mut Event<'a>,
    /// One bit for each field of the envelope.
    seen: u64,
    unknown_keys: HashSet<Cow<'a, str>, RandomState>,
    repeated: Option<Cow<'a, str>>,
    too_deep: Option<Cow<'a, str>>,
}

const _: () = assert!(PLACES <= 128, "`present` has a bit for each place");

impl<'a> Parser<'_, 'a> {
    fn member(&mut self, reader: &mut Reader<'a>, key: Text<'a>) -> Result<(), Malformed> {
        let key = key.read();
        let repeats = match ENVELOPE.find(&key) {
            Some(at) => {
                let repeats = self.seen & 1 << at != 0;
                self.seen |= 1 << at;
                let value = match ENVELOPE.parts[at].rule {
                    Rule::Object(group) if reader.peek() == b'{' => self.object(reader, group)?,
                    _ => reader.value(1)?,
                };
                self.event.set(ENVELOPE.first + at, value);
                repeats
            }
            None => {
                self.event.unknown_fields += 1;
                reader.value(1)?;
                !self.unknown_keys.insert(key.clone())
            }
        };
        if repeats && self.repeated.is_none() {
            self.repeated = Some(key.clone());
        }
        if reader.deepest() > Limits::DEPTH && self.too_deep.is_none() {
            self.too_deep = Some(key);
        }
        Ok(())
    }

    /// Reads an object of the contract; of a key that stands twice in it, the last counts.
    fn object(&mut self, reader: &mut Reader<'a>, group: &'static Group) -> Result<Value<'a>, Malformed> {
        let start = reader.position();
        let entries = reader.members(|reader, key| {
            let found = group.find(&key.read());
            let value = reader.value(2)?;
            match found {
                Some(at) => self.event.set(group.first + at, value),
                None => self.event.unknown_fields += 1,
            }
            Ok(())
        })?;
        Ok(Value::Object { json: reader.since(start), entries })
    }
}
