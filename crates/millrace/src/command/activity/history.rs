//! `millrace activity history`: who changed what, when. A change that nobody confirmed is held against the registry, and
//! a registry that nobody's change explains is said to be so.
use std::collections::HashMap;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Registered,
    change::{self, Difference, differences},
    unknown,
};
use crate::{context::Context, error::Error, output, table::Table, tables::activity_history as audit};

/// Show who changed which activity, when, and each field's old and new value; oldest first.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace activity history summer-draw
  millrace activity history --limit 20
  millrace activity history --json | jq -c '.[] | select(.who == \"alice\") | [.at, .activity_id, .changes]'")]
pub(crate) struct History {
    /// The activity's ID; without it the changes of all
    id: Option<String>,
    /// The latest changes, so many
    #[arg(long, value_name = "CHANGES", default_value_t = 200)]
    limit: u64,
}

impl History {
    pub(super) fn run(self, context: &mut Context) -> Result<(), Error> {
        let settings = &context.settings;
        let client = aggregate::server::client(settings).with_database(&settings.clickhouse.database);
        let reading = audit::read(&client, settings, self.id.as_deref(), self.limit);
        let changes = context.tokio.block_on(reading)?;
        let registered = change::registry_now(context);
        if let (Some(id), Some(registered)) = (&self.id, &registered)
            && changes.is_empty()
            && !registered.contains_key(id)
        {
            return Err(Error::Failed(unknown(registered, id)));
        }
        let changes = judged(changes, registered.as_ref());
        for note in unexplained(&changes, registered.as_ref(), self.id.as_deref()) {
            output::note(note);
        }
        if changes.is_empty() {
            context.output.line("no change is recorded")?;
        } else {
            context.output.table(&table(&changes))?;
        }
        let changes: Vec<Value> = changes.iter().map(Judged::json).collect();
        Ok(context.output.json(&changes)?)
    }
}

/// Whether a change happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    /// Nobody confirmed it, but what came after it begins where it ends.
    Seen,
    /// Nobody confirmed it, and nothing shows it.
    NotSeen,
    /// Nobody confirmed it, and the registry cannot be read.
    Unknown,
}

impl Fate {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Seen => "done, confirmed by the registry only",
            Self::NotSeen => "did not happen: announced, and not in the registry",
            Self::Unknown => "unconfirmed",
        }
    }
}

#[derive(Debug)]
struct Judged {
    change: audit::Change,
    before: Value,
    after: Value,
    fate: Fate,
}

impl Judged {
    fn differences(&self) -> Vec<Difference> {
        differences(&self.before, &self.after)
    }

    fn json(&self) -> Value {
        let audit::Change { activity_id, at, who, action, reason, changed, .. } = &self.change;
        let changes: serde_json::Map<String, Value> = self
            .differences()
            .into_iter()
            .map(|difference| (difference.field, json!({ "old": difference.old, "new": difference.new })))
            .collect();
        json!({
            "at": time(*at), "who": who, "activity_id": activity_id, "action": action, "reason": reason,
            "state": self.fate.as_str(), "changed": changed, "changes": changes,
            "before": self.before, "after": self.after,
        })
    }
}

/// Judges changes, oldest first, by what came after each.
fn judged(changes: Vec<audit::Change>, registered: Option<&Registered>) -> Vec<Judged> {
    let parsed = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    // What the next change of an activity found, or the registry holds.
    let mut next: HashMap<String, Value> =
        registered.into_iter().flatten().map(|(id, activity)| (id.clone(), change::json(activity))).collect();
    let mut judged = Vec::with_capacity(changes.len());
    for change in changes.into_iter().rev() {
        let (before, after) = (parsed(&change.before), parsed(&change.after));
        let fate = match next.get(&change.activity_id) {
            _ if change.confirmed != 0 => Fate::Done,
            Some(found) if *found == after => Fate::Seen,
            None if registered.is_none() => Fate::Unknown,
            _ => Fate::NotSeen,
        };
        next.insert(change.activity_id.clone(), before.clone());
        judged.push(Judged { change, before, after, fate });
    }
    judged.reverse();
    judged
}

/// Activities whose entry is not what their last change left behind.
fn unexplained(changes: &[Judged], registered: Option<&Registered>, only: Option<&str>) -> Vec<String> {
    let mut last: HashMap<&str, &Value> = HashMap::new();
    for judged in changes.iter().filter(|judged| judged.fate != Fate::NotSeen) {
        last.insert(&judged.change.activity_id, &judged.after);
    }
    let of_interest = |id: &str| match only {
        Some(only) => only == id,
        // The history of all is cut to the latest changes: what is not in it may be older.
        None => last.contains_key(id),
    };
    let unexplained = registered.into_iter().flatten().filter(|(id, activity)| {
        of_interest(id) && last.get(id.as_str()).is_none_or(|after| **after != change::json(activity))
    });
    unexplained
        .map(|(id, _)| format!("note: activity {id} was also changed by another program: the registry holds another entry than its history"))
        .collect()
}

