//! `millrace activity list`: one line per activity.
use clap::Args;
use event::Activity;
use jiff::Timestamp;

use super::describe::{apps, minute, state};
use crate::{
    context::Context,
    error::Error,
    output::table::{Column::*, table},
    registry,
};

/// List the registered activities
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace activity list
  millrace activity list --json | jq -r '.[] | select(.owner == \"growth\") | .activity_id'")]
pub(crate) struct ListActivities {}

impl ListActivities {
    pub(super) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let activities: Vec<Activity> = registry::read(context)?.into_values().collect();
        let now_ms = Timestamp::now().as_millisecond();
        let mut table = table(&[
            Text("id"),
            Text("name"),
            Text("type"),
            Text("state"),
            Text("starts"),
            Text("ends"),
            Text("apps"),
            Text("owner"),
            Text("events"),
            Number("rules"),
        ]);
        for activity in &activities {
            let keys: Vec<&str> = activity.events.iter().map(|event| event.key.as_str()).collect();
            table.add_row([
                activity.activity_id.clone(),
                activity.name.clone(),
                activity.kind.as_str().into(),
                state(activity, now_ms).into(),
                minute(activity.starts_at_ms),
                minute(activity.ends_at_ms),
                apps(activity),
                activity.owner.clone(),
                keys.join(" "),
                activity.rules.len().to_string(),
            ]);
        }
        if activities.is_empty() {
            context.output.line("no activity is registered: see `millrace activity create --help`")?;
        } else {
            context.output.table(&table)?;
        }
        Ok(context.output.json(&activities)?)
    }
}
