//! From bytes to the values of one event, borrowed from them. Only what makes the event unreadable is refused
//! here; whether its values are what they should be is for `validate`.
use event::{Limits, RejectCode, Rejection};
use foldhash::fast::RandomState;
use std::{borrow::Cow, collections::HashSet};

use crate::{
    contract::{self, ENVELOPE, Group, PLACES, Rule},
    json::{Cursor, Malformed, Reader, Text, Value},
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
    /// One bit for each place with a text.
    texts: u128,
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
            texts: 0,
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
        match value {
            Value::Text(_) => self.texts |= bit,
            _ => self.texts &= !bit,
        }
        self.values[place] = value;
    }

    #[inline(always)]
    fn set_text(&mut self, place: usize, text: Text<'a>) {
        self.present |= 1 << place;
        self.texts |= 1 << place;
        self.values[place] = Value::Text(text);
    }

    /// One bit for each place with a text.
    pub(crate) fn texts(&self) -> u128 {
        self.texts
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

/// Which key followed which the last time. Clients write an object's members in one order, so that the next key is nearly
/// always known before it is read; a wrong guess costs one comparison.
#[derive(Debug, Clone)]
pub struct KeyOrder {
    /// By the place of the key before: the place in its group of the key that followed. Behind all places, what an
    /// event begins with.
    next: [u8; PLACES + 1],
}

impl Default for KeyOrder {
    fn default() -> Self {
        Self { next: [0; PLACES + 1] }
    }
}

/// Reads one event, which must be all there is in `json`, into a fresh `event`. What was read before a refusal
/// stays there.
pub(crate) fn parse<'a>(json: &'a str, event: &mut Event<'a>, order: &mut KeyOrder) -> Result<(), Rejection> {
    let mut parser =
        Parser { event, order, seen: 0, unknown_keys: HashSet::default(), repeated: None, too_deep: None };
    let mut reader = Reader::new(json);
    let read = parser.envelope(&mut reader).and_then(|()| reader.end());
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
    order: &'e mut KeyOrder,
    /// One bit for each field of the envelope.
    seen: u64,
    unknown_keys: HashSet<Cow<'a, str>, RandomState>,
    repeated: Option<Cow<'a, str>>,
    too_deep: Option<Cow<'a, str>>,
}

const _: () = assert!(PLACES <= 128, "`present` has a bit for each place");

/// A key of an object of the contract.
enum Key<'a> {
    /// At this place of its group.
    Known(usize),
    Unknown(Cow<'a, str>),
}

impl<'a> Parser<'_, 'a> {
    fn envelope(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        self.members(reader, ENVELOPE, PLACES, |parser, reader, key| match key {
            Key::Known(at) => {
                if parser.seen & 1 << at != 0 && parser.repeated.is_none() {
                    parser.repeated = Some(ENVELOPE.parts[at].key.into());
                }
                parser.seen |= 1 << at;
                let place = ENVELOPE.first + at;
                let value = match ENVELOPE.parts[at].rule {
                    Rule::Object(group) if reader.peek() == b'{' => parser.object(reader, group, place)?,
                    _ => reader.value(1)?,
                };
                parser.event.set(place, value);
                parser.note_depth(reader, || ENVELOPE.parts[at].key.into());
                Ok(())
            }
            Key::Unknown(key) => {
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

    fn note_depth(&mut self, reader: &Reader<'a>, key: impl FnOnce() -> Cow<'a, str>) {
        if reader.deepest() > Limits::DEPTH && self.too_deep.is_none() {
            self.too_deep = Some(key());
        }
    }

    /// Reads an object of the contract; of a key that stands twice in it, the last counts. `place` is its own.
    fn object(
        &mut self,
        reader: &mut Reader<'a>,
        group: &'static Group,
        place: usize,
    ) -> Result<Value<'a>, Malformed> {
        let start = reader.position();
        let entries = self.members(reader, group, place, |parser, reader, key| {
            let value = reader.value(2)?;
            match key {
                Key::Known(at) => parser.event.set(group.first + at, value),
                Key::Unknown(_) => parser.event.unknown_fields += 1,
            }
            Ok(())
        })?;
        Ok(Value::Object { json: reader.since(start), entries })
    }

    /// Sets the value of a known key, if it is a text or a number as nearly all are.
    #[inline(always)]
    fn plain_value(&mut self, cursor: &mut Cursor<'a>, group: &'static Group, at: usize) -> bool {
        let is_envelope = group.first == ENVELOPE.first;
        if is_envelope && self.seen & 1 << at != 0 {
            // The key stands twice.
            return false;
        }
        if let Some(text) = cursor.plain_text() {
            self.event.set_text(group.first + at, text);
        } else if let Some(digits) = cursor.plain_number() {
            self.event.set(group.first + at, Value::Number(digits));
        } else {
            return false;
        }
        if is_envelope {
            self.seen |= 1 << at;
        }
        true
    }

    /// Reads the members of an object of the contract. Plain values of known keys are set at once, every
    /// other member is left to `member`. `before` is the place whose follower is the first key.
    #[inline(always)]
    fn members(
        &mut self,
        reader: &mut Reader<'a>,
        group: &'static Group,
        mut before: usize,
        mut member: impl FnMut(&mut Self, &mut Reader<'a>, Key<'a>) -> Result<(), Malformed>,
    ) -> Result<usize, Malformed> {
        reader.take(b'{', "an object")?;
        if reader.peek() == b'}' {
            reader.take(b'}', "`}`")?;
            return Ok(0);
        }
        let mut entries = 0;
        let mut cursor = reader.cursor();
        loop {
            let guess: usize = self.order.next[before].into();
            let key = match group.parts.get(guess) {
                Some(part) if cursor.skip_key(&part.literal) => Key::Known(guess),
                _ => {
                    reader.go_on(cursor);
                    let key = reader.key()?.read();
                    cursor = reader.cursor();
                    match group.find(&key) {
                        Some(at) => {
                            self.order.next[before] = at as u8;
                            Key::Known(at)
                        }
                        None => Key::Unknown(key),
                    }
                }
            };
            let read = match key {
                Key::Known(at) => {
                    before = group.first + at;
                    self.plain_value(&mut cursor, group, at)
                }
                Key::Unknown(_) => false,
            };
            if !read {
                reader.go_on(cursor);
                member(self, reader, key)?;
                cursor = reader.cursor();
            }
            entries += 1;
            if cursor.skip(b',') {
                continue;
            }
            reader.go_on(cursor);
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
