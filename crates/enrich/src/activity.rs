//! The activity of an event: named by the activity event ID that its client sent, or found by the rules of the
//! activities when it sent none.
mod registered;
mod rules;

use event::{Activity, ActivityStatus, Batch, Field};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::sync::Arc;

use self::{
    registered::{DEFAULT_ATTRIBUTION_WINDOW_MS, RegisteredActivity},
    rules::{CompiledRule, NameRules},
};

/// All registered activities as of one moment. Copies share them.
#[derive(Debug, Clone, Default)]
pub struct Activities {
    by_id: HashMap<String, Arc<RegisteredActivity>, RandomState>,
    /// Rules by event name. An event whose name has no rule costs one look-up.
    rules: HashMap<String, NameRules, RandomState>,
}

/// The activity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ActivityMatch<'a> {
    /// The activity; first half of the activity event ID.
    pub(crate) activity_id: &'a str,
    /// Which of its events; second half of the activity event ID.
    pub(crate) event_key: &'a str,
    /// `template` or `custom`; '' when the activity is not registered.
    pub(crate) activity_type: &'static str,
    /// How the event relates to the registry.
    pub(crate) status: ActivityStatus,
}

impl Activities {
    /// Adds or replaces an activity. It must have passed [`Activity::check`]: a rule that would not is ignored.
    pub fn insert(&mut self, activity: Activity) {
        self.remove(&activity.activity_id);
        let activity = Arc::new(RegisteredActivity::new(activity));
        for rule in &activity.definition.rules {
            let Ok(conditions) = rule.conditions() else { continue };
            let compiled = CompiledRule {
                activity: Arc::clone(&activity),
                key: rule.key.as_str().into(),
                conditions: conditions.into(),
            };
            self.rules.entry(rule.event_name.clone()).or_default().insert(compiled);
        }
        self.by_id.insert(activity.id().to_owned(), activity);
    }

    /// Removes an activity.
    pub fn remove(&mut self, activity_id: &str) {
        let Some(old) = self.by_id.remove(activity_id) else { return };
        for rule in &old.definition.rules {
            if let Some(rules) = self.rules.get_mut(&rule.event_name) {
                rules.remove(activity_id);
                if rules.is_empty() {
                    self.rules.remove(&rule.event_name);
                }
            }
        }
    }

    /// Number of registered activities.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether no activity is registered.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Number of rules of all activities.
    pub fn rule_count(&self) -> usize {
        self.rules.values().map(NameRules::len).sum()
    }

