//! `millrace activity`: the registry of activities as operators change and read it. Every change goes through
//! [`change`], so that none is without a history.
use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use event::ActivityRule;
use jiff::Timestamp;

use crate::{context::Context, error::Error, registry};

mod change;
mod create;
mod end;
mod export;
mod history;
mod import;
mod list;
mod show;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Enrich processes know a change within two seconds. Each change is kept in ClickHouse, in the view activity_history.

EXAMPLES
  millrace activity create --name \"Summer draw\" --event visit=Visit --event draw=\"Draw a prize\"
  millrace activity list
  millrace activity end summer-draw --reason \"out of prizes\"
  millrace activity export > activities.jsonl && millrace activity import activities.jsonl
  millrace activity history summer-draw")]
pub(crate) enum Activity {
    Create(create::Create),
    List(list::List),
    Show(show::Show),
    End(end::End),
    Import(import::Import),
    Export(export::Export),
    History(history::History),
}

impl Activity {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Error> {
        match self {
            Self::Create(create) => create.run(context),
            Self::List(list) => list.run(context),
            Self::Show(show) => show.run(context),
            Self::End(end) => end.run(context),
            Self::Import(import) => import.run(context),
            Self::Export(export) => export.run(context),
            Self::History(history) => history.run(context),
        }
    }
}

/// Who makes a change.
#[derive(Debug, Args)]
struct Author {
    /// Who makes the change, for its history; without it USER@host
    #[arg(long = "by", value_name = "WHO", env = "MILLRACE_USER")]
    by: Option<String>,
}

impl Author {
    fn name(&self) -> String {
        if let Some(by) = self.by.as_deref().map(str::trim).filter(|by| !by.is_empty()) {
            return by.to_owned();
        }
        let variable = |name| std::env::var(name).ok().filter(|user: &String| !user.is_empty());
        let user = variable("USER").or_else(|| variable("LOGNAME"));
        // Containers have numbers for users.
        let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
        let system = rustix::system::uname();
        format!("{user}@{}", system.nodename().to_string_lossy())
    }
}

type Registered = BTreeMap<String, event::Activity>;

/// An activity by its ID.
fn find<'a>(registered: &'a Registered, id: &str) -> Result<&'a event::Activity, Error> {
    registered.get(id).ok_or_else(|| Error::Failed(unknown(registered, id)))
}

/// That there is no such activity, and which one may be meant: people also type its name.
fn unknown(registered: &Registered, id: &str) -> String {
    let likeness = |activity: &event::Activity| {
        strsim::jaro_winkler(&activity.activity_id, id).max(strsim::jaro_winkler(&activity.name, id))
    };
    let nearest = registered.values().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest {
        Some(nearest) => format!(
            "there is no activity `{id}`; the nearest is `{}` {:?} (`millrace activity list` shows all)",
            nearest.activity_id, nearest.name
        ),
        None => format!("there is no activity `{id}`, nor any other: see `millrace activity create --help`"),
    }
}

fn registered(context: &Context) -> Result<Registered, Error> {
    registry::read(context)
}

fn state(activity: &event::Activity, now_ms: i64) -> &'static str {
    if activity.starts_at_ms.is_some_and(|starts_at| now_ms < starts_at) {
        "to come"
    } else if activity.ends_at_ms.is_some_and(|ends_at| now_ms >= ends_at) {
        "over"
    } else {
        "running"
    }
}

fn time(ms: Option<i64>) -> String {
    match ms.map(Timestamp::from_millisecond) {
        Some(Ok(at)) => at.strftime("%Y-%m-%d %H:%MZ").to_string(),
        _ => "-".into(),
    }
}

fn apps(activity: &event::Activity) -> String {
    if activity.app_ids.is_empty() { "all".into() } else { activity.app_ids.join(" ") }
}

/// A rule as it is read aloud.
fn described(rule: &ActivityRule) -> String {
    let mut text = rule.event_name.clone();
    for (index, (field, test)) in rule.where_.iter().enumerate() {
        let word = if index == 0 { "where" } else { "and" };
        text.push_str(&format!(" {word} {field} = {test}"));
    }
    text
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

fn moment(text: &str) -> Result<i64, String> {
    let at: Result<Timestamp, _> = text.parse();
    at.map(Timestamp::as_millisecond)
        .map_err(|_| "it must be RFC 3339 with a zone, such as 2026-08-01T00:00:00+08:00".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn activity(json: &str) -> event::Activity {
        event::Activity::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn an_activity_runs_from_its_start_up_to_but_not_at_its_end() {
        let activity = activity(
            r#"{"activity_id":"a","starts_at":"2026-01-01T00:00:00Z","ends_at":"2026-01-02T00:00:00Z"}"#,
        );
        for (at, expected) in [
            ("2025-12-31T23:59:59.999Z", "to come"),
            ("2026-01-01T00:00:00Z", "running"),
            ("2026-01-02T07:59:59.999+08:00", "running"),
            ("2026-01-02T00:00:00Z", "over"),
        ] {
            assert_eq!(state(&activity, moment(at).unwrap()), expected, "{at}");
        }
    }

    #[test]
    fn an_unknown_id_names_the_nearest_by_id_or_by_name() {
        let registered: Registered = [
            r#"{"activity_id":"summer-draw","name":"Prizes"}"#,
            r#"{"activity_id":"20261123-x","name":"VIP festival"}"#,
        ]
        .map(|json| (activity(json).activity_id.clone(), activity(json)))
        .into();
        for (typed, nearest) in [("sumer-draw", "`summer-draw`"), ("VIP Festival", "`20261123-x`")] {
            let said = unknown(&registered, typed);
            assert!(said.contains(typed) && said.contains(nearest), "{said}");
        }
        assert!(unknown(&Registered::new(), "x").contains("nor any other"));
        assert!(find(&registered, "summer-draw").is_ok());
    }

    #[test]
    fn the_author_is_who_is_named_or_the_user_and_the_host() {
        let author = |by: &str| Author { by: Some(by.into()) }.name();
        assert_eq!(author(" alice "), "alice");
        for nobody in [author("  "), Author { by: None }.name()] {
            let (user, host) = nobody.split_once('@').unwrap();
            assert!(!user.is_empty() && !host.is_empty(), "{nobody}");
        }
    }
}
