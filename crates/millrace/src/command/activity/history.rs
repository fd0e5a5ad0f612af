//! `millrace activity history`: who changed what, and when. An unconfirmed change is compared with the registry. A note
//! names each activity that was changed by another program.
use std::collections::HashMap;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    change::{self, FieldDifference, differences},
    lookup::unknown,
};
use crate::{
    context::Context,
    error::Error,
    output::{
        self,
        table::{Column::Text, Table, table},
    },
    registry::{self, Activities},
    tables::activity_history::{self, ActivityChangeRow},
};

/// Show who changed which activity, when, and the old and new value of each field, oldest first
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace activity history summer-draw
  millrace activity history --limit 20
  millrace activity history --json | jq -c '.[] | select(.who == \"alice\") | [.at, .activity_id, .changes]'")]
pub(crate) struct ActivityHistory {
    /// ID of the activity; the default is all activities
    id: Option<String>,
    /// Number of changes to show, the latest ones
    #[arg(long, value_name = "CHANGES", default_value_t = 200)]
    limit: u64,
}

impl ActivityHistory {
    pub(super) fn run(self, context: &mut Context) -> Result<(), Error> {
        let settings = &context.settings;
        let client = aggregate::server::client(settings).with_database(&settings.clickhouse.database);
        let reading = activity_history::read(&client, settings, self.id.as_deref(), self.limit);
        let changes = context.tokio.block_on(reading)?;
        let registered = registry_now(context);
        if let (Some(id), Some(registered)) = (&self.id, &registered)
            && changes.is_empty()
            && !registered.contains_key(id)
        {
            return Err(Error::Failed(unknown(registered, id)));
        }
        let changes = reviewed(changes, registered.as_ref());
        for note in changed_elsewhere(&changes, registered.as_ref(), self.id.as_deref()) {
            output::note(note);
        }
        if changes.is_empty() {
            context.output.line("no change is recorded")?;
        } else {
            context.output.table(&history_table(&changes))?;
        }
        let changes: Vec<Value> = changes.iter().map(ReviewedChange::json).collect();
        Ok(context.output.json(&changes)?)
    }
}

/// Whether a change took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChangeState {
    Confirmed,
    /// Not confirmed, but the next change or the registry contains its result.
    Found,
    /// Not confirmed, and neither the next change nor the registry contains its result.
    NotFound,
    /// Not confirmed, and the registry cannot be read.
    Unknown,
}

impl ChangeState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "done",
            Self::Found => "done, confirmed by the registry only",
            Self::NotFound => "not done: unconfirmed and not in the registry",
            Self::Unknown => "unconfirmed",
        }
    }
}

#[derive(Debug)]
struct ReviewedChange {
    change: ActivityChangeRow,
    before: Value,
    after: Value,
    state: ChangeState,
}

impl ReviewedChange {
    fn differences(&self) -> Vec<FieldDifference> {
        differences(&self.before, &self.after)
    }

    fn json(&self) -> Value {
        let ActivityChangeRow { activity_id, at, who, action, reason, changed, .. } = &self.change;
        let changes: serde_json::Map<String, Value> = self
            .differences()
            .into_iter()
            .map(|difference| (difference.field, json!({ "old": difference.old, "new": difference.new })))
            .collect();
        json!({
            "at": time(*at), "who": who, "activity_id": activity_id, "action": action, "reason": reason,
            "state": self.state.as_str(), "changed": changed, "changes": changes,
            "before": self.before, "after": self.after,
        })
    }
}

/// Compares each change with the next change of its activity, the last one with the registry. Oldest first.
fn reviewed(changes: Vec<ActivityChangeRow>, registered: Option<&Activities>) -> Vec<ReviewedChange> {
    let parsed = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    // By activity: the entry before its next change, or the entry in the registry.
    let mut next: HashMap<String, Value> =
        registered.into_iter().flatten().map(|(id, activity)| (id.clone(), change::json(activity))).collect();
    let mut reviewed = Vec::with_capacity(changes.len());
    for change in changes.into_iter().rev() {
        let (before, after) = (parsed(&change.before), parsed(&change.after));
        let state = match next.get(&change.activity_id) {
            _ if change.confirmed != 0 => ChangeState::Confirmed,
            Some(found) if *found == after => ChangeState::Found,
            None if registered.is_none() => ChangeState::Unknown,
            _ => ChangeState::NotFound,
        };
        next.insert(change.activity_id.clone(), before.clone());
        reviewed.push(ReviewedChange { change, before, after, state });
    }
    reviewed.reverse();
    reviewed
}

/// A note for each activity whose entry in the registry is not the result of its last change.
fn changed_elsewhere(
    changes: &[ReviewedChange],
    registered: Option<&Activities>,
    only: Option<&str>,
) -> Vec<String> {
    let mut last: HashMap<&str, &Value> = HashMap::new();
    for reviewed in changes.iter().filter(|reviewed| reviewed.state != ChangeState::NotFound) {
        last.insert(&reviewed.change.activity_id, &reviewed.after);
    }
    let of_interest = |id: &str| match only {
        Some(only) => only == id,
        // Only the latest changes were read: the change of another activity may be older.
        None => last.contains_key(id),
    };
    let changed = registered.into_iter().flatten().filter(|(id, activity)| {
        of_interest(id) && last.get(id.as_str()).is_none_or(|after| **after != change::json(activity))
    });
    changed
        .map(|(id, _)| {
            format!(
                "note: activity {id} was also changed by another program: its entry in the registry is not the one in \
                 its history"
            )
        })
        .collect()
}

