//! The values of one raw event, borrowed from the record. Each field of the contract has a place; two bit sets tell
//! which places hold a value, so that validation and encoding visit only those.
use std::borrow::Cow;

use crate::{
    contract::{self, PLACES, SHORT_BYTES},
    json::{JsonText, JsonValue},
    rejection::first_chars,
};

/// Longest header of a dead letter that a client's text fills, in characters.
const LABEL_CHARS: usize = 64;

const _: () = assert!(PLACES <= 128, "`present` has one bit for each place");

/// The values of one event, each at its place in the contract's table.
#[derive(Debug)]
pub struct RawEvent<'a> {
    values: [JsonValue<'a>; PLACES],
    /// One bit for each place whose value is neither absent nor null.
    present: u128,
    /// One bit for each place with a text of at most [`SHORT_BYTES`] bytes.
    short_texts: u128,
    /// One bit for each place with a text that validation has cut.
    cut_texts: u128,
    /// `content.tags`, as validation has read them.
    pub(crate) tags: Vec<JsonText<'a>>,
    /// `experiments`, as validation has read them: name and variant.
    pub(crate) experiments: Vec<(Cow<'a, str>, JsonText<'a>)>,
    /// Number of fields that the contract does not know, in the event and in its objects.
    pub unknown_fields: u64,
}

impl Default for RawEvent<'_> {
    fn default() -> Self {
        Self {
            values: [JsonValue::Absent; PLACES],
            present: 0,
            short_texts: 0,
            cut_texts: 0,
            tags: Vec::new(),
            experiments: Vec::new(),
            unknown_fields: 0,
        }
    }
}

impl<'a> RawEvent<'a> {
    /// `app_id` for the header of a dead letter: '' if it could not be read, cut to 64 characters.
    pub fn app_id(&self) -> Cow<'a, str> {
        self.label(contract::APP_ID)
    }

    /// `platform` for the header of a dead letter: '' if it could not be read, cut to 64 characters.
    pub fn platform(&self) -> Cow<'a, str> {
        self.label(contract::PLATFORM)
    }

    /// `library.name` for the header of a dead letter: '' if it could not be read, cut to 64 characters.
    pub fn library(&self) -> Cow<'a, str> {
        self.label(contract::LIBRARY_NAME)
    }

    pub(crate) fn value(&self, place: usize) -> JsonValue<'a> {
        self.values.get(place).copied().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, place: usize, value: JsonValue<'a>) {
        let bit = 1 << place;
        match value {
            JsonValue::Absent | JsonValue::Null => self.present &= !bit,
            _ => self.present |= bit,
        }
        match value {
            JsonValue::Text(text) if text.sent_bytes() <= SHORT_BYTES => self.short_texts |= bit,
            _ => self.short_texts &= !bit,
        }
        self.values[place] = value;
    }

    #[inline(always)]
    pub(crate) fn set_text(&mut self, place: usize, text: JsonText<'a>) {
        self.present |= 1 << place;
        let is_short = text.sent_bytes() <= SHORT_BYTES;
        self.short_texts = self.short_texts & !(1 << place) | u128::from(is_short) << place;
        self.values[place] = JsonValue::Text(text);
    }

    /// Replaces a text by its start.
    pub(crate) fn cut(&mut self, place: usize, start: JsonText<'a>) {
        self.values[place] = JsonValue::Text(start);
        self.cut_texts |= 1 << place;
    }

    /// One bit for each place with a text of at most [`SHORT_BYTES`] bytes.
    pub(crate) fn short_texts(&self) -> u128 {
        self.short_texts
    }

    /// One bit for each place with a text that validation has cut.
    pub(crate) fn cut_texts(&self) -> u128 {
        self.cut_texts
    }

    /// One bit for each place whose value is neither absent nor null.
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
            JsonValue::Text(text) => Some(text.read()),
            _ => None,
        }
    }
}

/// The places whose bits are set, in ascending order.
pub(crate) fn places(mut bits: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (place < 128).then_some(place)
    })
}
