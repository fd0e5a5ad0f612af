//! `millrace activity`: registers activities and lists them.
use clap::{Args, Subcommand, ValueEnum};
use event::{ActivityEvent, ActivityKind};
use jiff::Timestamp;

use crate::{context::Context, error::Error, registry, table::Table};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
EXAMPLES
  millrace activity create --name \"Summer draw\" --event visit=Visit --event draw=\"Draw a prize\"
  millrace activity list")]
pub(crate) enum Activity {
    Create(Create),
    List(List),
}

/// Register an activity and issue its ID.
///
/// Clients send `activity_event_id` = ID_KEY with each of its events.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace activity create --name \"Summer draw\" --event visit=Visit --event draw=\"Draw a prize\"
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
    /// How long after a touch a conversion counts for it, such as 24h or 7d
    #[arg(long, value_name = "DURATION")]
    attribution_window: Option<String>,
    /// Choose the ID: 1 to 40 letters, digits and dashes; without it one is issued
    #[arg(long)]
    id: Option<String>,
}

/// List the registered activities.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace activity list
  millrace activity list --json | jq -r '.[] | select(.owner == \"growth\") | .activity_id'")]
pub(crate) struct List {}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Template,
    Custom,
}

impl Activity {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Error> {
        match self {
            Self::Create(create) => create.run(context),
            Self::List(_) => list(context),
        }
    }
}

impl Create {
    fn run(self, context: &mut Context) -> Result<(), Error> {
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
            events: self.events,
            rules: Vec::new(),
            attribution_window: self.attribution_window,
        };
        activity.check()?;
        let registered = registry::read(context)?;
        while registered.contains_key(&activity.activity_id) {
            if let Some(id) = self.id {
                return Err(Error::Failed(format!(
                    "activity {id} exists already: choose another --id, or none"
                )));
            }
            activity.activity_id = issue();
        }
        registry::write(context, std::slice::from_ref(&activity))?;
        let output = &mut context.output;
        let id = &activity.activity_id;
        output.line(format!("created {id}"))?;
        for event in &activity.events {
            output.line(format!("activity_event_id {id}_{}  {}", event.key, event.name).trim_end())?;
        }
        Ok(output.json(&activity)?)
    }
}

fn list(context: &mut Context) -> Result<(), Error> {
    let activities: Vec<event::Activity> = registry::read(context)?.into_values().collect();
    let now_ms = Timestamp::now().as_millisecond();
    let mut table = Table::new(&["id", "name", "type", "state", "starts", "ends", "apps", "owner", "events"]);
    for activity in &activities {
        let keys: Vec<&str> = activity.events.iter().map(|event| event.key.as_str()).collect();
        table.row([
            activity.activity_id.clone(),
            activity.name.clone(),
            activity.kind.as_str().into(),
            state(activity, now_ms).into(),
            time(activity.starts_at_ms),
            time(activity.ends_at_ms),
            if activity.app_ids.is_empty() { "all".into() } else { activity.app_ids.join(" ") },
            activity.owner.clone(),
            keys.join(" "),
        ]);
    }
    if activities.is_empty() {
        context.output.line("no activity is registered: see `millrace activity create --help`")?;
    } else {
        context.output.table(&table)?;
    }
    Ok(context.output.json(&activities)?)
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

fn moment(text: &str) -> Result<i64, String> {
    let at: Result<Timestamp, _> = text.parse();
    at.map(Timestamp::as_millisecond)
        .map_err(|_| "it must be RFC 3339 with a zone, such as 2026-08-01T00:00:00+08:00".into())
}

fn key_and_name(text: &str) -> Result<ActivityEvent, String> {
    let (key, name) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err("it must be KEY=NAME, such as draw=\"Draw a prize\"".into());
    }
    Ok(ActivityEvent { key: key.into(), name: name.into() })
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
    fn an_activity_runs_from_its_start_up_to_but_not_at_its_end() {
        let json =
            r#"{"activity_id":"a","starts_at":"2026-01-01T00:00:00Z","ends_at":"2026-01-02T00:00:00Z"}"#;
        let activity = event::Activity::parse(json.as_bytes()).unwrap();
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
    fn an_event_is_a_key_with_or_without_a_name() {
        for (text, key, name) in [("draw=Draw = win", "draw", "Draw = win"), ("draw", "draw", "")] {
            let event = key_and_name(text).unwrap();
            assert_eq!((event.key.as_str(), event.name.as_str()), (key, name));
        }
    }
}
