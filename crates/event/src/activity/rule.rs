//! A rule of an activity: it assigns events to the activity whose client does not name one. Its conditions use only
//! fields that are set before enrich applies rules.
use serde::{Deserialize, Serialize};

use super::id::{ID_FORM, is_id};
use crate::{
    field::FieldOrigin,
    name::is_event_name,
    predicate::{self, Condition, Where},
};

/// Which events count as an event of the activity. Several rules of an activity may have the same key.
///
/// As JSON: `{"key": "draw", "event_name": "page_view", "where": {"page_path": {"prefix": "/draw"}}}`; `where` may be
/// absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityRule {
    /// The key that the event counts as: 1–40 of `[A-Za-z0-9-]`.
    pub key: String,
    /// The name of the events.
    pub event_name: String,
    /// Conditions on them, in the language of [`predicate`]; empty: none.
    #[serde(default, rename = "where", skip_serializing_if = "Where::is_empty")]
    pub where_: Where,
}

impl ActivityRule {
    /// The names of its fields in JSON.
    pub const FIELDS: &[&str] = &["key", "event_name", "where"];

    /// The conditions of `where`.
    ///
    /// # Errors
    /// A sentence that names the field of `where` and the problem.
    pub fn conditions(&self) -> Result<Vec<Condition>, String> {
        let conditions = predicate::parse(&self.where_)?;
        for Condition { field, .. } in &conditions {
            if field.origin() == FieldOrigin::Enrich {
                return Err(format!(
                    "`where` for {}: enrich sets this field after it applies rules; use one that clients send or ingest \
                     sets (`millrace fields` lists them)",
                    field.name()
                ));
            }
        }
        Ok(conditions)
    }

    /// Checks the fields of the rule.
    ///
    /// # Errors
    /// A sentence that names the field, its value and what is expected.
    pub fn check(&self) -> Result<(), String> {
        let Self { key, event_name, .. } = self;
        if !is_id(key) {
            return Err(format!("key = {key:?} is not {ID_FORM}"));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(json: &str) -> Result<(), String> {
        let rule: ActivityRule = serde_json::from_str(json).map_err(|error| error.to_string())?;
        rule.check()
    }

    #[test]
    fn a_rule_uses_fields_that_clients_send_or_ingest_sets() {
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
    fn an_error_names_the_field_the_value_and_what_is_expected() {
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
            (r#"{"key":"a","event_name":"p","where":{"channel_group":"direct"}}"#, "enrich sets this field"),
            (r#"{"key":"a","event_name":"p","where":"x"}"#, "invalid type"),
        ] {
            let problem = checked(json).unwrap_err();
            assert!(problem.contains(expected), "{json}: {problem}");
        }
    }
}