fn table(changes: &[Judged]) -> Table {
    let mut table = Table::new(&["at", "who", "activity", "action", "field", "change"]);
    for judged in changes {
        let audit::Change { activity_id, at, who, action, reason, .. } = &judged.change;
        let mut lines: Vec<(String, String)> = Vec::new();
        if judged.fate != Fate::Done {
            lines.push(("(state)".into(), judged.fate.as_str().into()));
        }
        if !reason.is_empty() {
            lines.push(("(reason)".into(), reason.clone()));
        }
        let fields = judged.differences().into_iter().filter(|difference| difference.field != "activity_id");
        lines.extend(fields.map(|difference| {
            let change = match (&difference.old, &difference.new) {
                (None, new) => said(new.as_ref()),
                (old, new) => format!("{} → {}", said(old.as_ref()), said(new.as_ref())),
            };
            (difference.field, change)
        }));
        let mut first = [time(*at), who.clone(), activity_id.clone(), action.clone()];
        for (field, change) in lines {
            let [at, who, activity, action] = std::mem::take(&mut first);
            table.row([at, who, activity, action, field, change]);
        }
    }
    table
}

/// A value as people read it; '-' for none.
fn said(value: Option<&Value>) -> String {
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
    use super::super::tests::activity;
    use super::*;

    const A: &str = r#"{"activity_id":"a","name":"A","type":"custom","app_ids":[],"owner":"","events":[]}"#;
    const B: &str = r#"{"activity_id":"a","name":"B","type":"custom","app_ids":[],"owner":"","events":[]}"#;
    const C: &str = r#"{"activity_id":"a","name":"C","type":"custom","app_ids":[],"owner":"","events":[]}"#;

    fn changed(at: i64, before: &str, after: &str, confirmed: u8) -> audit::Change {
        audit::Change {
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

    fn registry(entry: &str) -> Registered {
        [("a".to_owned(), activity(entry))].into()
    }

    #[test]
    fn an_unconfirmed_change_is_judged_by_what_came_after_it() {
        use Fate::{Done, NotSeen, Seen, Unknown};
        for (changes, now, fates) in [
            (vec![changed(1, "", A, 1), changed(2, A, B, 1)], Some(B), &[Done, Done][..]),
            (vec![changed(1, "", A, 0), changed(2, A, B, 1)], Some(B), &[Seen, Done]),
            (vec![changed(1, "", A, 1), changed(2, A, B, 0)], Some(B), &[Done, Seen]),
            (vec![changed(1, "", A, 1), changed(2, A, B, 0)], Some(A), &[Done, NotSeen]),
            (
                vec![changed(1, "", A, 1), changed(2, A, B, 0), changed(3, A, C, 1)],
                Some(C),
                &[Done, NotSeen, Done],
            ),
            (vec![changed(1, "", A, 1), changed(2, A, B, 0)], None, &[Done, Unknown]),
        ] {
            let registry = now.map(registry);
            let judged = judged(changes, registry.as_ref());
            assert_eq!(judged.iter().map(|judged| judged.fate).collect::<Vec<_>>(), fates);
        }
    }

    #[test]
    fn a_registry_that_no_change_explains_is_said_to_be_so() {
        for (changes, now, only, count) in [
            (vec![changed(1, "", A, 1)], A, None, 0),
            (vec![changed(1, "", A, 1)], B, None, 1),
            (vec![changed(1, "", A, 1), changed(2, A, B, 0)], A, None, 0),
            (vec![], A, Some("a"), 1),
            (vec![], A, None, 0),
        ] {
            let registry = registry(now);
            let judged = judged(changes, Some(&registry));
            assert_eq!(unexplained(&judged, Some(&registry), only).len(), count, "{judged:?}");
        }
    }

    #[test]
    fn each_field_stands_with_its_old_and_its_new_value() {
        let table =
            table(&judged(vec![changed(0, "", A, 1), changed(1, A, B, 1)], Some(&registry(B)))).render();
        let rows: Vec<&str> = table.lines().collect();
        assert!(
            rows[1].starts_with("1970-01-01T00:00:00.000Z  alice  a         create  name   A"),
            "{table}"
        );
        assert!(rows[2].trim_start().starts_with("type   custom"), "{table}");
        assert!(rows[3].ends_with("import  name   A → B"), "{table}");
    }
}
