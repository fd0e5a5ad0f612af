//! Whether an event's values are what the contract says, field by field in the order of its table: the first
//! fault found is the one reported. Numbers and times are read on the way, in place.
use event::{Limits, Platform, RejectCode, Rejection};
use foldhash::fast::RandomState;
use std::{borrow::Cow, collections::HashSet, time::Duration};
use uuid::Uuid;

use crate::{
    contract::{ENVELOPE, Group, Part, Required, Rule, STANDARD_NAMES},
    json::{Text, Value, elements_of, members_of},
    parse::{Event, first_chars, places, pointer_to},
    time::{EventTime, event_time, parse_millis, parse_rfc3339},
};

/// Longest piece of a value that a message quotes, in characters.
const QUOTED_CHARS: usize = 40;
/// The major version of the contract that this program knows.
const SCHEMA_MAJOR: &str = "1";

/// What the operator decides about events.
#[derive(Debug, Clone)]
pub struct Rules {
    apps: HashSet<String, RandomState>,
    standard_names_only: bool,
    max_event_age_ms: i64,
}

impl Rules {
    /// `apps` that may send events (none listed: any), whether to refuse event names outside the contract's list,
    /// and how old an event may be.
    pub fn new(
        apps: impl IntoIterator<Item = String>,
        standard_names_only: bool,
        max_event_age: Duration,
    ) -> Self {
        let max_event_age_ms = i64::try_from(max_event_age.as_millis()).unwrap_or(i64::MAX);
        Self { apps: apps.into_iter().collect(), standard_names_only, max_event_age_ms }
    }
}

/// What ingest found out about a valid event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts {
    /// The event's identifier.
    pub event_id: Uuid,
    /// Whether it is test traffic.
    pub is_test: bool,
    /// When it happened.
    pub time: EventTime,
}

/// Checks all fields of a parsed event. `received_at` is the record's time, epoch milliseconds.
pub(crate) fn validate(event: &mut Event<'_>, rules: &Rules, received_at: i64) -> Result<Facts, Rejection> {
    let mut check = Check {
        rules,
        event,
        duties: Required::Always as u16,
        event_id: Uuid::nil(),
        original: 0,
        sent_at: None,
        is_test: false,
    };
    check.group(ENVELOPE)?;
    let Check { event_id, original, sent_at, is_test, .. } = check;
    let time = event_time(original, sent_at, received_at);
    let age = received_at.saturating_sub(time.event_time);
    if original <= 0 || age > rules.max_event_age_ms {
        let message = if original <= 0 {
            "the time lies before 1970: send epoch milliseconds or RFC 3339 of a clock that is set".to_owned()
        } else {
            let hint = if original < SECONDS_NOT_MILLISECONDS {
                "; are these seconds? send milliseconds"
            } else {
                ""
            };
            format!(
                "the event is {} h old, {} h at most{hint}",
                age / HOUR_MS,
                rules.max_event_age_ms / HOUR_MS
            )
        };
        return Err(Rejection::new(RejectCode::TooOld, "/original_timestamp", message));
    }
    Ok(Facts { event_id, is_test, time })
}

const HOUR_MS: i64 = 3_600_000;
/// Any real time in milliseconds since 1973 is larger, any in seconds until the year 5138 is smaller.
const SECONDS_NOT_MILLISECONDS: i64 = 100_000_000_000;

struct Check<'c, 'a> {
    rules: &'c Rules,
    event: &'c mut Event<'a>,
    /// Which [`Required`] apply to this event. Name and platform stand in the table before all they decide about.
    duties: u16,
    event_id: Uuid,
    original: i64,
    sent_at: Option<i64>,
    is_test: bool,
}

