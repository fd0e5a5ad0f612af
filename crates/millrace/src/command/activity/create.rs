//! `millrace activity create`: registers a new activity.
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use event::{ActivityEvent, ActivityKind, ActivityRule};
use jiff::Timestamp;

use super::{
    change::{ActivityChange, ChangeAction},
    describe,
    write::write_changes,
};
use crate::{
    command::{author::Author, value_parsers::timestamp_ms},
    context::Context,
    error::Error,
    registry,
};

/// Register an activity and issue its ID
///
/// Clients send `activity_event_id` = ID_KEY with each event of the activity. Rules match events that have no
/// `activity_event_id`. If rules of several activities match an event, it belongs to the first activity by ID.
#[derive(Debug, Args)]
#[command(after_help = "\
A rule is key=KEY,event=EVENT_NAME, optionally followed by ,where=JSON. The JSON object gives conditions by field \
(`millrace fields`, those of clients and of ingest): a value, a list of values, or an object with not, exists, prefix, \
gt, gte, lt or lte.

EXAMPLES
  millrace activity create --name \"Summer draw\" --event visit=Visit --event draw=\"Draw a prize\"
  millrace activity create --name \"Summer draw\" --type template --event draw=\"Draw a prize\" \\
    --rule 'key=draw,event=page_view,where={\"page_path\":{\"prefix\":\"/draw\"},\"platform\":[\"web\",\"h5\"]}'
  millrace activity create --id vip-festival --name \"VIP festival\" --type template --app web-main --app app-main \\
    --starts 2026-08-01T00:00:00+08:00 --ends 2026-08-15T00:00:00+08:00 --owner growth --event open=\"Opens VIP\"")]
pub(crate) struct CreateActivity {
    /// Name of the activity
    #[arg(long)]
    name: String,
    /// Whether it is made from a template
    #[arg(long = "type", value_enum, default_value_t = KindArgument::Custom)]
    kind: KindArgument,
    /// App it runs in, repeatable; the default is every app
    #[arg(long = "app", value_name = "APP_ID")]
    apps: Vec<String>,
    /// Start, RFC 3339; the default is no start
    #[arg(long, value_name = "TIME", value_parser = timestamp_ms)]
    starts: Option<i64>,
    /// End (exclusive), RFC 3339; the default is no end
    #[arg(long, value_name = "TIME", value_parser = timestamp_ms)]
    ends: Option<i64>,
    /// Person or team responsible for it
    #[arg(long, default_value = "")]
    owner: String,
    /// Event that clients report for it, repeatable; NAME is optional
    #[arg(long = "event", value_name = "KEY=NAME", value_parser = key_and_name)]
    events: Vec<ActivityEvent>,
    /// Rule for events without an activity_event_id, repeatable
    #[arg(long = "rule", value_name = "RULE", value_parser = rule)]
    rules: Vec<ActivityRule>,
    /// File with more rules: one JSON object, or an array of them
    #[arg(long, value_name = "FILE")]
    rule_file: Option<PathBuf>,
    /// How long after a touch a conversion is attributed to it, such as 24h or 7d
    #[arg(long, value_name = "DURATION")]
    attribution_window: Option<String>,
    /// ID of 1 to 40 letters, digits and dashes; the default is a new ID
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    author: Author,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindArgument {
    Template,
    Custom,
}

impl CreateActivity {
    pub(super) fn run(self, context: &mut Context) -> Result<(), Error> {
        let mut rules = self.rules;
        if let Some(path) = &self.rule_file {
            rules.extend(read_rules(path)?);
        }
        let mut activity = event::Activity {
            activity_id: self.id.clone().unwrap_or_else(issue),
            name: self.name,
            kind: match self.kind {
                KindArgument::Template => ActivityKind::Template,
                KindArgument::Custom => ActivityKind::Custom,
            },
            app_ids: self.apps,
            starts_at_ms: self.starts,
            ends_at_ms: self.ends,
            owner: self.owner,
            events: with_keys_of(self.events, &rules),
            rules,
            attribution_window: self.attribution_window,
        };
        activity.check()?;
        let activities = registry::read(context)?;
        while activities.contains_key(&activity.activity_id) {
            if let Some(id) = self.id {
                return Err(Error::Failed(format!(
                    "activity {id} already exists: choose another --id or leave it out; `millrace activity import` \
                     changes an activity"
                )));
            }
            activity.activity_id = issue();
        }
        let change = ActivityChange {
            action: ChangeAction::Create,
            before: None,
            after: activity,
            reason: String::new(),
        };
        write_changes(context, &self.author.name(), std::slice::from_ref(&change))?;
        let (activity, output) = (&change.after, &mut context.output);
        let id = &activity.activity_id;
        output.line(format!("created {id}"))?;
        for event in &activity.events {
            output.line(format!("activity_event_id {id}_{}  {}", event.key, event.name).trim_end())?;
        }
        for rule in &activity.rules {
            output.line(format!("counts as {}: {}", rule.key, describe::rule(rule)))?;
        }
        Ok(output.json(activity)?)
    }
}

/// The events, and one more for each key that only a rule has, so that clients can send it too.
fn with_keys_of(mut events: Vec<ActivityEvent>, rules: &[ActivityRule]) -> Vec<ActivityEvent> {
    for rule in rules {
        if !events.iter().any(|event| event.key == rule.key) {
            events.push(ActivityEvent { key: rule.key.clone(), name: String::new() });
        }
    }
    events
}

/// A new ID: the date, so that people recognise it, and 40 random bits.
fn issue() -> String {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut random = uuid::Uuid::new_v4().as_u128();
    let mut id = Timestamp::now().strftime("%Y%m%d-").to_string();
    for _ in 0..8 {
        id.push(char::from(LETTERS[(random % 32) as usize]));
        random >>= 5;
    }
    id
}

fn key_and_name(text: &str) -> Result<ActivityEvent, String> {
    let (key, name) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err("expected KEY=NAME, such as draw=\"Draw a prize\"".into());
    }
    Ok(ActivityEvent { key: key.into(), name: name.into() })
}

