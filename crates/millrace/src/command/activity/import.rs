//! `millrace activity import`: reads entries in the format of `export`. It writes all entries, or none if any is invalid.
use std::{
    collections::{BTreeMap, HashMap},
    io::Read,
    path::{Path, PathBuf},
};

use clap::Args;
use event::{Activity, ActivityError};
use serde_json::{Value, json, value::RawValue};

use super::{
    change::{ActivityChange, ChangeAction},
    write::write_changes,
};
use crate::{
    command::author::Author,
    context::Context,
    error::Error,
    nearest::nearest,
    output::{
        self,
        table::{Column::Text, table},
    },
    registry::{self, Activities},
};

/// Maximum number of problems to print.
const MAX_PROBLEMS: usize = 20;

/// Create and change activities from a file of JSON lines or a JSON array
///
/// An entry replaces the whole activity with its ID. All entries are checked before the first is written. Activities that
/// are not in the file do not change.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace activity import activities.jsonl --dry-run
  millrace activity import activities.jsonl --reason \"autumn plan\" --by alice
  millrace activity export | jq -c '.owner = \"growth\"' | millrace activity import -")]
pub(crate) struct ImportActivities {
    /// File to read; - for standard input
    file: PathBuf,
    /// Print what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Reason, for the history
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    author: Author,
}

impl ImportActivities {
    pub(super) fn run(self, context: &mut Context) -> Result<(), Error> {
        let entries = match entries(&text(&self.file)?) {
            Ok(entries) => entries,
            Err(problems) => return Err(rejected(&self.file, &problems)),
        };
        let planned = plan(entries, &registry::read(context)?, &self.reason);
        let changes: Vec<ActivityChange> =
            planned.iter().filter_map(|planned| planned.change.clone()).collect();
        if !self.dry_run {
            write_changes(context, &self.author.name(), &changes)?;
        }
        let mut table = table(&[Text("id"), Text("outcome"), Text("fields")]);
        let mut counts = BTreeMap::from([("created", 0), ("updated", 0), ("unchanged", 0)]);
        for planned in &planned {
            *counts.entry(planned.outcome()).or_default() += 1;
            table.add_row([
                planned.activity_id.clone(),
                planned.outcome().into(),
                planned.fields().join(" "),
            ]);
        }
        let output = &mut context.output;
        output.table(&table)?;
        let would = if self.dry_run { "would be " } else { "" };
        let summary = ["created", "updated"].map(|outcome| format!("{} {would}{outcome}", counts[outcome]));
        output.line(format!("{}, {} unchanged", summary.join(", "), counts["unchanged"]))?;
        let entries: Vec<Value> = planned
            .iter()
            .map(|planned| {
                json!({ "activity_id": planned.activity_id, "outcome": planned.outcome(), "changed": planned.fields() })
            })
            .collect();
        Ok(output.json(&json!({ "dry_run": self.dry_run, "counts": counts, "entries": entries }))?)
    }
}

fn text(file: &Path) -> Result<String, Error> {
    let mut text = String::new();
    let read = match file.to_str() {
        Some("-") => std::io::stdin().read_to_string(&mut text),
        _ => std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text)),
    };
    read.map(|_| text).map_err(|source| Error::File { path: file.to_owned(), source })
}

/// What is wrong with an entry, and its line in the file.
#[derive(Debug, PartialEq, Eq)]
struct EntryProblem {
    line: usize,
    text: String,
}

fn rejected(file: &Path, problems: &[EntryProblem]) -> Error {
    let name = file.display();
    for EntryProblem { line, text } in problems.iter().take(MAX_PROBLEMS) {
        output::note(format!("{name}, line {line}: {text}"));
    }
    let (count, more) = (problems.len(), problems.len().saturating_sub(MAX_PROBLEMS));
    let and_more = if more > 0 { format!(" ({more} of them not shown)") } else { String::new() };
    let entries = if count == 1 { "one entry is" } else { &format!("{count} entries are") };
    Error::Failed(format!("{name}: {entries} invalid{and_more}; nothing was changed"))
}