impl<'a> Check<'_, 'a> {
    fn group(&mut self, group: &'static Group) -> Result<(), Rejection> {
        let of_group = (self.event.present() >> group.first) & ((1 << group.parts.len()) - 1);
        let fine = (self.event.texts() >> group.first) & u128::from(group.any_text);
        // Most parts are neither there nor ever demanded, and of most others any text will do.
        for at in places((of_group & !fine) | u128::from(group.demanded)) {
            let (place, part) = (group.first + at, &group.parts[at]);
            let is_required = self.duties & part.required as u16 != 0;
            match self.event.value(place) {
                Value::Absent | Value::Null if is_required => return Err(missing(part)),
                Value::Absent | Value::Null => (),
                value => {
                    if let Some(read) = self.value(part, value, is_required)? {
                        self.event.set(place, Value::Whole(read));
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks one value; numbers and times come back as what they say.
    fn value(&mut self, part: &Part, value: Value<'a>, is_required: bool) -> Result<Option<i64>, Rejection> {
        match part.rule {
            Rule::Text(most) => {
                let text = text(part, &value)?;
                length(part, text, usize::from(is_required), most)?;
            }
            Rule::Object(group) => match value {
                Value::Object { .. } => self.group(group)?,
                _ => return Err(wrong_type(part, &value, "an object")),
            },
            Rule::Count => return whole(part, &value, 0, i64::MAX.into()).map(Some),
            Rule::Amount => return whole(part, &value, i64::MIN.into(), i64::MAX.into()).map(Some),
            Rule::EventIndex => {
                // Stored plus 1; the last numbers of the range are beyond what any device counts to.
                return whole(part, &value, 0, u64::MAX.into()).map(|index| Some(index.saturating_add(1)));
            }
            Rule::Word(words) => {
                let text = text(part, &value)?.read();
                if !words.contains(&&*text) {
                    return Err(invalid(part, &text, &format!("one of {}", words.join(", "))));
                }
            }
            Rule::Time => return timestamp(part, &value).map(Some),
            Rule::OriginalTimestamp => self.original = timestamp(part, &value)?,
            Rule::SentAt => self.sent_at = Some(timestamp(part, &value)?),
            Rule::IsTest => match value {
                Value::Bool(is_test) => self.is_test = is_test,
                _ => return Err(wrong_type(part, &value, "true or false")),
            },
            Rule::SchemaVersion => schema_version(part, &text(part, &value)?.read())?,
            Rule::EventId => self.event_id = event_id(part, &text(part, &value)?.read())?,
            Rule::EventName => self.event_name(part, &text(part, &value)?.read())?,
            Rule::AppId => self.app_id(part, &text(part, &value)?.read())?,
            Rule::Platform => self.platform(part, &text(part, &value)?.read())?,
            Rule::AnonymousId => anonymous_id(part, text(part, &value)?)?,
            Rule::ActivityEventId => activity_event_id(part, &text(part, &value)?.read())?,
            Rule::Tags => self.event.tags = tags(part, &value)?,
            Rule::Experiments => self.event.experiments = experiments(part, &value)?,
            Rule::Properties => properties(part, &value)?,
        }
        Ok(None)
    }

    fn event_name(&mut self, part: &Part, name: &str) -> Result<(), Rejection> {
        let mut bytes = name.bytes();
        let proper = bytes.next().is_some_and(|first| first.is_ascii_lowercase())
            && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !proper || name.len() > 64 {
            return Err(invalid(part, name, "a lower-case letter, then up to 63 of a-z, 0-9 and _"));
        }
        if self.rules.standard_names_only && !STANDARD_NAMES.contains(&name) {
            let message =
                format!("{} is not in the list of event names, and others are refused here", quoted(name));
            return Err(Rejection::new(RejectCode::UnknownEvent, part.pointer, message));
        }
        let duties: &[Required] = match name {
            "login" | "register" => &[Required::Login],
            "upload_step" => &[Required::Content, Required::Upload],
            "vip_opened" | "gift_sent" => &[Required::Order],
            "creator_level_changed" => &[Required::Creator],
            _ if name.starts_with("playback_") => &[Required::Content, Required::Playback],
            _ if name.starts_with("content_") => &[Required::Content],
            _ => &[],
        };
        self.duties |= duties.iter().fold(0, |all, &duty| all | duty as u16);
        Ok(())
    }

    fn app_id(&mut self, part: &Part, app_id: &str) -> Result<(), Rejection> {
        let proper =
            app_id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !proper || app_id.is_empty() || app_id.len() > 64 {
            return Err(invalid(part, app_id, "1 to 64 of a-z, 0-9 and -"));
        }
        if !self.rules.apps.is_empty() && !self.rules.apps.contains(app_id) {
            let message = format!("{} is not configured: add it to ingest.apps", quoted(app_id));
            return Err(Rejection::new(RejectCode::UnknownApp, part.pointer, message));
        }
        Ok(())
    }

    fn platform(&mut self, part: &Part, platform: &str) -> Result<(), Rejection> {
        let duties = match Platform::parse(platform) {
            Some(Platform::Web | Platform::H5) => Required::Device as u16 | Required::Browser as u16,
            Some(Platform::Ios | Platform::Android | Platform::Pc) => {
                Required::Device as u16 | Required::Installed as u16
            }
            Some(Platform::MiniProgram) => Required::Device as u16,
            Some(Platform::Server) => 0,
            None => return Err(invalid(part, platform, "web, h5, ios, android, pc, mini_program or server")),
        };
        self.duties |= duties;
        Ok(())
    }
}

fn schema_version(part: &Part, version: &str) -> Result<(), Rejection> {
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        digits && (1..=9).contains(&text.len()) && (text == "0" || !text.starts_with('0'))
    };
    let mut numbers = version.split('-');
    let (major, minor, patch, rest) = (numbers.next(), numbers.next(), numbers.next(), numbers.next());
    let (Some(major), Some(minor), Some(patch), None) = (major, minor, patch, rest) else {
        return Err(invalid(part, version, "MAJOR-MINOR-PATCH such as 1-0-0"));
    };
    if ![major, minor, patch].into_iter().all(number) {
        return Err(invalid(part, version, "MAJOR-MINOR-PATCH such as 1-0-0"));
    }
    if major != SCHEMA_MAJOR {
        let message = format!(
            "{} has another major version than {SCHEMA_MAJOR}: upgrade ingest first",
            quoted(version)
        );
        return Err(Rejection::new(RejectCode::UnsupportedSchema, part.pointer, message));
    }
    Ok(())
}

fn event_id(part: &Part, text: &str) -> Result<Uuid, Rejection> {
    // The crate reads other forms too, but none of them has the length of 8-4-4-4-12.
    let uuid = if text.len() == 36 { Uuid::try_parse(text).ok() } else { None };
    match uuid {
        Some(uuid) if !uuid.is_nil() => Ok(uuid),
        Some(_) => Err(invalid(part, text, "a UUID of its own for each event, not the nil UUID")),
        None => Err(invalid(part, text, "a UUID in 8-4-4-4-12 form")),
    }
}

fn anonymous_id(part: &Part, text: Text<'_>) -> Result<(), Rejection> {
    length(part, text, 1, 128)?;
    let id = text.read();
    if is_placeholder(&id) {
        let message = format!(
            "{} is a placeholder that many devices share: make a random one and keep it",
            quoted(&id)
        );
        return Err(Rejection::new(RejectCode::ForbiddenId, part.pointer, message));
    }
    Ok(())
}

/// Compared trimmed, in lower case, without dashes.
fn is_placeholder(id: &str) -> bool {
    let id = id.trim();
    let letters = || id.bytes().filter(|&byte| byte != b'-').map(|byte| byte.to_ascii_lowercase());
    match letters().next() {
        Some(b'0') => letters().all(|byte| byte == b'0'),
        Some(b'n' | b'u' | b'g') => {
            ["null", "undefined", "guest", "unknown"].iter().any(|word| letters().eq(word.bytes()))
        }
        _ => false,
    }
}

fn activity_event_id(part: &Part, id: &str) -> Result<(), Rejection> {
    let proper = |half: &str| {
        (1..=40).contains(&half.len())
            && half.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    match id.split_once('_') {
        Some((activity, event)) if proper(activity) && proper(event) => Ok(()),
        _ => Err(invalid(part, id, "activityID_eventID, each half 1 to 40 letters, digits and dashes")),
    }
}

fn tags<'a>(part: &Part, value: &Value<'a>) -> Result<Vec<Text<'a>>, Rejection> {
    let Value::Array { json, entries } = *value else {
        return Err(wrong_type(part, value, "an array of texts"));
    };
    at_most(part, entries, Limits::TAGS, "tags")?;
    let (mut tags, mut first_fault) = (Vec::with_capacity(entries), None);
    elements_of(json, |tag| match tag {
        Value::Text(text) => tags.push(text),
        _ if first_fault.is_some() => (),
        _ => {
            let pointer = format!("{}/{}", part.pointer, tags.len());
            first_fault = Some(wrong_type_at(pointer, &tag, "a text"));
        }
    });
    first_fault.map_or(Ok(tags), Err)
}

/// Experiments and their variants. Of a name that stands twice the last counts.
fn experiments<'a>(part: &Part, value: &Value<'a>) -> Result<Vec<(Cow<'a, str>, Text<'a>)>, Rejection> {
    let Value::Object { json, .. } = *value else {
        return Err(wrong_type(part, value, "an object of texts"));
    };
    let mut sent: Vec<(Cow<'_, str>, Value<'_>)> = Vec::new();
    members_of(json, |name, variant| {
        let name = name.read();
        if let Some(known) = sent.iter_mut().find(|known| known.0 == name) {
            known.1 = variant;
        } else if sent.len() <= Limits::EXPERIMENTS {
            // Beyond the limit by one is enough to know.
            sent.push((name, variant));
        }
    });
    at_most(part, sent.len(), Limits::EXPERIMENTS, "experiments")?;
    let mut variants = Vec::with_capacity(sent.len());
    for (name, variant) in sent {
        match variant {
            Value::Text(text) => variants.push((name, text)),
            _ => return Err(wrong_type_at(pointer_to(part.pointer, &name), &variant, "a text")),
        }
    }
    Ok(variants)
}

fn properties(part: &Part, value: &Value<'_>) -> Result<(), Rejection> {
    let Value::Object { json, entries } = *value else { return Err(wrong_type(part, value, "an object")) };
    at_most(part, entries, Limits::PROPERTIES_KEYS, "keys")?;
    at_most(part, json.len(), Limits::PROPERTIES_BYTES, "bytes")
}

/// Reads RFC 3339 or epoch milliseconds; whatever else it is, it is no time.
fn timestamp(part: &Part, value: &Value<'_>) -> Result<i64, Rejection> {
    let read = match value {
        Value::Text(text) => parse_rfc3339(&text.read()),
        Value::Number(digits) => parse_millis(digits),
        _ => None,
    };
    read.ok_or_else(|| {
        let sent = match value {
            Value::Text(text) => quoted(&text.read()),
            Value::Number(digits) => first_chars(digits, QUOTED_CHARS).to_owned(),
            other => other.type_name().to_owned(),
        };
        let message =
            format!("{sent} is no time: send RFC 3339 with a zone, or epoch milliseconds as a number");
        Rejection::new(RejectCode::InvalidTimestamp, part.pointer, message)
    })
}

/// Reads a whole number written as one; what is beyond i64, but within `most`, saturates.
fn whole(part: &Part, value: &Value<'_>, least: i128, most: i128) -> Result<i64, Rejection> {
    let Value::Number(digits) = value else { return Err(wrong_type(part, value, "a whole number")) };
    if digits.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        let message =
            format!("{} has a point or exponent: send a whole number", first_chars(digits, QUOTED_CHARS));
        return Err(Rejection::new(RejectCode::InvalidType, part.pointer, message));
    }
    if let Ok(number) = digits.parse::<i64>()
        && (least..=most).contains(&i128::from(number))
    {
        return Ok(number);
    }
    match digits.parse::<i128>() {
        Ok(number) if (least..=most).contains(&number) => Ok(i64::MAX),
        _ => {
            let message = format!("{} is not from {least} to {most}", first_chars(digits, QUOTED_CHARS));
            Err(Rejection::new(RejectCode::InvalidValue, part.pointer, message))
        }
    }
}

