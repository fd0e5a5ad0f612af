//! Invalid events with exactly one defect each, and the code with which ingest must reject them.
//!
//! Only defects for which the contract allows one code are used, so that a difference is a bug of ingest.

use crate::config::Config;
use crate::defects::{BYTES, Change, DEFECTS, Defect, NOT_UTF8};
use crate::dice::Dice;
use crate::expected_code::ExpectedCode;
use crate::json_text::{event_id, number, text};
use crate::population::{Device, LIBRARIES};
use crate::record::RawRecord;

/// Larger events are `too_large`, bytes.
const LARGEST_EVENT: usize = 256 * 1024;
/// Nesting depth of `too_deep` events: far above the limit.
const NESTING: usize = 200;

pub(crate) struct Broken {
    /// Codes and weights, for whole records.
    codes: Vec<(ExpectedCode, u32)>,
    /// Codes and weights, for elements of arrays.
    element_codes: Vec<(ExpectedCode, u32)>,
    /// Number of invalid records so far. The first ones have one code each, so that short runs have all codes.
    records: usize,
    max_event_age_ms: i64,
    largest_bytes: usize,
}

impl Broken {
    pub(crate) fn new(config: &Config) -> Self {
        let wanted =
            |code: &ExpectedCode| *code != ExpectedCode::UnknownEvent || config.reject_unknown_events;
        let codes: Vec<_> =
            ExpectedCode::ALL.iter().copied().filter(wanted).map(|code| (code, code.weight())).collect();
        Self {
            element_codes: codes.iter().copied().filter(|(code, _)| !code.needs_own_record()).collect(),
            codes,
            records: 0,
            max_event_age_ms: config.max_event_age_ms,
            largest_bytes: config.largest_bad_bytes.max(LARGEST_EVENT + 1),
        }
    }

    /// Writes a record that is rejected as a whole. The caller has set the device's ID as key; a forbidden ID
    /// replaces it.
    pub(crate) fn write_record(
        &mut self,
        dice: &mut Dice,
        device: &Device,
        moment: i64,
        now_ms: i64,
        out: &mut RawRecord,
    ) -> ExpectedCode {
        let code = match self.codes.get(self.records) {
            Some(&(code, _)) => code,
            None => dice.weighted(&self.codes),
        };
        self.records += 1;
        let mut event = DefectiveEvent::new(dice, device, moment);
        let value = &mut out.value;
        match code {
            ExpectedCode::NotUtf8 => event.added("user_id", dice.pick(&NOT_UTF8)).write(value),
            ExpectedCode::MalformedJson => malformed(dice, &mut event, value),
            ExpectedCode::InvalidValue if dice.chance(0.05) => {
                // 501 elements: one more than the limit.
                text(value, "[{}", "");
                (0..500).for_each(|_| text(value, ",{}", ""));
                value.push(b']');
            }
            _ => self.write_defect(code, dice, &mut event, now_ms, value),
        }
        if code == ExpectedCode::ForbiddenId {
            out.key.clear();
            out.key.extend_from_slice(event.anonymous_id());
        }
        code
    }

    /// Writes an invalid element of an array whose other elements stay valid.
    pub(crate) fn write_element(
        &self,
        dice: &mut Dice,
        device: &Device,
        moment: i64,
        now_ms: i64,
        out: &mut Vec<u8>,
    ) -> ExpectedCode {
        let code = dice.weighted(&self.element_codes);
        let mut event = DefectiveEvent::new(dice, device, moment);
        self.write_defect(code, dice, &mut event, now_ms, out);
        code
    }

    fn write_defect(
        &self,
        code: ExpectedCode,
        dice: &mut Dice,
        event: &mut DefectiveEvent,
        now_ms: i64,
        out: &mut Vec<u8>,
    ) {
        match code {
            ExpectedCode::TooLarge => return self.too_large(dice, event, out),
            // A lone surrogate keeps the JSON grammar intact, so the array can be split.
            ExpectedCode::MalformedJson => event.add("user_id", dice.pick(&[b"\"\\ud800\"", b"\"\\udc0a\""])),
            ExpectedCode::TooOld => {
                let age = self.max_event_age_ms + dice.spread(86_400_000, 400 * 86_400_000);
                let original = if dice.chance(0.1) { 0 } else { now_ms - age };
                event.set("original_timestamp", original.to_string().as_bytes());
            }
            ExpectedCode::TooDeep => {
                let (open, close) = dice.pick(&[("[", "]"), ("{\"d\":", "}")]);
                let nested = [open.repeat(NESTING), "1".to_owned(), close.repeat(NESTING)].concat();
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

    fn too_large(&self, dice: &mut Dice, event: &DefectiveEvent, out: &mut Vec<u8>) {
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

/// Writes text that is not JSON, or not exactly one value.
fn malformed(dice: &mut Dice, event: &mut DefectiveEvent, out: &mut Vec<u8>) {
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

/// A small valid event as a list of members, which defects change.
struct DefectiveEvent {
    members: Vec<(&'static str, Vec<u8>)>,
}

impl DefectiveEvent {
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
            Change::LongIn(object, key, length) => {
                self.set(object, format!("{{\"{key}\":\"{}\"}}", "a".repeat(length)).as_bytes());
            }
            Change::Keys(name, count) => {
                let keys: Vec<_> = (0..count).map(|key| format!("\"k{key}\":\"v\"")).collect();
                self.set(name, format!("{{{}}}", keys.join(",")).as_bytes());
            }
        }
    }

    /// Replaces or adds a member.
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
