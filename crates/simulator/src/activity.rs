//! Registered activities, the valid and invalid IDs that clients send for them, and the expected status of each.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::names::{App, Status};

const DAY_MS: i64 = 86_400_000;

/// One activity of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityPlan {
    /// 1–40 of `[A-Za-z0-9-]`.
    pub activity_id: String,
    /// A name for people.
    pub name: String,
    /// Type in the registry and in the cubes.
    pub kind: PlannedActivityKind,
    /// Apps it runs in; empty means all.
    pub app_ids: Vec<String>,
    /// Start, epoch milliseconds.
    pub starts_at: i64,
    /// End (exclusive), epoch milliseconds.
    pub ends_at: i64,
    /// Keys of its events, 1–40 of `[A-Za-z0-9-]` each.
    pub events: Vec<String>,
}

/// Type of an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlannedActivityKind {
    /// Made from a template.
    Template,
    /// Made by hand.
    Custom,
}

impl PlannedActivityKind {
    /// As written in the registry and in `activity_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Custom => "custom",
        }
    }
}

/// A typical registry at `now_ms`: several activities are running, some of them for one app only; one is over, one
/// has not started.
pub fn default_activities(now_ms: i64) -> Vec<ActivityPlan> {
    use PlannedActivityKind::{Custom, Template};
    let plan =
        |id: &str, name: &str, kind, app_ids: &[&str], from_days, to_days, events: &[&str]| ActivityPlan {
            activity_id: id.to_owned(),
            name: name.to_owned(),
            kind,
            app_ids: app_ids.iter().map(|&app| app.to_owned()).collect(),
            starts_at: now_ms + from_days * DAY_MS,
            ends_at: now_ms + to_days * DAY_MS,
            events: events.iter().map(|&key| key.to_owned()).collect(),
        };
    vec![
        plan(
            "spring-creators",
            "春季创作者大赛",
            Template,
            &[],
            -20,
            40,
            &["enter", "share", "submit", "vote"],
        ),
        plan("vip-festival", "会员节", Template, &[], -12, 20, &["visit", "draw", "open"]),
        plan("summer-draw", "夏日抽奖", Custom, &["app-main"], -15, 30, &["visit", "draw", "win"]),
        plan("campus-clips", "校园录屏", Custom, &["pc-recorder", "web-main"], -30, 60, &["enter", "upload"]),
        plan("A2026-0042", "新人礼", Custom, &[], -60, 120, &["view", "claim"]),
        plan("new-year-gala", "跨年晚会", Template, &[], -70, -35, &["visit", "gift"]),
        plan("autumn-contest", "秋季剪辑赛", Template, &[], 30, 60, &["enter", "submit"]),
    ]
}

/// IDs that are never registered.
const UNREGISTERED: [(&str, &str); 3] =
    [("retired-2019", "visit"), ("ghost-9", "draw"), ("typo-spring", "enter")];
const UNKNOWN_KEY: &str = "no-such-step";

/// Number of an (activity, key) pair in [`Activities::pairs`].
pub(crate) type Pair = u16;

/// All pairs that clients send as `activity_event_id`.
pub(crate) struct Activities {
    plans: Vec<ActivityPlan>,
    pairs: Vec<PairOf>,
}

struct PairOf {
    plan: Option<usize>,
    activity_id: String,
    key: String,
    known: bool,
}

impl Activities {
    pub(crate) fn new(plans: Vec<ActivityPlan>) -> Self {
        let mut pairs = Vec::new();
        for (number, plan) in plans.iter().enumerate() {
            let keys = plan.events.iter().map(|key| (key.as_str(), true)).chain([(UNKNOWN_KEY, false)]);
            for (key, known) in keys {
                let (activity_id, key) = (plan.activity_id.clone(), key.to_owned());
                pairs.push(PairOf { plan: Some(number), activity_id, key, known });
            }
        }
        for (activity_id, key) in UNREGISTERED {
            let (activity_id, key) = (activity_id.to_owned(), key.to_owned());
            pairs.push(PairOf { plan: None, activity_id, key, known: false });
        }
        Self { plans, pairs }
    }

    /// Chooses a pair to send and its status at `event_time`. `margin_ms` is the uncertainty of that time. None if
    /// it decides whether the activity is running.
    pub(crate) fn touch(
        &self,
        dice: &mut Dice,
        app: App,
        event_time: i64,
        margin_ms: i64,
    ) -> Option<(Pair, Status)> {
        // Prefers pairs with status ok: with real clients, too, wrong apps and dates are the exception.
        let mut chosen = dice.below(self.pairs.len() as u32) as usize;
        for _ in 0..2 {
            if self.status(chosen, app, event_time) == Status::Ok {
                break;
            }
            chosen = dice.below(self.pairs.len() as u32) as usize;
        }
        if let Some(plan) = self.pairs[chosen].plan.map(|number| &self.plans[number]) {
            let distance = (event_time - plan.starts_at).abs().min((event_time - plan.ends_at).abs());
            if distance < margin_ms {
                return None;
            }
        }
        Some((chosen as Pair, self.status(chosen, app, event_time)))
    }

    fn status(&self, pair: usize, app: App, event_time: i64) -> Status {
        let pair = &self.pairs[pair];
        let Some(plan) = pair.plan.map(|number| &self.plans[number]) else { return Status::Unregistered };
        if !plan.app_ids.is_empty() && !plan.app_ids.iter().any(|id| id == app.as_str()) {
            Status::WrongApp
        } else if !pair.known {
            Status::UnknownKey
        } else if event_time < plan.starts_at || event_time >= plan.ends_at {
            Status::OutsideDates
        } else {
            Status::Ok
        }
    }

    /// Activity ID, key and registered type ('' if unregistered).
    pub(crate) fn pair(&self, pair: Pair) -> (&str, &str, &'static str) {
        let pair = &self.pairs[usize::from(pair)];
        let kind = pair.plan.map_or("", |number| self.plans[number].kind.as_str());
        (&pair.activity_id, &pair.key, kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_772_366_400_000;

    fn status(activity_id: &str, key: &str, app: App, at: i64) -> Status {
        let activities = Activities::new(default_activities(NOW));
        let pair =
            activities.pairs.iter().position(|pair| pair.activity_id == activity_id && pair.key == key);
        activities.status(pair.unwrap(), app, at)
    }

    #[test]
    fn wrong_app_comes_before_unknown_key_and_that_before_the_dates() {
        let over = NOW + 100 * DAY_MS;
        assert_eq!(status("summer-draw", "draw", App::Mobile, NOW), Status::Ok);
        assert_eq!(status("summer-draw", UNKNOWN_KEY, App::Web, over), Status::WrongApp);
        assert_eq!(status("summer-draw", UNKNOWN_KEY, App::Mobile, over), Status::UnknownKey);
        assert_eq!(status("summer-draw", "draw", App::Mobile, over), Status::OutsideDates);
        assert_eq!(status("ghost-9", "draw", App::Mobile, NOW), Status::Unregistered);
    }

    #[test]
    fn an_activity_runs_from_its_start_up_to_but_not_at_its_end() {
        let plan = default_activities(NOW).swap_remove(0);
        for (at, expected) in [
            (plan.starts_at - 1, Status::OutsideDates),
            (plan.starts_at, Status::Ok),
            (plan.ends_at - 1, Status::Ok),
            (plan.ends_at, Status::OutsideDates),
        ] {
            assert_eq!(status(&plan.activity_id, "enter", App::Web, at), expected);
        }
    }
}
