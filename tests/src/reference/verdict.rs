//! Which elements of a raw record are valid events, and their time, as the contract defines it.
//!
//! It computes whether an element is rejected, not the code: codes and bytes of dead letters are compared with the
//! simulator's truth.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, value::RawValue};

const LARGEST_BYTES: usize = 256 * 1024;
const MOST_ELEMENTS: usize = 500;
const DEEPEST: usize = 8;
const TRANSIT_MS: i64 = 60_000;
const FUTURE_MS: i64 = 5 * 60_000;

const PLATFORMS: [&str; 7] = ["web", "h5", "ios", "android", "pc", "mini_program", "server"];
const FORBIDDEN: [&str; 18] = [
    "null",
    "(null)",
    "nil",
    "none",
    "undefined",
    "nan",
    "true",
    "false",
    "0",
    "00:00:00:00:00:00",
    "02:00:00:00:00:00",
    "guest",
    "anonymous",
    "unknown",
    "default",
    "not_authenticated",
    "distinct_id",
    "[object object]",
];
const LARGEST_ARRAY_BYTES: usize = 4 * 1024 * 1024;
const DAY_MS: i64 = 86_400_000;
/// Longest texts of each object, in characters; of the event itself under ''.
const LONGEST: [(&str, usize, &[&str]); 16] = [
    ("", 32, &["app_version"]),
    ("", 64, &["session_id", "install_source"]),
    ("", 128, &["user_id"]),
    ("", 256, &["locale", "timezone", "click_id", "click_id_type"]),
    ("device", 128, &["id", "manufacturer", "model", "type", "os_name", "os_version", "network_type"]),
    ("page", 256, &["page_type"]),
    ("screen", 256, &["name"]),
    ("campaign", 256, &["source", "medium", "name", "term", "content", "id"]),
    ("content", 64, &["category"]),
    ("content", 128, &["type"]),
    ("content", 256, &["id", "author_id"]),
    ("playback", 128, &["state", "quality"]),
    ("playback", 256, &["id"]),
    ("upload", 256, &["id", "error_code"]),
    ("creator", 256, &["id", "level", "previous_level"]),
    ("library", 256, &["name", "version"]),
];
const COMMERCE_TEXTS: [&str; 7] =
    ["order_id", "product_id", "product_type", "currency", "entry_point", "gift_id", "receiver_id"];

/// Settings of ingest that the result depends on.
#[derive(Debug, Clone)]
pub struct ContractRules {
    /// Registered applications.
    pub apps: Vec<String>,
    /// Oldest event by event time, ms.
    pub max_event_age_ms: i64,
}

/// The members of one valid event and its time.
#[derive(Debug, Clone)]
pub(super) struct ValidEvent {
    pub(super) members: Map<String, Value>,
    pub(super) event_time: i64,
    pub(super) time_source: &'static str,
}

/// Every element of a record; none for a rejected one.
pub(super) fn elements(record: &[u8], received_at: i64, rules: &ContractRules) -> Vec<Option<ValidEvent>> {
    let Ok(text) = std::str::from_utf8(record) else { return vec![None] };
    if record.len() > LARGEST_ARRAY_BYTES {
        return vec![None];
    }
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('[') {
        return vec![element(text, received_at, rules)];
    }
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(elements) if elements.is_empty() || elements.len() > MOST_ELEMENTS => vec![None],
        Ok(elements) => elements.iter().map(|raw| element(raw.get(), received_at, rules)).collect(),
        Err(_) => vec![None],
    }
}

fn element(text: &str, received_at: i64, rules: &ContractRules) -> Option<ValidEvent> {
    if text.len() > LARGEST_BYTES {
        return None;
    }
    let Members(members) = serde_json::from_str(text).ok()?;
    let members = members?;
    if members.values().map(depth).max().unwrap_or(0) + 1 > DEEPEST {
        return None;
    }
    is_valid(&members, rules).then_some(())?;
    let original = moment(members.get("original_timestamp")?)?;
    let sent_at = match members.get("sent_at") {
        None | Some(Value::Null) => None,
        Some(value) => Some(moment(value)?),
    };
    if original <= 0 && sent_at.is_none() {
        return None;
    }
    let (event_time, time_source) = event_time(original, sent_at, received_at);
    let members = cut(members);
    (received_at - event_time <= rules.max_event_age_ms).then_some(ValidEvent {
        members,
        event_time,
        time_source,
    })
}

/// The members of an object; none when a name occurs twice.
struct Members(Option<Map<String, Value>>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Members;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                let mut twice = false;
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    twice |= members.insert(name, value).is_some();
                }
                Ok(Members((!twice).then_some(members)))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Epoch milliseconds of a client's timestamp.
