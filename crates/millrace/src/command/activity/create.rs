//! `millrace activity create`: a new activity, by options.
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use event::{ActivityEvent, ActivityKind, ActivityRule};
use jiff::Timestamp;

use super::{
    Author,
    change::{Action, Change, make},
    described, moment, registered,
};
use crate::{context::Context, error::Error};

/// Register an activity and issue its ID.
///
/// Clients send `activity_event_id` = ID_KEY with each of its events. Events of clients that know nothing of it count by
/// its rules: of those that match, the first activity by ID has the event.
#[derive(Debug, Args)]
#[command(after_help = "\
A rule is key=KEY,event=EVENT_NAME, and optionally ,where=JSON at its end: for each field (`millrace fields`) that clients
send or ingest stamps, a value, a list of values, or a table of not, exists, prefix, gt, gte, lt, lte.

EXAMPLES
  millrace activity create --name \"Summer draw\" --event visit=Visit --event draw=\"Draw a prize\"
  millrace activity create --name \"Summer draw\" --type template --event draw=\"Draw a prize\" \\
    --rule 'key=draw,event=page_view,where={\"page_path\":{\"prefix\":\"/draw\"},\"platform\":[\"web\",\"h5\"]}'
  millrace activity create --id vip-festival --name \"VIP festival\" --type template --app web-main --app app-main \\
    --starts 2026-08-01T00:00:00+08:00 --ends 2026-08-15T00:00:00+08:00 --owner growth --event open=\"Opens VIP\"")]
pub(crate) struct Create {
    /// Name for people
    #[arg(long)]
    name: String,
    /// Made from a template, or by hand
    #[arg(long = "type", value_enum, default_value_t = Kind::Custom)]
    kind: Kind,
    /// App it runs in; repeat it for several; without any it runs in all
    #[arg(long = "app", value_name = "APP_ID")]
    apps: Vec<String>,
    /// First moment, RFC 3339; without it there is no start
    #[arg(long, value_name = "TIME", value_parser = moment)]
    starts: Option<i64>,
    /// First moment after it, RFC 3339; without it there is no end
    #[arg(long, value_name = "TIME", value_parser = moment)]
    ends: Option<i64>,
    /// Who answers for it
    #[arg(long, default_value = "")]
    owner: String,
    /// What clients report of it, the name being for people; repeat it for several
    #[arg(long = "event", value_name = "KEY=NAME", value_parser = key_and_name)]
    events: Vec<ActivityEvent>,
    /// Events that count for it without a client's ID; repeat it for several
    #[arg(long = "rule", value_name = "RULE", value_parser = rule)]
    rules: Vec<ActivityRule>,
    /// File with more rules: one as JSON, or an array of them
    #[arg(long, value_name = "FILE")]
    rule_file: Option<PathBuf>,
    /// How long after a touch a conversion counts for it, such as 24h or 7d
    #[arg(long, value_name = "DURATION")]
    attribution_window: Option<String>,
    /// Choose the ID: 1 to 40 letters, digits and dashes; without it one is issued
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    author: Author,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Template,
    Custom,
}

impl Create {
    pub(super) fn run(self, context: &mut Context) -> Result<(), Error> {
        let mut rules = self.rules;
        if let Some(path) = &self.rule_file {
            rules.extend(rules_of(path)?);
        }
        let mut activity = event::Activity {
            activity_id: self.id.clone().unwrap_or_else(issue),
            name: self.name,
            kind: match self.kind {
                Kind::Template => ActivityKind::Template,
                Kind::Custom => ActivityKind::Custom,
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
        let registered = registered(context)?;
        while registered.contains_key(&activity.activity_id) {
            if let Some(id) = self.id {
                return Err(Error::Failed(format!(
                    "activity {id} exists already: choose another --id, or none; `millrace activity import` changes \
                     an activity"
                )));
            }
            activity.activity_id = issue();
        }
        let change = Change { action: Action::Create, before: None, after: activity, reason: String::new() };
        make(context, &self.author.name(), std::slice::from_ref(&change))?;
        let (activity, output) = (&change.after, &mut context.output);
        let id = &activity.activity_id;
        output.line(format!("created {id}"))?;
        for event in &activity.events {
            output.line(format!("activity_event_id {id}_{}  {}", event.key, event.name).trim_end())?;
        }
        for rule in &activity.rules {
            output.line(format!("counts as {}: {}", rule.key, described(rule)))?;
        }
        Ok(output.json(activity)?)
    }
}

/// The events, and one for each key that only a rule names: then clients may send it, too.
fn with_keys_of(mut events: Vec<ActivityEvent>, rules: &[ActivityRule]) -> Vec<ActivityEvent> {
    for rule in rules {
        if !events.iter().any(|event| event.key == rule.key) {
            events.push(ActivityEvent { key: rule.key.clone(), name: String::new() });
        }
    }
    events
}

/// A new ID: the day, so that people find it again, and enough chance that two people never get the same one.
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
        return Err("it must be KEY=NAME, such as draw=\"Draw a prize\"".into());
    }
    Ok(ActivityEvent { key: key.into(), name: name.into() })
}

const RULE: &str = "it must be key=KEY,event=EVENT_NAME, or key=KEY,event=EVENT_NAME,where=JSON";

/// The JSON of `where` has commas of its own, so it stands at the end.
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
            _ => return Err(format!("`{word}` is not known; {RULE}")),
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

fn rules_of(path: &Path) -> Result<Vec<ActivityRule>, Error> {
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
            ("key=draw", "it must be key=KEY,event=EVENT_NAME"),
            ("draw", "`draw` is not known"),
            ("key=draw,event=page_view,platform=web", "`platform=web` is not known"),
            ("key=draw,event=page_view,where={", "where={ is not a JSON object"),
            (r#"key=draw,event=page_view,where={"page_pat":1}"#, "the nearest is `page_path`"),
            ("key=a_b,event=page_view", "key = \"a_b\""),
        ] {
            let problem = rule(text).unwrap_err();
            assert!(problem.contains(said), "{text}: {problem}");
        }
    }

    #[test]
    fn a_file_holds_one_rule_or_several_and_says_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rules.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            rules_of(&path).map(|rules| rules.len()).map_err(|error| error.to_string())
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
