//! One way to change the registry, so that its history has every change and never one that did not happen without
//! saying so: announced in ClickHouse, then written to Kafka, then confirmed in ClickHouse.
//!
//! ClickHouse out of reach: nothing is announced, so nothing is written. Kafka out of reach, or this process killed:
//! the announcement stays unconfirmed, and [`history`](super::history) compares it with the registry.
use std::{thread, time::Duration};

use event::Activity;
use serde_json::Value;

use super::now_ms;
use crate::{
    context::Context,
    error::Error,
    output,
    registry::{self, Writer},
    tables::activity_history as audit,
};

/// How often, and after which pause, a confirmation is tried: the change has happened already.
const CONFIRM: (usize, Duration) = (5, Duration::from_secs(1));

/// Which command makes a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Create,
    End,
    Import,
}

impl Action {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::End => "end",
            Self::Import => "import",
        }
    }
}

/// What an entry was and what it becomes.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) action: Action,
    /// None: it is new.
    pub(super) before: Option<Activity>,
    pub(super) after: Activity,
    /// Why, in the words of the operator; may be ''.
    pub(super) reason: String,
}

impl Change {
    /// The fields that differ, by their names in JSON.
    pub(super) fn fields(&self) -> Vec<String> {
        let before = self.before.as_ref().map(json).unwrap_or_default();
        differences(&before, &json(&self.after)).into_iter().map(|difference| difference.field).collect()
    }

    fn announced(&self, who: &str, at: i64) -> audit::Change {
        audit::Change {
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

/// One field of two entries that is not the same in both.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    pub(super) field: String,
    /// None: it was absent or empty.
    pub(super) old: Option<Value>,
    /// None: it is absent or empty.
    pub(super) new: Option<Value>,
}

/// The fields in which two entries differ, by name. An empty value is as good as none, so that a new entry is described
/// by what it has.
pub(super) fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let names = [before, after].into_iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys);
    let names: std::collections::BTreeSet<&String> = names.collect();
    let value = |entry: &Value, name: &str| entry.get(name).filter(|value| !is_empty(value)).cloned();
    names
        .into_iter()
        .map(|name| Difference { field: name.clone(), old: value(before, name), new: value(after, name) })
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

/// Makes changes, all or as many as Kafka takes, and says which it did not.
pub(super) fn make(context: &Context, who: &str, changes: &[Change]) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let settings = &context.settings;
    // Before anything is announced: most of what can go wrong with Kafka goes wrong here.
    let writer = Writer::new(context)?;
    let at = now_ms();
    let mut announced: Vec<audit::Change> = changes.iter().map(|change| change.announced(who, at)).collect();
    let client = aggregate::server::client(settings).with_database(&settings.clickhouse.database);
    let write = |rows: &[audit::Change]| context.tokio.block_on(audit::write(&client, settings, rows));
    write(&announced).map_err(|error| {
        Error::Failed(format!("nothing was changed, because the history of it cannot be kept: {error}"))
    })?;

    let activities: Vec<&Activity> = changes.iter().map(|change| &change.after).collect();
    let taken = writer.write(context, &activities);
    let mut refused = None;
    for (row, outcome) in announced.iter_mut().zip(taken) {
        match outcome {
            Ok(()) => row.confirmed = 1,
            Err(error) => {
                output::note(format!("note: {}: {error}", row.activity_id));
                refused = refused.or(Some(error));
            }
        }
    }
    announced.retain(|row| row.confirmed == 1);
    let mut confirmed = write(&announced);
    for _ in 1..CONFIRM.0 {
        if confirmed.is_ok() {
            break;
        }
        thread::sleep(CONFIRM.1);
        confirmed = write(&announced);
    }
    if let Err(error) = confirmed {
        output::note(format!(
            "note: the change is made, but its history shows it as unconfirmed, because clickhouse went away: {error}"
        ));
    }
    match refused {
        None => Ok(()),
        Some(source) => Err(Error::Failed(format!(
            "kafka confirmed {} of {} changes, `millrace activity history` shows which; make the others again: {source}",
            announced.len(),
            changes.len()
        ))),
    }
}

/// What the registry holds now, as JSON by ID; nothing when it cannot be read.
pub(super) fn registry_now(context: &Context) -> Option<std::collections::BTreeMap<String, Activity>> {
    match registry::read(context) {
        Ok(registered) => Some(registered),
        Err(error) => {
            output::note(format!("note: the registry cannot be compared with its history: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::activity;
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
            let change =
                Change { action: Action::Import, before, after: activity(after), reason: String::new() };
            assert_eq!(change.fields(), expected, "{after}");
        }
        let new = Change { action: Action::Create, before: None, after: before, reason: String::new() };
        assert_eq!(new.fields(), ["activity_id", "ends_at", "name", "owner", "type"]);
        let row = new.announced("alice", 7);
        assert_eq!((row.before.as_str(), row.confirmed, row.action.as_str()), ("", 0, "create"));
        assert_eq!(Activity::parse(row.after.as_bytes()).unwrap(), new.after);
    }
}
