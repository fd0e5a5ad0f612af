//! `millrace activity end`: sets the end of an activity.
use clap::Args;
use jiff::Timestamp;

use super::{
    change::{ActivityChange, ChangeAction},
    lookup::find,
    write::write_changes,
};
use crate::{
    command::{author::Author, value_parsers::timestamp_ms},
    context::Context,
    error::Error,
    output::text::rfc3339,
    registry,
};

/// End an activity: later events are outside its dates
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace activity end summer-draw --reason \"out of prizes\"
  millrace activity end summer-draw --at 2026-08-10T00:00:00+08:00 --by alice")]
pub(crate) struct EndActivity {
    /// ID of the activity
    id: String,
    /// End (exclusive), RFC 3339; the default is now
    #[arg(long, value_name = "TIME", value_parser = timestamp_ms)]
    at: Option<i64>,
    /// Reason, for the history
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    author: Author,
}

impl EndActivity {
    pub(super) fn run(self, context: &mut Context) -> Result<(), Error> {
        let activities = registry::read(context)?;
        let before = find(&activities, &self.id)?;
        let now_ms = Timestamp::now().as_millisecond();
        let after = end_at(before, self.at.unwrap_or(now_ms), now_ms)?;
        let change = ActivityChange {
            action: ChangeAction::End,
            before: Some(before.clone()),
            after,
            reason: self.reason,
        };
        write_changes(context, &self.author.name(), std::slice::from_ref(&change))?;
        let ends_at = change.after.ends_at_ms.map(rfc3339).unwrap_or_default();
        context.output.line(format!("{} ends at {ends_at}", self.id))?;
        Ok(context.output.json(&change.after)?)
    }
}

/// The activity with this end. A future end can be moved to an earlier time, never to a later one.
fn end_at(before: &event::Activity, at: i64, now_ms: i64) -> Result<event::Activity, Error> {
    let id = &before.activity_id;
    if let Some(ends_at) = before.ends_at_ms {
        if ends_at <= now_ms {
            return Err(Error::Failed(format!(
                "activity {id} already ended at {}: to open it again, import it with another ends_at",
                rfc3339(ends_at)
            )));
        }
        if ends_at <= at {
            return Err(Error::Failed(format!(
                "activity {id} already ends at {}, before {}: to prolong it, import it with another ends_at",
                rfc3339(ends_at),
                rfc3339(at)
            )));
        }
    }
    if let Some(starts_at) = before.starts_at_ms
        && at <= starts_at
    {
        return Err(Error::Failed(format!(
            "activity {id} starts at {}: set --at to a later time, or import it with other dates",
            rfc3339(starts_at)
        )));
    }
    Ok(event::Activity { ends_at_ms: Some(at), ..before.clone() })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::activity;
    use super::*;

    #[test]
    fn an_end_is_set_or_moved_to_an_earlier_time() {
        let open = activity(r#"{"activity_id":"a","starts_at":"1970-01-01T00:00:01Z"}"#);
        let bounded = event::Activity { ends_at_ms: Some(5_000), ..open.clone() };
        for (before, at, now, expected) in [
            (&open, 2_000, 2_000, Ok(2_000)),
            (&open, 9_000, 2_000, Ok(9_000)),
            (&bounded, 3_000, 2_000, Ok(3_000)),
            (&open, 1_000, 1_000, Err("starts at 1970-01-01T00:00:01Z")),
            (&bounded, 5_000, 5_000, Err("already ended at 1970-01-01T00:00:05Z")),
            (
                &bounded,
                6_000,
                2_000,
                Err("already ends at 1970-01-01T00:00:05Z, before 1970-01-01T00:00:06Z"),
            ),
        ] {
            match (end_at(before, at, now), expected) {
                (Ok(after), Ok(ends_at)) => assert_eq!(after.ends_at_ms, Some(ends_at)),
                (Err(error), Err(said)) => assert!(error.to_string().contains(said), "{error}"),
                (got, expected) => panic!("{got:?}, not {expected:?}"),
            }
        }
    }
}
