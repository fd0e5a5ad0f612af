//! What the contract says about one field (its key, its rule, when it is required), and the group of fields that
//! one JSON object has.
use event::{FIELD_LIMITS, Field, FieldLimit, same_text};

use super::key_table::KeyTable;
use crate::json::KeyLiteral;

/// When a field is required. Each condition is one bit; the bits that apply to an event are its `requirements`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Required {
    /// Never.
    No = 0,
    /// In every event, or in every object that is sent.
    Always = 1,
    /// On ios, android and pc.
    Installed = 1 << 1,
    /// On every platform but server.
    Device = 1 << 2,
    /// On web and h5.
    Browser = 1 << 3,
    /// On login and register.
    Login = 1 << 4,
    /// On `content_*`, `playback_*` and upload_step.
    Content = 1 << 5,
    /// On `playback_*`.
    Playback = 1 << 6,
    /// On upload_step.
    Upload = 1 << 7,
    /// On vip_opened and gift_sent.
    Order = 1 << 8,
    /// On creator_level_changed.
    Creator = 1 << 9,
}

/// Texts up to this length are within the limit of nearly every field, so that nothing is left to check.
pub(crate) const SHORT_BYTES: usize = 64;

/// What a value of a field must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FieldRule {
    /// SchemaVer text (`1-0-0`) with a known major version.
    SchemaVersion,
    /// A UUID that is not nil.
    EventId,
    /// `^[a-z][a-z0-9_]{0,63}$`, and a standard name where the policy rejects others.
    EventName,
    /// `^[a-z0-9-]{1,64}$`, and listed in `ingest.apps` unless that is empty.
    AppId,
    /// One of the platforms.
    Platform,
    /// 1 to 128 characters, not a placeholder such as `null`.
    AnonymousId,
    /// When the event happened: a timestamp with a time zone, or epoch milliseconds.
    OriginalTimestamp,
    /// When the event was sent, in the same forms.
    SentAt,
    /// Any other time, in the same forms.
    Time,
    /// A whole number from 0 to 2^64 - 1.
    EventIndex,
    /// `true` or `false`; `true` marks test traffic.
    IsTest,
    /// What the list of limits says about this field: one of the next three.
    Listed,
    /// Text of at most this many characters.
    Text(usize),
    /// Text that is cut to this many characters.
    CutText(usize),
    /// A whole number from the first to the second.
    WholeNumber(i64, i64),
    /// Text that is not kept.
    AnyText,
    /// One of these texts.
    Word(&'static [&'static str]),
    /// `^[A-Za-z0-9-]{1,40}_[A-Za-z0-9-]{1,40}$`
    ActivityEventId,
    /// An array of texts.
    Tags,
    /// An object whose values are texts.
    Experiments,
    /// Any object, within the limits of size and number of keys.
    Properties,
    /// An object with its own fields.
    Object(&'static FieldGroup),
}

impl FieldRule {
    /// The rule itself; for [`FieldRule::Listed`] the listed one. A field that is not listed is a compile error.
    pub(super) const fn of_field(self, pointer: &str) -> Self {
        if !matches!(self, Self::Listed) {
            return self;
        }
        match limit_of(pointer) {
            FieldLimit::Characters(most) => Self::Text(most),
            FieldLimit::CutCharacters(most) => Self::CutText(most),
            FieldLimit::WholeNumber(least, most) => Self::WholeNumber(least, most),
        }
    }
}

/// The listed limit of a field. A field that is not listed is a compile error.
pub(super) const fn limit_of(pointer: &str) -> FieldLimit {
    let mut at = 0;
    while !same(FIELD_LIMITS[at].0, pointer) {
        at += 1;
    }
    FIELD_LIMITS[at].1
}

/// One field of the raw event, or of an object in it.
#[derive(Debug)]
pub(crate) struct ContractField {
    pub(crate) key: &'static str,
    /// `"key":` as most clients write it.
    pub(crate) literal: KeyLiteral,
    /// JSON pointer, relative to the event.
    pub(crate) pointer: &'static str,
    pub(crate) required: Required,
    pub(crate) rule: FieldRule,
    /// The batch field that stores its value unchanged. None for values stored in another form, or not at all.
    pub(crate) stored_as: Option<Field>,
}

impl ContractField {
    /// The field's name with the names of its objects: `page.url`.
    pub(crate) fn name(&self) -> String {
        self.pointer.trim_start_matches('/').replace('/', ".")
    }
}

/// The fields of one object. Their values are at `first..first + fields.len()` of an event's values.
#[derive(Debug)]
pub(crate) struct FieldGroup {
    pub(crate) first: usize,
    pub(crate) fields: &'static [ContractField],
    /// One bit for each field that some events must have.
    pub(crate) required: u64,
    /// One bit for each optional field that accepts any text of at most [`SHORT_BYTES`] bytes.
    pub(crate) any_short_text: u64,
    keys: KeyTable,
}

impl FieldGroup {
    pub(super) const fn new(first: usize, fields: &'static [ContractField]) -> Self {
        assert!(fields.len() <= 64, "a group has one bit for each field");
        let (mut required, mut any_short_text, mut at) = (0, 0, 0);
        let mut keys = [""; 64];
        while at < fields.len() {
            keys[at] = fields[at].key;
            if fields[at].required as u16 != 0 {
                required |= 1 << at;
            } else if match fields[at].rule {
                FieldRule::Text(most) | FieldRule::CutText(most) => most >= SHORT_BYTES,
                FieldRule::AnyText => true,
                _ => false,
            } {
                any_short_text |= 1 << at;
            }
            at += 1;
        }
        Self { first, fields, required, any_short_text, keys: KeyTable::new(keys.split_at(fields.len()).0) }
    }

    /// First place after the group's values.
    pub(super) const fn end(&self) -> usize {
        self.first + self.fields.len()
    }

    /// Place of a key in the group.
    #[inline]
    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        let at = self.keys.place(key.as_bytes());
        let field = self.fields.get(at)?;
        same_text(field.key.as_bytes(), key.as_bytes()).then_some(at)
    }

    /// Place of the value of `pointer` among an event's values. An unknown pointer is a compile error.
    pub(super) const fn place(&self, pointer: &str) -> usize {
        let mut at = 0;
        while !same(self.fields[at].pointer, pointer) {
            at += 1;
        }
        self.first + at
    }
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}