    /// The activity that `activity_event_id` (`activityID_eventKey`) names, for an event of `app_id` at
    /// `event_time_ms`; None when the text has no two halves.
    pub(crate) fn by_client_id<'a>(
        &self,
        activity_event_id: &'a str,
        app_id: &str,
        event_time_ms: i64,
    ) -> Option<ActivityMatch<'a>> {
        let (activity_id, event_key) = activity_event_id.split_once('_')?;
        let Some(activity) = self.by_id.get(activity_id) else {
            let status = ActivityStatus::Unregistered;
            return Some(ActivityMatch { activity_id, event_key, activity_type: "", status });
        };
        let status = if !activity.runs_in(app_id) {
            ActivityStatus::WrongApp
        } else if !activity.has_event(event_key) {
            ActivityStatus::UnknownKey
        } else if !activity.runs_at(event_time_ms) {
            ActivityStatus::OutsideDates
        } else {
            ActivityStatus::Ok
        };
        Some(ActivityMatch { activity_id, event_key, activity_type: activity.kind(), status })
    }

    /// The first activity, by ID, that runs in the app and at the time of an event and has a rule that matches it. For
    /// events without an activity event ID. The status is always `ok`.
    pub(crate) fn by_rule(&self, batch: &Batch, row: usize) -> Option<ActivityMatch<'_>> {
        if self.rules.is_empty() {
            return None;
        }
        let rules = self.rules.get(batch.text(Field::EventName, row))?;
        let matching = rules.first_match(batch, row)?;
        Some(ActivityMatch {
            activity_id: matching.activity.id(),
            event_key: &matching.key,
            activity_type: matching.activity.kind(),
            status: ActivityStatus::Ok,
        })
    }

    /// For how long after a touch of this activity a conversion is attributed to it, in milliseconds: as registered,
    /// else 24 h.
    pub(crate) fn attribution_window_ms(&self, activity_id: &str) -> i64 {
        let activity = self.by_id.get(activity_id);
        activity.map_or(DEFAULT_ATTRIBUTION_WINDOW_MS, |activity| activity.attribution_window_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Activities {
        let json = br#"{"activity_id":"spring-26","type":"template","app_ids":["web-main"],
            "starts_at":"1970-01-01T00:00:01Z","ends_at":"1970-01-01T00:00:02Z","events":[{"key":"join"}]}"#;
        let mut activities = Activities::default();
        activities.insert(Activity::parse(json).unwrap());
        activities
    }

    #[test]
    fn the_status_names_the_first_thing_that_is_wrong() {
        use ActivityStatus::{Ok, OutsideDates, UnknownKey, Unregistered, WrongApp};
        for (id, app, time, activity_type, status) in [
            ("spring-26_join", "web-main", 1000, "template", Ok),
            ("spring-26_join", "web-main", 1999, "template", Ok),
            ("spring-26_join", "web-main", 2000, "template", OutsideDates),
            ("spring-26_join", "web-main", 999, "template", OutsideDates),
            ("spring-26_left", "web-main", 999, "template", UnknownKey),
            ("spring-26_left", "app-main", 999, "template", WrongApp),
            ("summer_join", "web-main", 1000, "", Unregistered),
        ] {
            let registry = registry();
            let found = registry.by_client_id(id, app, time).unwrap();
            assert_eq!((found.activity_type, found.status), (activity_type, status), "{id} {app} {time}");
        }
    }

    #[test]
    fn a_text_without_two_halves_names_no_activity() {
        assert_eq!(registry().by_client_id("", "web-main", 1000), None);
        assert_eq!(registry().by_client_id("spring-26", "web-main", 1000), None);
    }

    /// Events by name, app, time and page path.
    fn batch(events: &[(&str, &str, i64, &str)]) -> Batch {
        let mut builder = event::BatchBuilder::default();
        for &(name, app, time, path) in events {
            builder.text(Field::EventName, name);
            builder.text(Field::AppId, app);
            builder.number(Field::EventTime, time);
            builder.text(Field::PagePath, path);
            builder.end_row();
        }
        Batch::decode(&builder.finish()).unwrap()
    }

    fn with_rules() -> Activities {
        let mut activities = Activities::default();
        // Not in the order of their IDs.
        for json in [
            r#"{"activity_id":"b","type":"template","rules":[
                {"key":"any","event_name":"page_view"},{"key":"late","event_name":"share"}]}"#,
            r#"{"activity_id":"a","app_ids":["web-main"],"starts_at":"1970-01-01T00:00:01Z",
                "ends_at":"1970-01-01T00:00:02Z","rules":[
                {"key":"draw","event_name":"page_view","where":{"page_path":{"prefix":"/draw"}}},
                {"key":"second","event_name":"page_view","where":{"page_path":{"prefix":"/d"}}}]}"#,
            r#"{"activity_id":"c","rules":[{"key":"own","event_name":"page_view"},
                {"key":"own","event_name":"search"}]}"#,
        ] {
            activities.insert(Activity::parse(json.as_bytes()).unwrap());
        }
        activities
    }

    #[test]
    fn the_first_activity_by_id_whose_app_dates_and_rule_match_gets_the_event() {
        let activities = with_rules();
        for (event, expected) in [
            (("page_view", "web-main", 1000, "/draw/1"), Some(("a", "draw", "custom"))),
            (("page_view", "web-main", 1999, "/do"), Some(("a", "second", "custom"))),
            (("page_view", "web-main", 2000, "/draw/1"), Some(("b", "any", "template"))),
            (("page_view", "web-main", 999, "/draw/1"), Some(("b", "any", "template"))),
            (("page_view", "app-main", 1000, "/draw/1"), Some(("b", "any", "template"))),
            (("page_view", "web-main", 1000, "/home"), Some(("b", "any", "template"))),
            (("search", "web-main", 1000, ""), Some(("c", "own", "custom"))),
            (("login", "web-main", 1000, "/draw"), None),
        ] {
            let batch = batch(&[("x", "", 0, ""), event]);
            let touch = activities.by_rule(&batch, 1);
            let got = touch.map(|touch| (touch.activity_id, touch.event_key, touch.activity_type));
            assert_eq!(got, expected, "{event:?}");
            assert!(touch.is_none_or(|touch| touch.status == ActivityStatus::Ok));
            assert_eq!(activities.by_rule(&batch, 0), None);
        }
    }

    #[test]
    fn rules_of_several_activities_share_one_reading_of_the_properties() {
        let mut activities = Activities::default();
        for json in [
            r#"{"activity_id":"gold","rules":[{"key":"k","event_name":"level_up",
                "where":{"properties.level":"gold","properties.player.age":{"gte":18}}}]}"#,
            r#"{"activity_id":"other","rules":[{"key":"k","event_name":"level_up",
                "where":{"properties.level":{"exists":true},"properties.score":{"not":1}}}]}"#,
            r#"{"activity_id":"young","rules":[{"key":"k","event_name":"level_up",
                "where":{"properties.player.age":{"lt":18}}}]}"#,
        ] {
            activities.insert(Activity::parse(json.as_bytes()).unwrap());
        }
        let found = |activities: &Activities, properties: &str| {
            let mut builder = event::BatchBuilder::default();
            builder.text(Field::EventName, "level_up");
            builder.text(Field::Properties, properties);
            builder.end_row();
            let batch = Batch::decode(&builder.finish()).unwrap();
            activities.by_rule(&batch, 0).map(|touch| touch.activity_id.to_owned())
        };
        let adult = r#"{"level":"gold","player":{"age":18}}"#;
        for (properties, expected) in [
            (adult, Some("gold")),
            (r#"{"level":"gold","player":{"age":17}}"#, Some("other")),
            (r#"{"level":"iron","score":2}"#, Some("other")),
            (r#"{"level":"iron","score":1,"player":{"age":3}}"#, Some("young")),
            (r#"{"score":1e999,"player":{"age":3}}"#, Some("young")),
            (r#"{"level":"iron","score":1}"#, None),
            ("", None),
        ] {
            assert_eq!(found(&activities, properties).as_deref(), expected, "{properties}");
        }
        activities.remove("gold");
        assert_eq!(found(&activities, adult).as_deref(), Some("other"));
        activities.insert(
            Activity::parse(
                br#"{"activity_id":"all","rules":[{"key":"k","event_name":"level_up",
                "where":{"properties.player.name":{"exists":false}}}]}"#,
            )
            .unwrap(),
        );
        assert_eq!(found(&activities, adult).as_deref(), Some("all"));
    }

    #[test]
    fn replacing_or_removing_an_activity_removes_its_rules() {
        let mut activities = with_rules();
        let share = batch(&[("share", "web-main", 1000, ""), ("page_view", "web-main", 1000, "/x")]);
        assert_eq!(activities.by_rule(&share, 0).unwrap().activity_id, "b");
        let json = br#"{"activity_id":"b","rules":[{"key":"new","event_name":"page_view"}]}"#;
        activities.insert(Activity::parse(json).unwrap());
        assert_eq!(activities.by_rule(&share, 0), None);
        assert_eq!(activities.by_rule(&share, 1).unwrap().event_key, "new");
        activities.remove("b");
        assert_eq!(activities.by_rule(&share, 1).unwrap().activity_id, "c");
        activities.remove("a");
        activities.remove("c");
        assert_eq!((activities.by_rule(&share, 1), activities.rule_count()), (None, 0));
    }

    #[test]
    fn the_attribution_window_is_the_registered_one_or_a_day() {
        let mut activities = registry();
        let json = br#"{"activity_id":"week","attribution_window":"7d"}"#;
        activities.insert(Activity::parse(json).unwrap());
        for (id, hours) in [("week", 7 * 24), ("spring-26", 24), ("unknown", 24)] {
            assert_eq!(activities.attribution_window_ms(id), hours * 3_600_000, "{id}");
        }
    }
}
