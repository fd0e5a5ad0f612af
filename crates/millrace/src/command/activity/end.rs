//! `millrace activity end`: from a moment on, an activity takes no events.
use clap::Args;

use super::{
    Author,
    change::{Action, Change, make},
    find, moment, now_ms, registered,
};
use crate::{context::Context, error::Error};

/// End an activity: events from that moment on are outside its dates.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace activity end summer-draw --reason \"out of prizes\"
  millrace activity end summer-draw --at 2026-08-10T00:00:00+08:00 --by alice")]
pub(crate) struct End {
    /// The activity's ID
    id: String,
    /// First moment after it, RFC 3339; without it now
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<i64>,
    /// Why, for its history
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    author: Author,
}

impl End {
    pub(super) fn run(self, context: &mut Context) -> Result<(), Error> {
        let registered = registered(context)?;
        let before = find(&registered, &self.id)?;
        let now_ms = now_ms();
        let after = ended(before, self.at.unwrap_or(now_ms), now_ms)?;
        let change = Change { action: Action::End, before: Some(before.clone()), after, reason: self.reason };
        make(context, &self.author.name(), std::slice::from_ref(&change))?;
        let ends_at = exact(change.after.ends_at_ms);
        context.output.line(format!("{} ends at {ends_at}", self.id))?;
        Ok(context.output.json(&change.after)?)
    }
}

/// The activity with this end. An end may be moved forward until it has passed, never back: that would be no end.
fn ended(before: &event::Activity, at: i64, now_ms: i64) -> Result<event::Activity, Error> {
    let id = &before.activity_id;
    if let Some(ends_at) = before.ends_at_ms {
        if ends_at <= now_ms {
            return Err(Error::Failed(format!(
                "activity {id} ended already at {}: to open it again, import it with another ends_at",
                exact(Some(ends_at))
            )));
        }
        if ends_at <= at {
            return Err(Error::Failed(format!(
                "activity {id} ends already at {}, not after {}: to prolong it, import it with another ends_at",
                exact(Some(ends_at)),
                exact(Some(at))
            )));
        }
    }
    if let Some(starts_at) = before.starts_at_ms
        && at <= starts_at
    {
        return Err(Error::Failed(format!(
            "activity {id} starts only at {}: give --at a later moment, or import it with other dates",
            exact(Some(starts_at))
        )));
    }
    Ok(event::Activity { ends_at_ms: Some(at), ..before.clone() })
}

fn exact(ms: Option<i64>) -> String {
    let at = ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| "-".into(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::tests::activity;
    use super::*;

    #[test]
    fn an_end_is_set_or_moved_forward_and_never_set_twice() {
        let open = activity(r#"{"activity_id":"a","starts_at":"1970-01-01T00:00:01Z"}"#);
        let bounded = event::Activity { ends_at_ms: Some(5_000), ..open.clone() };
        for (before, at, now, expected) in [
            (&open, 2_000, 2_000, Ok(2_000)),
            (&open, 9_000, 2_000, Ok(9_000)),
            (&bounded, 3_000, 2_000, Ok(3_000)),
            (&open, 1_000, 1_000, Err("starts only at 1970-01-01T00:00:01Z")),
            (&bounded, 5_000, 5_000, Err("ended already at 1970-01-01T00:00:05Z")),
            (
                &bounded,
                6_000,
                2_000,
                Err("ends already at 1970-01-01T00:00:05Z, not after 1970-01-01T00:00:06Z"),
            ),
        ] {
            match (ended(before, at, now), expected) {
                (Ok(after), Ok(ends_at)) => assert_eq!(after.ends_at_ms, Some(ends_at)),
                (Err(error), Err(said)) => assert!(error.to_string().contains(said), "{error}"),
                (got, expected) => panic!("{got:?}, not {expected:?}"),
            }
        }
    }
}
