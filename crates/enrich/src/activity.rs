//! What the activity registry says about an event that carries an activity event ID.
use event::{Activity, ActivityStatus};
use hashbrown::HashMap;

/// All registered activities as of one moment.
#[derive(Debug, Clone, Default)]
pub struct Activities {
    by_id: HashMap<String, Activity>,
}

/// What an event's activity event ID means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch<'a> {
    /// First half of the ID.
    pub activity_id: &'a str,
    /// Second half of the ID.
    pub event_key: &'a str,
    /// `template` or `custom`; '' when the activity is not registered.
    pub activity_type: &'static str,
    /// How the event relates to the registry.
    pub status: ActivityStatus,
}

impl Activities {
    /// Adds or replaces an activity.
    pub fn insert(&mut self, activity: Activity) {
        self.by_id.insert(activity.activity_id.clone(), activity);
    }

    /// Forgets an activity.
    pub fn remove(&mut self, activity_id: &str) {
        self.by_id.remove(activity_id);
    }

    /// Number of registered activities.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is registered.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// What `activity_event_id` (`activityID_eventID`) means for an event of `app_id` at `event_time_ms`; nothing
    /// when it is no such ID.
    pub fn touch<'a>(
        &self,
        activity_event_id: &'a str,
        app_id: &str,
        event_time_ms: i64,
    ) -> Option<Touch<'a>> {
        let (activity_id, event_key) = activity_event_id.split_once('_')?;
        let Some(activity) = self.by_id.get(activity_id) else {
            let status = ActivityStatus::Unregistered;
            return Some(Touch { activity_id, event_key, activity_type: "", status });
        };
        let wrong_app = !activity.app_ids.is_empty() && !activity.app_ids.iter().any(|app| app == app_id);
        let unknown_key = !activity.events.iter().any(|event| event.key == event_key);
        let started = activity.starts_at_ms.is_none_or(|starts| starts <= event_time_ms);
        let ended = activity.ends_at_ms.is_some_and(|ends| ends <= event_time_ms);
        let status = if wrong_app {
            ActivityStatus::WrongApp
        } else if unknown_key {
            ActivityStatus::UnknownKey
        } else if !started || ended {
            ActivityStatus::OutsideDates
        } else {
            ActivityStatus::Ok
        };
        Some(Touch { activity_id, event_key, activity_type: activity.kind.as_str(), status })
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
            let touch = registry.touch(id, app, time).unwrap();
            assert_eq!((touch.activity_type, touch.status), (activity_type, status), "{id} {app} {time}");
        }
    }

    #[test]
    fn a_text_without_two_halves_is_no_activity() {
        assert_eq!(registry().touch("", "web-main", 1000), None);
        assert_eq!(registry().touch("spring-26", "web-main", 1000), None);
    }
}
