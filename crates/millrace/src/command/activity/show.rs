//! `millrace activity show`: all that is registered of one activity.
use clap::Args;

use super::{apps, described, find, now_ms, registered, state, time};
use crate::{context::Context, error::Error, table::Table};

/// Show one activity: its dates, apps, events and rules.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace activity show summer-draw
  millrace activity show summer-draw --json | jq .rules")]
pub(crate) struct Show {
    /// The activity's ID
    id: String,
}

impl Show {
    pub(super) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let registered = registered(context)?;
        let activity = find(&registered, &self.id)?;
        let output = &mut context.output;
        output.table(&facts(activity, now_ms()))?;
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

fn facts(activity: &event::Activity, now_ms: i64) -> Table {
    let mut table = Table::new(&["id", &activity.activity_id]);
    let window = activity.attribution_window.clone().unwrap_or_else(|| "24h (default)".into());
    for (name, value) in [
        ("name", activity.name.clone()),
        ("type", activity.kind.as_str().into()),
        ("state", state(activity, now_ms).into()),
        ("starts", time(activity.starts_at_ms)),
        ("ends", time(activity.ends_at_ms)),
        ("apps", apps(activity)),
        ("owner", activity.owner.clone()),
        ("attribution window", window),
    ] {
        table.row([name.into(), value]);
    }
    table
}

fn events(activity: &event::Activity) -> Table {
    let mut table = Table::new(&["activity_event_id", "name"]);
    for event in &activity.events {
        table.row([format!("{}_{}", activity.activity_id, event.key), event.name.clone()]);
    }
    table
}

fn rules(activity: &event::Activity) -> Table {
    let mut table = Table::new(&["key", "counts every"]);
    for rule in &activity.rules {
        table.row([rule.key.clone(), described(rule)]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::tests::activity;
    use super::*;

    #[test]
    fn a_rule_reads_as_what_it_counts() {
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
        assert!(facts(&activity, 0).render().contains("24h (default)"));
    }
}
