//! An entry of the activity registry: `millrace activity create` writes it to the topic `activities`, enrich reads
//! it. The same checks apply when it is written and when it is read.
mod id;
mod rfc3339;
mod rule;

use serde::{Deserialize, Serialize};

use crate::name::is_app_id;
use id::{ID_FORM, is_id};

pub use rule::ActivityRule;

/// One activity. The key in the topic is `activity_id`; a later entry with the same key replaces it.
///
/// As JSON, times are RFC 3339 text under `starts_at` and `ends_at`, unknown fields are ignored, and all but
/// `activity_id` may be absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// First half of the activity event ID: 1–40 of `[A-Za-z0-9-]`.
    pub activity_id: String,
    /// A name for people.
    #[serde(default)]
    pub name: String,
    /// How it was made.
    #[serde(default, rename = "type")]
    pub kind: ActivityKind,
    /// Apps it runs in; empty means all.
    #[serde(default)]
    pub app_ids: Vec<String>,
    /// Start, epoch milliseconds. None: it has always been running.
    #[serde(default, rename = "starts_at", with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub starts_at_ms: Option<i64>,
    /// End (exclusive), epoch milliseconds. None: it never ends.
    #[serde(default, rename = "ends_at", with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub ends_at_ms: Option<i64>,
    /// Who is responsible for it.
    #[serde(default)]
    pub owner: String,
    /// The events that clients report for it.
    #[serde(default)]
    pub events: Vec<ActivityEvent>,
    /// Assigns further events to it whose client does not name an activity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<ActivityRule>,
    /// For how long after a touch a conversion counts for it, such as `24h` or `7d`; None: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution_window: Option<String>,
}

/// How an activity was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActivityKind {
    /// Made from a template.
    Template,
    /// Made by hand.
    #[default]
    Custom,
}

impl ActivityKind {
    /// The value as written in the registry and in `activity_type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Custom => "custom",
        }
    }
}

/// An event that clients report for an activity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityEvent {
    /// Second half of the activity event ID: 1–40 of `[A-Za-z0-9-]`.
    pub key: String,
    /// A name for people.
    #[serde(default)]
    pub name: String,
}

impl ActivityEvent {
    /// The names of its fields in JSON.
    pub const FIELDS: &[&str] = &["key", "name"];
}

/// Why an entry of the registry is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActivityError {
    /// The bytes are not JSON of an activity.
    #[error("not an activity: {0}")]
    Json(String),
    /// A field has an invalid value.
    #[error("{field} = {value:?} is not {expected}")]
    Value {
        /// The name of the field in JSON.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is expected.
        expected: &'static str,
    },
    /// A rule is invalid.
    #[error("rules[{index}] (key {key:?}): {problem}")]
    Rule {
        /// Its position in the list, from 0.
        index: usize,
        /// Its key.
        key: String,
        /// The field of the rule, its value and what is expected.
        problem: String,
    },
}

const WINDOW: &str = "a positive duration such as 24h or 7d";

impl Activity {
    /// The names of its fields in JSON.
    pub const FIELDS: &[&str] = &[
        "activity_id",
        "name",
        "type",
        "app_ids",
        "starts_at",
        "ends_at",
        "owner",
        "events",
        "rules",
        "attribution_window",
    ];