/// All entries, or all problems.
fn entries(text: &str) -> Result<Vec<Activity>, Vec<EntryProblem>> {
    let (mut activities, mut problems) = (Vec::new(), Vec::new());
    let mut lines_of = HashMap::new();
    for (line, json) in split(text)? {
        match entry(json) {
            Err((offset, text)) => problems.push(EntryProblem { line: line + offset, text }),
            Ok(activity) => {
                if let Some(first) = lines_of.insert(activity.activity_id.clone(), line) {
                    let id = &activity.activity_id;
                    let text = format!("activity_id = {id:?} is already in line {first}");
                    problems.push(EntryProblem { line, text });
                }
                activities.push(activity);
            }
        }
    }
    if problems.is_empty() { Ok(activities) } else { Err(problems) }
}

/// Each entry with its first line; the first line of the file is 1.
fn split(text: &str) -> Result<Vec<(usize, &str)>, Vec<EntryProblem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.trim_start().starts_with('[') {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        return Ok(lines.filter(|(_, line)| !line.is_empty()).collect());
    }
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| {
        vec![EntryProblem { line: error.line(), text: format!("not a JSON array: {error}") }]
    })?;
    let (mut line, mut reached) = (1, 0);
    let parts = elements.into_iter().map(|element| {
        let start = (element.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        line += text.get(reached..start).unwrap_or_default().matches('\n').count();
        reached = start;
        (line, element.get())
    });
    Ok(parts.collect())
}

/// An entry, or the problem and its line counted from the first line of the entry.
fn entry(json: &str) -> Result<Activity, (usize, String)> {
    let activity = Activity::parse(json.as_bytes()).map_err(|error| match error {
        ActivityError::Json(message) => without_position(&message),
        other => (0, other.to_string()),
    })?;
    // Enrich ignores unknown fields. In a file they are typing errors.
    match unknown_field(json) {
        Some(problem) => Err((0, problem)),
        None => Ok(activity),
    }
}

/// Splits the position off a message of serde_json, because it counts from the start of the entry.
fn without_position(message: &str) -> (usize, String) {
    let split = message.rsplit_once(" at line ").and_then(|(message, position)| {
        let line: usize = position.split_once(" column ")?.0.parse().ok()?;
        Some((line.saturating_sub(1), message.to_owned()))
    });
    split.unwrap_or_else(|| (0, message.to_owned()))
}

fn unknown_field(json: &str) -> Option<String> {
    let entry: Value = serde_json::from_str(json).ok()?;
    let within = |list: &str, known: &'static [&'static str]| {
        let elements = entry.get(list).and_then(Value::as_array).into_iter().flatten().enumerate();
        let found =
            elements.map(|(index, element)| unknown_key(&format!("{list}[{index}]."), element, known));
        found.flatten().next()
    };
    unknown_key("", &entry, Activity::FIELDS)
        .or_else(|| within("events", event::ActivityEvent::FIELDS))
        .or_else(|| within("rules", event::ActivityRule::FIELDS))
}

fn unknown_key(path: &str, value: &Value, known: &[&str]) -> Option<String> {
    let (name, value) = value.as_object()?.iter().find(|(name, _)| !known.contains(&name.as_str()))?;
    let nearest = nearest(name, known.iter().copied());
    Some(format!("{path}{name} = {value} is not a field of an activity; the nearest is {path}{nearest}"))
}

/// What the import does with an entry.
#[derive(Debug)]
struct PlannedChange {
    activity_id: String,
    /// None when the entry equals the registered one.
    change: Option<ActivityChange>,
}

impl PlannedChange {
    fn outcome(&self) -> &'static str {
        match &self.change {
            None => "unchanged",
            Some(ActivityChange { before: None, .. }) => "created",
            Some(_) => "updated",
        }
    }

    /// The fields that change; none for a new activity.
    fn fields(&self) -> Vec<String> {
        match &self.change {
            Some(change) if change.before.is_some() => change.fields(),
            _ => Vec::new(),
        }
    }
}