fn history_table(changes: &[ReviewedChange]) -> Table {
    let mut table =
        table(&[Text("at"), Text("who"), Text("activity"), Text("action"), Text("field"), Text("change")]);
    for reviewed in changes {
        let ActivityChangeRow { activity_id, at, who, action, reason, .. } = &reviewed.change;
        let mut lines: Vec<(String, String)> = Vec::new();
        if reviewed.state != ChangeState::Confirmed {
            lines.push(("(state)".into(), reviewed.state.as_str().into()));
        }
        if !reason.is_empty() {
            lines.push(("(reason)".into(), reason.clone()));
        }
        let fields =
            reviewed.differences().into_iter().filter(|difference| difference.field != "activity_id");
        lines.extend(fields.map(|difference| {
            let change = match (&difference.old, &difference.new) {
                (None, new) => shown(new.as_ref()),
                (old, new) => format!("{} → {}", shown(old.as_ref()), shown(new.as_ref())),
            };
            (difference.field, change)
        }));
        let mut first = [time(*at), who.clone(), activity_id.clone(), action.clone()];
        for (field, change) in lines {
            let [at, who, activity, action] = std::mem::take(&mut first);
            table.add_row([at, who, activity, action, field, change]);
        }
    }
    table
}

/// The registry; None, with a note, when it cannot be read.
fn registry_now(context: &Context) -> Option<Activities> {
    match registry::read(context) {
        Ok(activities) => Some(activities),
        Err(error) => {
            output::note(format!("note: the history cannot be compared with the registry: {error}"));
            None
        }
    }
}

/// A value as text; `-` for none.
fn shown(value: Option<&Value>) -> String {
    match value {
        None => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::activity;
    use super::*;

    const A: &str = r#"{"activity_id":"a","name":"A","type":"custom","app_ids":[],"owner":"","events":[]}"#;
    const B: &str = r#"{"activity_id":"a","name":"B","type":"custom","app_ids":[],"owner":"","events":[]}"#;
    const C: &str = r#"{"activity_id":"a","name":"C","type":"custom","app_ids":[],"owner":"","events":[]}"#;

    fn changed(at: i64, before: &str, after: &str, confirmed: u8) -> ActivityChangeRow {
        ActivityChangeRow {
            activity_id: "a".into(),
            at,
            change_id: at.to_string(),
            who: "alice".into(),
            action: if before.is_empty() { "create".into() } else { "import".into() },
            reason: String::new(),
            changed: vec!["name".into()],
            before: before.into(),
            after: after.into(),
            confirmed,
        }
    }

    fn registry(entry: &str) -> Activities {
        [("a".to_owned(), activity(entry))].into()
    }

    #[test]
    fn an_unconfirmed_change_is_compared_with_the_next_one_or_the_registry() {
        use ChangeState::{Confirmed, Found, NotFound, Unknown};
        for (changes, now, states) in [
            (vec![changed(1, "", A, 1), changed(2, A, B, 1)], Some(B), &[Confirmed, Confirmed][..]),
            (vec![changed(1, "", A, 0), changed(2, A, B, 1)], Some(B), &[Found, Confirmed]),
            (vec![changed(1, "", A, 1), changed(2, A, B, 0)], Some(B), &[Confirmed, Found]),
            (vec![changed(1, "", A, 1), changed(2, A, B, 0)], Some(A), &[Confirmed, NotFound]),
            (
                vec![changed(1, "", A, 1), changed(2, A, B, 0), changed(3, A, C, 1)],
                Some(C),
                &[Confirmed, NotFound, Confirmed],
            ),
            (vec![changed(1, "", A, 1), changed(2, A, B, 0)], None, &[Confirmed, Unknown]),
        ] {
            let registry = now.map(registry);
            let reviewed = reviewed(changes, registry.as_ref());
            assert_eq!(reviewed.iter().map(|change| change.state).collect::<Vec<_>>(), states);
        }
    }

    #[test]
    fn a_note_names_an_activity_that_another_program_changed() {
        for (changes, now, only, count) in [
            (vec![changed(1, "", A, 1)], A, None, 0),
            (vec![changed(1, "", A, 1)], B, None, 1),
            (vec![changed(1, "", A, 1), changed(2, A, B, 0)], A, None, 0),
            (vec![], A, Some("a"), 1),
            (vec![], A, None, 0),
        ] {
            let registry = registry(now);
            let reviewed = reviewed(changes, Some(&registry));
            assert_eq!(changed_elsewhere(&reviewed, Some(&registry), only).len(), count, "{reviewed:?}");
        }
    }

    #[test]
    fn each_field_has_a_line_with_its_old_and_new_value() {
        let changes = reviewed(vec![changed(0, "", A, 1), changed(1, A, B, 1)], Some(&registry(B)));
        let table = history_table(&changes).render();
        let rows: Vec<&str> = table.lines().collect();
        assert!(
            rows[1].starts_with("1970-01-01T00:00:00.000Z  alice  a         create  name   A"),
            "{table}"
        );
        assert!(rows[2].trim_start().starts_with("type   custom"), "{table}");
        assert!(rows[3].ends_with("import  name   A → B"), "{table}");
    }
}
