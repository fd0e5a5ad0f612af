//! A change of one activity, before it is written.
use event::Activity;
use serde_json::Value;

use crate::tables::activity_history::ActivityChangeRow;

/// The command that makes a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangeAction {
    Create,
    End,
    Import,
}

impl ChangeAction {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::End => "end",
            Self::Import => "import",
        }
    }
}

/// An entry before and after a change.
#[derive(Debug, Clone)]
pub(super) struct ActivityChange {
    pub(super) action: ChangeAction,
    /// None for a new activity.
    pub(super) before: Option<Activity>,
    pub(super) after: Activity,
    /// The reason that the operator gave; '' without one.
    pub(super) reason: String,
}

impl ActivityChange {
    /// Names of the JSON fields that differ.
    pub(super) fn fields(&self) -> Vec<String> {
        let before = self.before.as_ref().map(json).unwrap_or_default();
        differences(&before, &json(&self.after)).into_iter().map(|difference| difference.field).collect()
    }

    /// The row of the history, not confirmed yet. `at` is in epoch milliseconds.
    pub(super) fn unconfirmed_row(&self, who: &str, at: i64) -> ActivityChangeRow {
        ActivityChangeRow {
            activity_id: self.after.activity_id.clone(),
            at,
            change_id: uuid::Uuid::new_v4().to_string(),
            who: who.to_owned(),
            action: self.action.as_str().to_owned(),
            reason: self.reason.clone(),
            changed: self.fields(),
            before: self.before.as_ref().map(|before| json(before).to_string()).unwrap_or_default(),
            after: json(&self.after).to_string(),
            confirmed: 0,
        }
    }
}

/// An entry as JSON.
pub(super) fn json(activity: &Activity) -> Value {
    serde_json::to_value(activity).unwrap_or_default()
}

/// A field that differs between two entries.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FieldDifference {
    pub(super) field: String,
    /// None when it was absent or empty.
    pub(super) old: Option<Value>,
    /// None when it is absent or empty.
    pub(super) new: Option<Value>,
}

/// The fields in which two entries differ, by name. Empty and absent are the same, so that a new entry is described by
/// the fields that are set.
pub(super) fn differences(before: &Value, after: &Value) -> Vec<FieldDifference> {
    let names = [before, after].into_iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys);
    let names: std::collections::BTreeSet<&String> = names.collect();
    let value = |entry: &Value, name: &str| entry.get(name).filter(|value| !is_empty(value)).cloned();
    names
        .into_iter()
        .map(|name| FieldDifference {
            field: name.clone(),
            old: value(before, name),
            new: value(after, name),
        })
        .filter(|difference| difference.old != difference.new)
        .collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::activity;
    use super::*;

    #[test]
    fn a_change_is_described_by_the_fields_that_differ() {
        let before =
            activity(r#"{"activity_id":"a","name":"A","owner":"x","ends_at":"2026-01-02T00:00:00Z"}"#);
        for (after, expected) in [
            (r#"{"activity_id":"a","name":"A","owner":"x","ends_at":"2026-01-02T08:00:00+08:00"}"#, &[][..]),
            (r#"{"activity_id":"a","name":"B","owner":"x"}"#, &["ends_at", "name"]),
            (
                r#"{"activity_id":"a","name":"A","ends_at":"2026-01-02T00:00:00Z","rules":[{"key":"k","event_name":"p"}]}"#,
                &["owner", "rules"],
            ),
        ] {
            let before = Some(before.clone());
            let change = ActivityChange {
                action: ChangeAction::Import,
                before,
                after: activity(after),
                reason: String::new(),
            };
            assert_eq!(change.fields(), expected, "{after}");
        }
        let new = ActivityChange {
            action: ChangeAction::Create,
            before: None,
            after: before,
            reason: String::new(),
        };
        assert_eq!(new.fields(), ["activity_id", "ends_at", "name", "owner", "type"]);
        let row = new.unconfirmed_row("alice", 7);
        assert_eq!((row.before.as_str(), row.confirmed, row.action.as_str()), ("", 0, "create"));
        assert_eq!(Activity::parse(row.after.as_bytes()).unwrap(), new.after);
    }
}
