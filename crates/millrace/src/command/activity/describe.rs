//! An activity as text for people.
use event::{Activity, ActivityRule};
use jiff::Timestamp;

/// Whether an activity is running at a time (epoch milliseconds).
pub(super) fn state(activity: &Activity, now_ms: i64) -> &'static str {
    if activity.starts_at_ms.is_some_and(|starts_at| now_ms < starts_at) {
        "to come"
    } else if activity.ends_at_ms.is_some_and(|ends_at| now_ms >= ends_at) {
        "over"
    } else {
        "running"
    }
}

/// A start or an end, to the minute; `-` for none.
pub(super) fn minute(ms: Option<i64>) -> String {
    match ms.map(Timestamp::from_millisecond) {
        Some(Ok(at)) => at.strftime("%Y-%m-%d %H:%MZ").to_string(),
        _ => "-".into(),
    }
}

/// Its apps, `all` without any.
pub(super) fn apps(activity: &Activity) -> String {
    if activity.app_ids.is_empty() { "all".into() } else { activity.app_ids.join(" ") }
}

/// The events that a rule matches.
pub(super) fn rule(rule: &ActivityRule) -> String {
    let mut text = rule.event_name.clone();
    for (index, (field, test)) in rule.where_.iter().enumerate() {
        let word = if index == 0 { "where" } else { "and" };
        text.push_str(&format!(" {word} {field} = {test}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::fixture::activity;
    use super::*;

    #[test]
    fn an_activity_runs_from_its_start_up_to_but_not_at_its_end() {
        let activity = activity(
            r#"{"activity_id":"a","starts_at":"2026-01-01T00:00:00Z","ends_at":"2026-01-02T00:00:00Z"}"#,
        );
        for (at, expected) in [
            ("2025-12-31T23:59:59.999Z", "to come"),
            ("2026-01-01T00:00:00Z", "running"),
            ("2026-01-02T07:59:59.999+08:00", "running"),
            ("2026-01-02T00:00:00Z", "over"),
        ] {
            let at_ms = at.parse::<Timestamp>().unwrap().as_millisecond();
            assert_eq!(state(&activity, at_ms), expected, "{at}");
        }
    }
}
