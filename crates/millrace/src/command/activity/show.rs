//! `millrace activity show`: one activity with its events and rules.
use clap::Args;
use jiff::Timestamp;

use super::{
    describe::{self, apps, minute, state},
    lookup::find,
};
use crate::{
    context::Context,
    error::Error,
    output::table::{Column::*, Table, table},
    registry,
};

/// Show one activity: its dates, apps, events and rules.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace activity show summer-draw
  millrace activity show summer-draw --json | jq .rules")]
pub(crate) struct ShowActivity {
    /// The activity's ID
    id: String,
}

impl ShowActivity {
    pub(super) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let activities = registry::read(context)?;
        let activity = find(&activities, &self.id)?;
        let output = &mut context.output;
        output.table(&fields(activity, Timestamp::now().as_millisecond()))?;
        if !activity.events.is_empty() {
            output.line("")?;
            output.table(&events(activity))?;
        }
        if !activity.rules.is_empty() {
            output.line("")?;
            output.table(&rules(activity))?;
        }
        Ok(output.json(activity)?)
    }
}

fn fields(activity: &event::Activity, now_ms: i64) -> Table {
    let mut table = table(&[Text("field"), Text("value")]);
    let window = activity.attribution_window.clone().unwrap_or_else(|| "24h (default)".into());
    for (name, value) in [
        ("id", activity.activity_id.clone()),
        ("name", activity.name.clone()),
        ("type", activity.kind.as_str().into()),
        ("state", state(activity, now_ms).into()),
        ("starts", minute(activity.starts_at_ms)),
        ("ends", minute(activity.ends_at_ms)),
        ("apps", apps(activity)),
        ("owner", activity.owner.clone()),
        ("attribution window", window),
    ] {
        table.add_row([name.to_owned(), value]);
    }
    table
}

fn events(activity: &event::Activity) -> Table {
    let mut table = table(&[Text("activity_event_id"), Text("name")]);
    for event in &activity.events {
        table.add_row([format!("{}_{}", activity.activity_id, event.key), event.name.clone()]);
    }
    table
}

fn rules(activity: &event::Activity) -> Table {
    let mut table = table(&[Text("key"), Text("matches")]);
    for rule in &activity.rules {
        table.add_row([rule.key.clone(), describe::rule(rule)]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::fixture::activity;
    use super::*;

    #[test]
    fn a_rule_is_shown_as_the_events_it_matches() {
        let activity = activity(
            r#"{"activity_id":"s","events":[{"key":"draw","name":"Draw"}],"rules":[
               {"key":"draw","event_name":"page_view","where":{"page_path":{"prefix":"/draw"},"platform":"h5"}},
               {"key":"draw","event_name":"share"}]}"#,
        );
        let rules = rules(&activity).render();
        assert!(
            rules.contains(r#"draw  page_view where page_path = {"prefix":"/draw"} and platform = "h5""#),
            "{rules}"
        );
        assert!(rules.contains("draw  share\n"), "{rules}");
        assert!(events(&activity).render().contains("s_draw             Draw"));
        assert!(fields(&activity, 0).render().contains("24h (default)"));
    }
}
