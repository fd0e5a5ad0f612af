//! Broken clients: events with exactly one defect, each with the one code ingest must reject it with.
//!
//! Only defects on which the contract leaves no doubt are made, so that a difference is a fault of ingest.

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::defects::{BYTES, Change, DEFECTS, Defect, NOT_UTF8};
use crate::dice::Dice;
use crate::population::{Device, LIBRARIES};
use crate::render::{event_id, number, text};
use crate::simulator::Record;

/// Events above this are `too_large`, bytes.
const LARGEST_EVENT: usize = 256 * 1024;
/// Deeper than any sensible limit of a parser.
const ABYSS: usize = 200;

/// Dead-letter codes the simulator provokes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the contract's codes")]
pub enum Code {
    NotUtf8,
    MalformedJson,
    TooLarge,
    TooDeep,
    DuplicateKey,
    UnsupportedSchema,
    MissingField,
    InvalidType,
    InvalidValue,
    ForbiddenId,
    UnknownApp,
    UnknownEvent,
    InvalidTimestamp,
    TooOld,
}

impl Code {
    /// All of them, in the contract's order.
    pub const ALL: &[Self] = &[
        Self::NotUtf8,
        Self::MalformedJson,
        Self::TooLarge,
        Self::TooDeep,
        Self::DuplicateKey,
        Self::UnsupportedSchema,
        Self::MissingField,
        Self::InvalidType,
        Self::InvalidValue,
        Self::ForbiddenId,
        Self::UnknownApp,
        Self::UnknownEvent,
        Self::InvalidTimestamp,
        Self::TooOld,
    ];

    /// As in the contract and in the dead letters' header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::MalformedJson => "malformed_json",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::DuplicateKey => "duplicate_key",
            Self::UnsupportedSchema => "unsupported_schema",
            Self::MissingField => "missing_field",
            Self::InvalidType => "invalid_type",
            Self::InvalidValue => "invalid_value",
            Self::ForbiddenId => "forbidden_id",
            Self::UnknownApp => "unknown_app",
            Self::UnknownEvent => "unknown_event",
            Self::InvalidTimestamp => "invalid_timestamp",
            Self::TooOld => "too_old",
        }
    }

    /// How often a bad record has it. Large ones are rare: they cost as much as hundreds of events.
    const fn weight(self) -> u32 {
        match self {
            Self::TooLarge => 1,
            Self::MissingField | Self::InvalidType | Self::InvalidValue => 24,
            _ => 10,
        }
    }

    /// Spoils the array around it, too.
    const fn needs_own_record(self) -> bool {
        matches!(self, Self::NotUtf8)
    }
}

pub(crate) struct Broken {
    /// Codes by weight, for records of their own.
    codes: Vec<(Code, u32)>,
    /// The same for elements of arrays.
    element_codes: Vec<(Code, u32)>,
    /// Bad records so far: the first ones are one of each code, so that short runs have all.
    records: usize,
    max_event_age_ms: i64,
    largest_bytes: usize,
}

impl Broken {
    pub(crate) fn new(config: &Config) -> Self {
        let wanted = |code: &Code| *code != Code::UnknownEvent || config.reject_unknown_events;
        let codes: Vec<_> =
            Code::ALL.iter().copied().filter(wanted).map(|code| (code, code.weight())).collect();
        Self {
            element_codes: codes.iter().copied().filter(|(code, _)| !code.needs_own_record()).collect(),
            codes,
            records: 0,
            max_event_age_ms: config.max_event_age_ms,
            largest_bytes: config.largest_bad_bytes.max(LARGEST_EVENT + 1),
        }
    }

    /// Writes a record that is rejected as a whole. Its key is the device's, set by the caller, but for
    /// forbidden IDs, which are the key themselves.
    pub(crate) fn write_record(
        &mut self,
        dice: &mut Dice,
        device: &Device,
        moment: i64,
        now_ms: i64,
        out: &mut Record,
    ) -> Code {
        let code = match self.codes.get(self.records) {
            Some(&(code, _)) => code,
            None => dice.weighted(&self.codes),
        };
        self.records += 1;
        let mut event = Event::new(dice, device, moment);
        let value = &mut out.value;
        match code {
            Code::NotUtf8 => event.added("user_id", dice.pick(&NOT_UTF8)).write(value),
            Code::MalformedJson => malformed(dice, &mut event, value),
            Code::InvalidValue if dice.chance(0.05) => {
                // One more element than an array may have.
                text(value, "[{}", "");
                (0..500).for_each(|_| text(value, ",{}", ""));
                value.push(b']');
            }
            _ => self.write_defect(code, dice, &mut event, now_ms, value),
        }
        if code == Code::ForbiddenId {
            out.key.clear();
            out.key.extend_from_slice(event.anonymous_id());
        }
        code
    }

    /// Writes an event that is rejected without harm to the elements around it.
    pub(crate) fn write_element(
        &self,
        dice: &mut Dice,
        device: &Device,
        moment: i64,
        now_ms: i64,
        out: &mut Vec<u8>,
    ) -> Code {
        let code = dice.weighted(&self.element_codes);
        let mut event = Event::new(dice, device, moment);
        self.write_defect(code, dice, &mut event, now_ms, out);
        code
    }