fn plan(entries: Vec<Activity>, registered: &Activities, reason: &str) -> Vec<PlannedChange> {
    entries
        .into_iter()
        .map(|after| {
            let before = registered.get(&after.activity_id);
            let activity_id = after.activity_id.clone();
            let change = (before != Some(&after)).then(|| ActivityChange {
                action: ChangeAction::Import,
                before: before.cloned(),
                after,
                reason: reason.to_owned(),
            });
            PlannedChange { activity_id, change }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::activity;
    use super::*;

    #[test]
    fn lines_and_an_array_give_the_same_entries() {
        for text in [
            "{\"activity_id\":\"a\"}\n\n{\"activity_id\":\"b\"}\n",
            "\u{feff}{\"activity_id\":\"a\"}\r\n{\"activity_id\":\"b\"}",
            " [{\"activity_id\":\"a\"},\n {\"activity_id\":\n\"b\"}]",
        ] {
            let ids: Vec<String> = entries(text).unwrap().into_iter().map(|a| a.activity_id).collect();
            assert_eq!(ids, ["a", "b"], "{text}");
        }
        assert!(entries("").unwrap().is_empty() && entries("[]").unwrap().is_empty());
    }

    #[test]
    fn every_problem_names_line_field_and_value() {
        let a = r#"{"activity_id":"a"}"#;
        for (entry, said) in [
            (r#"{"activity_id":"a_b"}"#, "activity_id = \"a_b\" is not"),
            (r#"{"name":"x"}"#, "missing field `activity_id`"),
            (r#"{"activity_id":"b","app_ids":[5]}"#, "app_ids[0]: invalid type: integer `5`"),
            (r#"{"activity_id":"b","starts_at":"1 March"}"#, "starts_at: \"1 March\" is not RFC 3339"),
            (r#"{"activity_id":"b","type":"customs"}"#, "type: unknown variant `customs`"),
            (
                r#"{"activity_id":"b","start_at":"x"}"#,
                "start_at = \"x\" is not a field of an activity; the nearest is starts_at",
            ),
            (
                r#"{"activity_id":"b","events":[{"key":"k","nam":1}]}"#,
                "events[0].nam = 1 is not a field of an activity; the nearest is events[0].name",
            ),
            (
                r#"{"activity_id":"b","rules":[{"key":"k","event_name":"p","where":{"page_pat":"/"}}]}"#,
                "rules[0] (key \"k\"): there is no field `page_pat`",
            ),
            (r#"{"activity_id":"a"}"#, "activity_id = \"a\" is already in line 1"),
            ("{", "EOF while parsing"),
        ] {
            let mut texts = vec![(format!("{a}\n{entry}\n{a}x"), [2, 3])];
            if entry != "{" {
                texts.push((format!("[{a},\n{entry},\n{{\"owner\": 7}}]"), [2, 3]));
            }
            for (text, lines) in texts {
                let problems = entries(&text).unwrap_err();
                assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), lines, "{text}");
                assert!(problems[0].text.contains(said), "{text}: {problems:?}");
            }
        }
        let broken = entries("[\n{\"activity_id\":\"a\"},\n{]").unwrap_err();
        assert_eq!(broken[0].line, 3, "{broken:?}");
        let deep = entries("[\n{\"activity_id\":\"a\",\n\"owner\":\n7}]").unwrap_err();
        assert_eq!((deep[0].line, deep[0].text.contains("owner")), (4, true), "{deep:?}");
    }

    #[test]
    fn an_entry_that_equals_the_registered_one_changes_nothing() {
        let registered: Activities = [r#"{"activity_id":"a","owner":"x"}"#, r#"{"activity_id":"b"}"#]
            .map(|json| (activity(json).activity_id.clone(), activity(json)))
            .into();
        let file = entries(
            "{\"activity_id\":\"a\",\"owner\":\"y\",\"name\":\"A\"}\n{\"activity_id\":\"b\"}\n{\"activity_id\":\"c\"}",
        );
        let planned = plan(file.unwrap(), &registered, "");
        let outcomes: Vec<_> = planned.iter().map(|planned| (planned.outcome(), planned.fields())).collect();
        let names = ["name", "owner"].map(str::to_owned).to_vec();
        assert_eq!(outcomes, [("updated", names), ("unchanged", vec![]), ("created", vec![])]);
    }

    #[test]
    fn every_field_that_is_exported_may_be_imported() {
        let full = activity(
            r#"{"activity_id":"a","name":"n","type":"template","app_ids":["web"],"starts_at":"2026-01-01T00:00:00Z",
            "ends_at":"2026-01-02T00:00:00Z","owner":"o","events":[{"key":"k","name":"K"}],"attribution_window":"7d",
            "rules":[{"key":"k","event_name":"p","where":{"platform":"h5"}}]}"#,
        );
        let exported = serde_json::to_string(&full).unwrap();
        assert_eq!(unknown_field(&exported), None);
        assert_eq!(entries(&exported), Ok(vec![full]));
    }
}