pub(super) fn moment(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => Some(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()),
        _ => None,
    }
}

fn event_time(original: i64, sent_at: Option<i64>, received: i64) -> (i64, &'static str) {
    let (mut time, mut source) = (original, "client");
    if let Some(sent_at) = sent_at {
        if sent_at < original {
            return (received, "received");
        }
        if (received - sent_at).abs() > TRANSIT_MS {
            (time, source) = (original + (received - sent_at), "corrected");
        }
    }
    if time > received + FUTURE_MS { (received, "clamped") } else { (time, source) }
}

fn is_valid(event: &Map<String, Value>, rules: &ContractRules) -> bool {
    let there = |name: &str| event.get(name).is_some_and(|value| !value.is_null());
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    let Some(name) = text("event_name") else { return false };
    let Some(platform) = text("platform") else { return false };
    let inner = |part: &str, member: &str| {
        event
            .get(part)
            .and_then(|part| part.get(member))
            .and_then(Value::as_str)
            .is_some_and(|it| !it.is_empty())
    };
    let required = inner("library", "name")
        && inner("library", "version")
        && text("schema_version").is_some_and(|version| version.starts_with("1-"))
        && text("event_id").is_some_and(is_uuid)
        && is_name(name)
        && PLATFORMS.contains(&platform)
        && text("app_id").is_some_and(|app| rules.apps.iter().any(|known| known == app));
    let by_platform = match platform {
        "ios" | "android" | "pc" => {
            text("app_version").is_some_and(|it| (1..=32).contains(&it.chars().count()))
        }
        "web" | "h5" => inner("page", "url"),
        _ => true,
    };
    let identity = match event.get("anonymous_id") {
        None | Some(Value::Null) => platform == "server",
        Some(Value::String(id)) => (1..=128).contains(&id.chars().count()) && !is_forbidden(id),
        Some(_) => false,
    };
    let playback = name.starts_with("playback_");
    let by_name = (!(playback || name == "upload_step" || name.starts_with("content_"))
        || inner("content", "id"))
        && (!playback || inner("playback", "id"))
        && (name != "upload_step" || inner("upload", "id") && inner("upload", "step"))
        && (!["vip_opened", "gift_sent"].contains(&name) || inner("commerce", "order_id"))
        && (name != "creator_level_changed" || inner("creator", "id"))
        && (!["login", "register"].contains(&name) || text("user_id").is_some_and(|it| !it.is_empty()));
    let texts = ["user_id", "session_id", "activity_event_id", "install_source", "user_agent"];
    let objects =
        ["page", "device", "screen", "campaign", "content", "playback", "upload", "commerce", "creator"];
    let types = texts.iter().all(|name| !there(name) || event[*name].is_string())
        && objects.iter().all(|name| !there(name) || event[*name].is_object())
        && (!there("is_test") || event["is_test"].is_boolean())
        && (!there("event_index") || event["event_index"].is_u64())
        && text("activity_event_id").is_none_or(is_activity_event);
    required && by_platform && identity && by_name && types && maps(event) && numbers(event) && lengths(event)
}

fn lengths(event: &Map<String, Value>) -> bool {
    let short = |part: &str, most: usize, member: &str| {
        let of_part =
            if part.is_empty() { event.get(member) } else { event.get(part).and_then(|it| it.get(member)) };
        match of_part {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.chars().count() <= most,
            Some(_) => false,
        }
    };
    let tags = event.get("content").and_then(|part| part.get("tags")).and_then(Value::as_array);
    LONGEST.iter().all(|(part, most, members)| members.iter().all(|member| short(part, *most, member)))
        && COMMERCE_TEXTS.iter().all(|member| short("commerce", 128, member))
        && tags
            .is_none_or(|tags| tags.iter().all(|tag| tag.as_str().is_some_and(|it| it.chars().count() <= 64)))
}

/// The event with texts that clients do not choose cut to their limits.
fn cut(mut event: Map<String, Value>) -> Map<String, Value> {
    let shorten = |value: Option<&mut Value>, most: usize| {
        if let Some(Value::String(text)) = value
            && let Some((end, _)) = text.char_indices().nth(most)
        {
            text.truncate(end);
        }
    };
    shorten(event.get_mut("user_agent"), 1024);
    for (member, most) in [("url", 4096), ("referrer", 4096), ("title", 1024), ("path", 1024)] {
        shorten(event.get_mut("page").and_then(|page| page.get_mut(member)), most);
    }
    event
}