    fn write_defect(&self, code: Code, dice: &mut Dice, event: &mut Event, now_ms: i64, out: &mut Vec<u8>) {
        match code {
            Code::TooLarge => return self.too_large(dice, event, out),
            // The grammar is kept, so the elements around it can be told apart.
            Code::MalformedJson => event.add("user_id", dice.pick(&[b"\"\\ud800\"", b"\"\\udc0a\""])),
            Code::TooOld => {
                let age = self.max_event_age_ms + dice.spread(86_400_000, 400 * 86_400_000);
                let original = if dice.chance(0.1) { 0 } else { now_ms - age };
                event.set("original_timestamp", original.to_string().as_bytes());
            }
            Code::TooDeep => {
                let (open, close) = dice.pick(&[("[", "]"), ("{\"d\":", "}")]);
                let nested = [open.repeat(ABYSS), "1".to_owned(), close.repeat(ABYSS)].concat();
                event.add("nested", nested.as_bytes());
            }
            _ => {
                let defects: &[Defect] = DEFECTS.iter().find(|of| of.0 == code).map_or(&[], |of| of.1);
                for change in dice.pick(defects) {
                    event.apply(*change);
                }
            }
        }
        event.write(out);
    }

    fn too_large(&self, dice: &mut Dice, event: &Event, out: &mut Vec<u8>) {
        let bytes = if dice.chance(0.3) {
            LARGEST_EVENT + 1
        } else {
            dice.between(LARGEST_EVENT as i64 + 1, self.largest_bytes as i64 + 1) as usize
        };
        let start = out.len();
        event.write(out);
        out.pop();
        text(out, ",\"padding\":\"", "");
        out.resize(start + bytes - 2, b'x');
        text(out, "\"}", "");
    }
}

/// Text that is no JSON, or less or more than one value.
fn malformed(dice: &mut Dice, event: &mut Event, out: &mut Vec<u8>) {
    match dice.below(6) {
        0 => {
            event.write(out);
            let kept = out.len() as u32;
            out.truncate((1 + dice.below(kept - 1)) as usize);
        }
        1 => {
            event.write(out);
            out.pop();
            text(out, ",}", "");
        }
        2 => {
            text(out, "\u{feff}", "");
            event.write(out);
        }
        3 => {
            event.write(out);
            text(out, dice.pick(&["}", " {}", "x", "\0"]), "");
        }
        4 => {
            let value: &[u8] =
                dice.pick(&[b"\"\\ud800\"", b"\"a\nb\"", b"NaN", b"'single'", b"+1", b"\"\\x\""]);
            event.added("user_id", value).write(out);
        }
        _ => out.extend_from_slice(dice.pick(&BYTES)),
    }
}

/// A small valid event as a list of members, to be spoiled.
struct Event {
    members: Vec<(&'static str, Vec<u8>)>,
}

impl Event {
    fn new(dice: &mut Dice, device: &Device, moment: i64) -> Self {
        let quoted = |value: &str| format!("\"{value}\"").into_bytes();
        let (name, version) = LIBRARIES[usize::from(device.library)];
        let mut id = Vec::with_capacity(38);
        id.push(b'"');
        event_id(&mut id, dice, moment);
        id.push(b'"');
        let mut page = Vec::new();
        number(&mut page, "{\"url\":\"https://www.example.tv/v/", u64::from(dice.below(1_000_000)));
        page.extend_from_slice(b"\"}");
        Self {
            members: vec![
                ("schema_version", quoted("1-0-0")),
                ("event_id", id),
                ("event_name", quoted(dice.pick(&["share", "search", "follow"]))),
                ("app_id", quoted(device.app.as_str())),
                ("platform", quoted(device.platform.as_str())),
                ("app_version", quoted("8.12.0")),
                ("original_timestamp", moment.to_string().into_bytes()),
                ("anonymous_id", quoted(&device.anonymous_id)),
                ("page", page),
                ("library", format!("{{\"name\":\"{name}\",\"version\":\"{version}\"}}").into_bytes()),
            ],
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Drop(name) => self.members.retain(|member| member.0 != name),
            Change::Set(name, value) => self.set(name, value.as_bytes()),
            Change::Again(name) => {
                let value =
                    self.members.iter().find(|member| member.0 == name).map(|member| member.1.clone());
                self.add(name, &value.unwrap_or_default());
            }
            Change::Long(name, length) => self.set(name, format!("\"{}\"", "a".repeat(length)).as_bytes()),
            Change::Keys(name, count) => {
                let keys: Vec<_> = (0..count).map(|key| format!("\"k{key}\":\"v\"")).collect();
                self.set(name, format!("{{{}}}", keys.join(",")).as_bytes());
            }
        }
    }

    /// Replaces the member, or adds it.
    fn set(&mut self, name: &'static str, value: &[u8]) {
        match self.members.iter_mut().find(|member| member.0 == name) {
            Some(member) => member.1 = value.to_vec(),
            None => self.add(name, value),
        }
    }

    fn add(&mut self, name: &'static str, value: &[u8]) {
        self.members.push((name, value.to_vec()));
    }

    fn added(&mut self, name: &'static str, value: &[u8]) -> &Self {
        self.add(name, value);
        self
    }

    fn anonymous_id(&self) -> &[u8] {
        let value = self
            .members
            .iter()
            .find(|member| member.0 == "anonymous_id")
            .map_or(&b""[..], |member| &member.1);
        value.get(1..value.len() - 1).unwrap_or_default()
    }

    fn write(&self, out: &mut Vec<u8>) {
        for (at, (name, value)) in self.members.iter().enumerate() {
            text(out, if at == 0 { "{\"" } else { ",\"" }, name);
            out.extend_from_slice(b"\":");
            out.extend_from_slice(value);
        }
        out.push(b'}');
    }
}
