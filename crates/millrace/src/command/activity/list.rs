//! `millrace activity list`: every activity on a line.
use clap::Args;

use super::{apps, now_ms, registered, state, time};
use crate::{context::Context, error::Error, table::Table};

/// List the registered activities.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace activity list
  millrace activity list --json | jq -r '.[] | select(.owner == \"growth\") | .activity_id'")]
pub(crate) struct List {}

impl List {
    pub(super) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let activities: Vec<event::Activity> = registered(context)?.into_values().collect();
        let now_ms = now_ms();
        let columns = ["id", "name", "type", "state", "starts", "ends", "apps", "owner", "events", ">rules"];
        let mut table = Table::new(&columns);
        for activity in &activities {
            let keys: Vec<&str> = activity.events.iter().map(|event| event.key.as_str()).collect();
            table.row([
                activity.activity_id.clone(),
                activity.name.clone(),
                activity.kind.as_str().into(),
                state(activity, now_ms).into(),
                time(activity.starts_at_ms),
                time(activity.ends_at_ms),
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