fn text<'a>(part: &Part, value: &Value<'a>) -> Result<Text<'a>, Rejection> {
    match value {
        Value::Text(text) => Ok(*text),
        _ => Err(wrong_type(part, value, "a text")),
    }
}

/// Counts Unicode code points.
fn length(part: &Part, text: Text<'_>, least: usize, most: usize) -> Result<(), Rejection> {
    let bytes = text.sent_bytes();
    if bytes > 0 && bytes <= most {
        return Ok(());
    }
    let text = text.read();
    if text.is_empty() && least > 0 {
        return Err(invalid(part, "", "at least one character"));
    }
    if text.len() > most && text.chars().count() > most {
        return Err(invalid(part, &text, &format!("{most} characters at most")));
    }
    Ok(())
}

fn at_most(part: &Part, count: usize, most: usize, what: &str) -> Result<(), Rejection> {
    if count <= most {
        return Ok(());
    }
    let message = format!("more than {most} {what}: send fewer");
    Err(Rejection::new(RejectCode::InvalidValue, part.pointer, message))
}

fn missing(part: &Part) -> Rejection {
    let message = match part.required {
        Required::Installed => "required on ios, android and pc",
        Required::Device => "required unless platform is server",
        Required::Browser => "required on web and h5",
        Required::Login => "required on login and register",
        Required::Content => "required on content, playback and upload events",
        Required::Playback => "required on playback events",
        Required::Upload => "required on upload_step",
        Required::Order => "required on vip_opened and gift_sent",
        Required::Creator => "required on creator_level_changed",
        Required::Always | Required::No => "required",
    };
    Rejection::new(
        RejectCode::MissingField,
        part.pointer,
        format!("{} is absent or null: {message}", part.key),
    )
}

fn wrong_type(part: &Part, value: &Value<'_>, expected: &str) -> Rejection {
    wrong_type_at(part.pointer, value, expected)
}

fn wrong_type_at(pointer: impl Into<Cow<'static, str>>, value: &Value<'_>, expected: &str) -> Rejection {
    Rejection::new(RejectCode::InvalidType, pointer, format!("is {}: send {expected}", value.type_name()))
}

fn invalid(part: &Part, value: &str, expected: &str) -> Rejection {
    Rejection::new(
        RejectCode::InvalidValue,
        part.pointer,
        format!("{} is not allowed: send {expected}", quoted(value)),
    )
}

/// The start of a value, in quotes and with control characters escaped.
fn quoted(value: &str) -> String {
    let start = first_chars(value, QUOTED_CHARS);
    if start.len() < value.len() { format!("{start:?}…") } else { format!("{start:?}") }
}