const RULE: &str = "expected key=KEY,event=EVENT_NAME or key=KEY,event=EVENT_NAME,where=JSON";

/// `where` is the last part, because its JSON may contain commas.
fn rule(text: &str) -> Result<ActivityRule, String> {
    let (words, condition) = match text.split_once("where=") {
        Some((words, json)) => (words.trim_end().trim_end_matches(','), Some(json)),
        None => (text, None),
    };
    let (mut key, mut event_name) = (None, None);
    for word in words.split(',') {
        match word.trim().split_once('=') {
            Some(("key", value)) => key = Some(value.to_owned()),
            Some(("event" | "event_name", value)) => event_name = Some(value.to_owned()),
            _ => return Err(format!("`{word}` is unknown; {RULE}")),
        }
    }
    let where_ = match condition {
        None => event::predicate::Where::new(),
        Some(json) => serde_json::from_str(json)
            .map_err(|error| format!("where={json} is not a JSON object: {error}"))?,
    };
    let rule = ActivityRule { key: key.ok_or(RULE)?, event_name: event_name.ok_or(RULE)?, where_ };
    rule.check()?;
    Ok(rule)
}

fn read_rules(path: &Path) -> Result<Vec<ActivityRule>, Error> {
    let text = std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    let wrong = |problem: &dyn std::fmt::Display| Error::Usage(format!("{}: {problem}", path.display()));
    let json: serde_json::Value = serde_json::from_slice(&text).map_err(|error| wrong(&error))?;
    let json = if json.is_array() { json } else { serde_json::Value::Array(vec![json]) };
    serde_json::from_value(json).map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issued_ids_are_valid_and_differ() {
        let ids: std::collections::HashSet<String> = (0..200).map(|_| issue()).collect();
        assert_eq!(ids.len(), 200);
        for id in ids {
            let json = format!(r#"{{"activity_id":"{id}"}}"#);
            assert!(event::Activity::parse(json.as_bytes()).is_ok(), "{id}");
        }
    }

    #[test]
    fn an_event_is_a_key_with_or_without_a_name() {
        for (text, key, name) in [("draw=Draw = win", "draw", "Draw = win"), ("draw", "draw", "")] {
            let event = key_and_name(text).unwrap();
            assert_eq!((event.key.as_str(), event.name.as_str()), (key, name));
        }
    }

    #[test]
    fn a_rule_on_the_command_line_is_the_rule_in_json() {
        for (text, json) in [
            (
                r#"key=draw,event=page_view,where={"page_path":{"prefix":"/draw"},"platform":["web","h5"]}"#,
                r#"{"key":"draw","event_name":"page_view","where":{"page_path":{"prefix":"/draw"},"platform":["web","h5"]}}"#,
            ),
            ("event=share, key=share", r#"{"key":"share","event_name":"share"}"#),
        ] {
            assert_eq!(rule(text).unwrap(), serde_json::from_str(json).unwrap(), "{text}");
        }
        for (text, said) in [
            ("key=draw", "expected key=KEY,event=EVENT_NAME"),
            ("draw", "`draw` is unknown"),
            ("key=draw,event=page_view,platform=web", "`platform=web` is unknown"),
            ("key=draw,event=page_view,where={", "where={ is not a JSON object"),
            (r#"key=draw,event=page_view,where={"page_pat":1}"#, "the nearest is `page_path`"),
            ("key=a_b,event=page_view", "key = \"a_b\""),
        ] {
            let problem = rule(text).unwrap_err();
            assert!(problem.contains(said), "{text}: {problem}");
        }
    }

    #[test]
    fn a_file_of_rules_has_one_rule_or_an_array_and_errors_name_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rules.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_rules(&path).map(|rules| rules.len()).map_err(|error| error.to_string())
        };
        let one = r#"{"key":"a","event_name":"share"}"#;
        assert_eq!(read(one), Ok(1));
        assert_eq!(read(&format!("[{one},\n{one}]")), Ok(2));
        assert!(read("[{}]").unwrap_err().contains("missing field `key`"));
        assert!(read("key = 1").unwrap_err().contains("rules.json"));
    }

    #[test]
    fn a_key_that_only_a_rule_names_is_an_event_as_well() {
        let rules = [rule("key=draw,event=share").unwrap(), rule("key=visit,event=page_view").unwrap()];
        let events = with_keys_of(vec![key_and_name("draw=Draw").unwrap()], &rules);
        let keys: Vec<_> = events.iter().map(|event| (event.key.as_str(), event.name.as_str())).collect();
        assert_eq!(keys, [("draw", "Draw"), ("visit", "")]);
    }
}