fn maps(event: &Map<String, Value>) -> bool {
    let experiments = match event.get("experiments") {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => {
            let short = |text: &str| text.chars().count() <= 256;
            map.len() <= 32
                && map.iter().all(|(name, variant)| short(name) && variant.as_str().is_some_and(short))
        }
        Some(_) => false,
    };
    let properties = match event.get("properties") {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.len() <= 128,
        Some(_) => false,
    };
    experiments && properties
}

fn numbers(event: &Map<String, Value>) -> bool {
    let within = |part: &str, member: &str, least: i64, most: i64| {
        let value = event.get(part).and_then(|part| part.get(member));
        let right = |value: &Value| value.as_i64().is_some_and(|number| (least..=most).contains(&number));
        value.is_none_or(|value| value.is_null() || right(value))
    };
    within("commerce", "quantity", 0, 1_000_000)
        && within("commerce", "revenue_minor", -1_000_000_000_000, 1_000_000_000_000)
        && within("playback", "played_ms", 0, DAY_MS)
        && within("playback", "rebuffer_ms", 0, DAY_MS)
        && within("playback", "position_ms", 0, 30 * DAY_MS)
        && within("upload", "bytes", 0, 1 << 50)
        && within("upload", "duration_ms", 0, 30 * DAY_MS)
        && within("content", "duration_ms", 0, 30 * DAY_MS)
}

fn is_name(name: &str) -> bool {
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(part)
}

fn is_uuid(id: &str) -> bool {
    let parts: Vec<&str> = id.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let digits = parts.concat();
    lengths == [8, 4, 4, 4, 12]
        && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        && digits.bytes().any(|digit| digit != b'0')
}

fn is_activity_event(id: &str) -> bool {
    let halves: Vec<&str> = id.split('_').collect();
    let right = |half: &&str| {
        (1..=40).contains(&half.len())
            && half.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    halves.len() == 2 && halves.iter().all(right)
}

fn is_forbidden(id: &str) -> bool {
    let invisible = |c: char| {
        c.is_whitespace()
            || "\u{ad}\u{180e}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2060}\u{feff}".contains(c)
    };
    let trimmed = id.trim_matches(invisible);
    let plain = trimmed.to_ascii_lowercase().replace('-', "");
    let one_digit = plain.len() >= 8 && ["0", "f"].iter().any(|digit| plain.replace(digit, "").is_empty());
    trimmed == "-1" || FORBIDDEN.contains(&plain.as_str()) || one_digit || plain.chars().all(invisible)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> ContractRules {
        ContractRules { apps: vec!["web-main".into()], max_event_age_ms: 60 * 86_400_000 }
    }

    const GOOD: &str = r#"{"schema_version":"1-0-0","event_id":"018f0000-0000-7000-8000-000000000001","event_name":
        "share","app_id":"web-main","platform":"server","original_timestamp":1000000,"library":{"name":"a","version":"1"}}"#;

    #[test]
    fn only_events_of_the_contract_are_valid() {
        let valid = |text: &str| elements(text.as_bytes(), 1_000_000, &rules()).iter().flatten().count();
        assert_eq!(valid(GOOD), 1);
        assert_eq!(valid(&format!("[{GOOD},{GOOD}]")), 2);
        for (from, to) in [
            ("\"server\"", "\"web\""),
            ("\"web-main\"", "\"web-other\""),
            ("1000000", "\"yesterday\""),
            ("1000000", "0, \"sent_at\": true"),
            ("\"share\"", "\"login\""),
            ("018f0000-0000-7000-8000-000000000001", "00000000-0000-0000-0000-000000000000"),
            ("\"share\"", "\"share\",\"event_name\":\"share\""),
            ("\"share\"", "\"share\",\"anonymous_id\":\" UNKNOWN \""),
            ("\"share\"", "\"share\",\"anonymous_id\":\"\u{200b}\""),
            ("\"share\"", "\"share\",\"commerce\":{\"revenue_minor\":1000000000001}"),
            ("\"share\"", "\"share\",\"device\":{\"type\":5}"),
            ("1000000", "0"),
        ] {
            assert_eq!(valid(&GOOD.replace(from, to)), 0, "{to}");
        }
    }

    #[test]
    fn the_event_time_is_corrected_as_the_contract_says() {
        for (original, sent_at, expected) in [
            (1_000, None, (1_000, "client")),
            (1_000, Some(999), (100_000, "received")),
            (1_000, Some(39_999), (61_001, "corrected")),
            (1_000, Some(40_000), (1_000, "client")),
            (400_001, None, (100_000, "clamped")),
        ] {
            assert_eq!(event_time(original, sent_at, 100_000), expected);
        }
    }
}
