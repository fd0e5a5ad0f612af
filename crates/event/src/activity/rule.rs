//! A rule of an activity: events that belong to it although their client names no activity. Only what is known of an
//! event before enrich stamps it can be asked.
use serde::{Deserialize, Serialize};

use super::{ID, is_id};
use crate::{
    Source,
    predicate::{self, Condition, Where},
};

/// Which events count as one of an activity's own. Rules of an activity may share a key: each is a way to it.
///
/// As JSON: `{"key": "draw", "event_name": "page_view", "where": {"page_path": {"prefix": "/draw"}}}`; `where` may be
/// absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityRule {
    /// What the event counts as: 1–40 of `[A-Za-z0-9-]`.
    pub key: String,
    /// The events looked at.
    pub event_name: String,
    /// What must hold of them, in the language of [`predicate`]; empty: nothing more.
    #[serde(default, rename = "where", skip_serializing_if = "Where::is_empty")]
    pub where_: Where,
}

impl ActivityRule {
    /// Its fields, as they are called in JSON.
    pub const FIELDS: &[&str] = &["key", "event_name", "where"];

    /// What must hold of an event, ready to be asked.
    ///
    /// # Errors
    /// One sentence that names the field of `where` and what is wrong with it.
    pub fn conditions(&self) -> Result<Vec<Condition>, String> {
        let conditions = predicate::parse(&self.where_)?;
        for Condition { field, .. } in &conditions {
            if field.source() == Source::Enrich {
                return Err(format!(
                    "`where` for {}: enrich stamps this field when the rules are through; use one that clients send or \
                     ingest stamps (`millrace fields`)",
                    field.name()
                ));
            }
        }
        Ok(conditions)
    }

    /// Whether the parts of the rule are possible.
    ///
    /// # Errors
    /// One sentence that names the field, its value and what would be right.
    pub fn check(&self) -> Result<(), String> {
        let Self { key, event_name, .. } = self;
        if !is_id(key) {
            return Err(format!("key = {key:?} is not {ID}"));
        }
        if !is_event_name(event_name) {
            return Err(format!(
                "event_name = {event_name:?} is not a lowercase letter and up to 63 lowercase letters, digits and \
                 underscores"
            ));
        }
        self.conditions().map(|_| ())
    }
}

fn is_event_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(json: &str) -> Result<(), String> {
        let rule: ActivityRule = serde_json::from_str(json).map_err(|error| error.to_string())?;
        rule.check()
    }

    #[test]
    fn a_rule_asks_what_clients_send_or_ingest_stamps() {
        for json in [
            r#"{"key":"draw","event_name":"page_view"}"#,
            r#"{"key":"draw","event_name":"page_view","where":{}}"#,
            r#"{"key":"draw","event_name":"page_view","where":{"page_path":{"prefix":"/draw"},"platform":["h5","web"]}}"#,
            r#"{"key":"late","event_name":"p","where":{"lateness_ms":{"gt":5}}}"#,
        ] {
            assert_eq!(checked(json), Ok(()), "{json}");
        }
    }

    #[test]
    fn a_refusal_names_the_field_the_value_and_the_way_out() {
        for (json, expected) in [
            (r#"{"key":"a_b","event_name":"p"}"#, "key = \"a_b\" is not 1 to 40"),
            (r#"{"key":"a","event_name":"_p"}"#, "event_name = \"_p\" is not"),
            (r#"{"key":"a","event_name":""}"#, "event_name = \"\" is not"),
            (r#"{"event_name":"p"}"#, "missing field `key`"),
            (r#"{"key":"a","event_name":"p","where":{"page_pat":"x"}}"#, "the nearest is `page_path`"),
            (
                r#"{"key":"a","event_name":"p","where":{"played_ms":"x"}}"#,
                "`where` for played_ms: \"x\" is not",
            ),
            (
                r#"{"key":"a","event_name":"p","where":{"channel_group":"direct"}}"#,
                "enrich stamps this field",
            ),
            (r#"{"key":"a","event_name":"p","where":"x"}"#, "invalid type"),
        ] {
            let problem = checked(json).unwrap_err();
            assert!(problem.contains(expected), "{json}: {problem}");
        }
    }
}