    /// Reads and checks an entry.
    ///
    /// # Errors
    /// The bytes are not JSON of an activity, or [`check`](Self::check) fails.
    pub fn parse(json: &[u8]) -> Result<Self, ActivityError> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        // Names the field in the error, which serde alone does not.
        let activity: Self = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| ActivityError::Json(error.to_string()))?;
        reader.end().map_err(|error| ActivityError::Json(error.to_string()))?;
        activity.check()?;
        Ok(activity)
    }

    /// Checks each field, and the fields against each other.
    ///
    /// # Errors
    /// The first invalid field, with its value and what is expected.
    pub fn check(&self) -> Result<(), ActivityError> {
        let wrong = |field, value: &str, expected| {
            Err(ActivityError::Value { field, value: value.to_owned(), expected })
        };
        if !is_id(&self.activity_id) {
            return wrong("activity_id", &self.activity_id, ID_FORM);
        }
        for app_id in &self.app_ids {
            if !is_app_id(app_id) {
                return wrong("app_ids", app_id, "1 to 64 lowercase letters, digits and dashes");
            }
        }
        if let (Some(starts_at), Some(ends_at)) = (self.starts_at_ms, self.ends_at_ms)
            && ends_at <= starts_at
        {
            return wrong("ends_at", &rfc3339::text(ends_at), "after starts_at");
        }
        for (index, event) in self.events.iter().enumerate() {
            if !is_id(&event.key) {
                return wrong("events.key", &event.key, ID_FORM);
            }
            if self.events[..index].iter().any(|earlier| earlier.key == event.key) {
                return wrong("events.key", &event.key, "unique among the keys of the activity");
            }
        }
        for (index, rule) in self.rules.iter().enumerate() {
            rule.check().map_err(|problem| ActivityError::Rule { index, key: rule.key.clone(), problem })?;
        }
        match (&self.attribution_window, self.attribution_window_ms()) {
            (Some(window), None) => wrong("attribution_window", window, WINDOW),
            _ => Ok(()),
        }
    }

    /// The attribution window in milliseconds; a day is 24 h. None if it is absent or not a positive duration.
    pub fn attribution_window_ms(&self) -> Option<i64> {
        let span: jiff::Span = self.attribution_window.as_deref()?.trim().parse().ok()?;
        let relative = jiff::SpanRelativeTo::days_are_24_hours();
        let duration = span.to_duration(relative).ok()?;
        i64::try_from(duration.as_millis()).ok().filter(|&ms| ms > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw() -> Activity {
        Activity {
            activity_id: "A2026-0042".into(),
            name: "夏日抽奖".into(),
            kind: ActivityKind::Template,
            app_ids: vec!["web-main".into()],
            starts_at_ms: Some(1_772_366_400_000),
            ends_at_ms: Some(1_772_366_400_500),
            owner: "growth".into(),
            events: vec![ActivityEvent { key: "draw".into(), name: "抽奖".into() }],
            rules: vec![ActivityRule {
                key: "draw".into(),
                event_name: "page_view".into(),
                where_: serde_json::from_str(r#"{"page_path":{"prefix":"/draw"}}"#).unwrap(),
            }],
            attribution_window: Some("7d".into()),
        }
    }

    fn json_of(text: &str) -> serde_json::Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_activity_is_written_as_the_contract_says_and_read_back() {
        let json = serde_json::to_value(draw()).unwrap();
        assert_eq!(json["type"], "template");
        assert_eq!(json["starts_at"], "2026-03-01T12:00:00Z");
        let rule = r#"{"key":"draw","event_name":"page_view","where":{"page_path":{"prefix":"/draw"}}}"#;
        assert_eq!(json["rules"][0], json_of(rule));
        assert_eq!(Activity::parse(json.to_string().as_bytes()), Ok(draw()));
        assert_eq!(draw().attribution_window_ms(), Some(7 * 86_400_000));
    }

    #[test]
    fn all_but_the_id_may_be_absent_and_unknown_fields_are_ignored() {
        let activity =
            Activity::parse(br#"{"activity_id":"x","ends_at":null,"rules":[],"of_the_future":1}"#).unwrap();
        assert_eq!((activity.kind, activity.starts_at_ms), (ActivityKind::Custom, None));
        let json = serde_json::to_value(&activity).unwrap();
        assert!(json.get("starts_at").is_none() && json.get("attribution_window").is_none(), "{json}");
    }

    #[test]
    fn a_time_may_have_an_offset() {
        let activity =
            Activity::parse(br#"{"activity_id":"x","starts_at":"2026-03-01T20:00:00+08:00"}"#).unwrap();
        assert_eq!(activity.starts_at_ms, Some(1_772_366_400_000));
    }

    #[test]
    fn an_error_names_the_field_and_the_value() {
        for (change, field, value) in [
            ((|a| a.activity_id = "a_b".into()) as fn(&mut Activity), "activity_id", "a_b"),
            (|a| a.activity_id = String::new(), "activity_id", ""),
            (|a| a.app_ids.push("Web".into()), "app_ids", "Web"),
            (|a| a.ends_at_ms = a.starts_at_ms, "ends_at", "2026-03-01T12:00:00Z"),
            (|a| a.events[0].key = "k".repeat(41), "events.key", "kkkk"),
            (|a| a.events.push(a.events[0].clone()), "events.key", "draw"),
            (|a| a.attribution_window = Some("soon".into()), "attribution_window", "soon"),
            (|a| a.attribution_window = Some("-1h".into()), "attribution_window", "-1h"),
        ] {
            let mut activity = draw();
            change(&mut activity);
            let message = activity.check().unwrap_err().to_string();
            assert!(message.starts_with(field) && message.contains(value), "{message}");
        }
        let mut activity = draw();
        activity.rules.push(ActivityRule { event_name: "Draw".into(), ..activity.rules[0].clone() });
        let message = activity.check().unwrap_err().to_string();
        assert!(message.starts_with(r#"rules[1] (key "draw"): event_name = "Draw""#), "{message}");
        let message =
            Activity::parse(br#"{"activity_id":"x","starts_at":"1 March"}"#).unwrap_err().to_string();
        assert!(message.contains("starts_at: \"1 March\"") && message.contains("RFC 3339"), "{message}");
        assert!(Activity::parse(br#"{"activity_id":"x"} {}"#).is_err());
    }
}
