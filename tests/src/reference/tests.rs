//! The reference against numbers that follow from the contract by hand.

use super::*;
use serde_json::json;

use super::cubes::CUBES;

const DAY: i64 = 86_400_000;
/// 2026-03-02T00:00:00+08:00, a Monday.
const MONDAY: i64 = 1_772_380_800_000;

/// Sends events of one device to a reference.
struct EventSequence {
    reference: Reference,
    number: u32,
}

impl EventSequence {
    fn new(activities: Vec<ReferenceActivity>) -> Self {
        let rules = ContractRules { apps: vec!["app-main".into()], max_event_age_ms: 60 * DAY };
        Self { reference: Reference::new(rules, activities), number: 0 }
    }

    /// Sends an event `hours` after the start of Monday; returns it with the fields that the reference has added.
    fn send(&mut self, hours: f64, name: &str, more: Value) -> &ReferenceEvent {
        self.number += 1;
        let at = MONDAY + (hours * 3_600_000.0) as i64;
        let mut event = json!({
            "schema_version": "1-0-0", "event_id": format!("018f0000-0000-7000-8000-{:012}", self.number),
            "event_name": name, "app_id": "app-main", "platform": "android", "app_version": "1",
            "anonymous_id": "d1", "original_timestamp": at, "library": {"name": "a", "version": "1"},
        });
        for (key, value) in more.as_object().unwrap() {
            event[key] = value.clone();
        }
        let value = serde_json::to_vec(&event).unwrap();
        self.reference.take(&RawRecord { received_at: MONDAY + 40 * DAY, value });
        assert!(self.reference.rejected.is_empty(), "{event}");
        self.reference.events.last().unwrap()
    }
}

#[test]
fn a_session_keeps_the_channel_of_its_first_event_and_the_next_inherits_it_for_thirty_days() {
    let mut events = EventSequence::new(Vec::new());
    let campaign = |medium: &str| json!({"campaign": {"source": "x", "medium": medium}});
    for (hours, more, expected) in [
        (0.0, campaign("email"), ("email", 1)),
        (0.4, campaign("sms"), ("email", 0)),
        (0.9, json!({}), ("email", 0)),
        (1.5, json!({}), ("sms", 1)),
        (1.2, json!({}), ("sms", 0)),
        (
            24.0,
            json!({"session_id": "a", "page": {"url": "u", "referrer": "https://m.example.tv/"}}),
            ("internal", 1),
        ),
        (24.1, json!({}), ("internal", 0)),
        (720.4, json!({}), ("sms", 1)),
        (721.0, json!({}), ("direct", 1)),
        (721.0, json!({"session_id": "a"}), ("internal", 0)),
    ] {
        let event = events.send(hours, "share", more);
        assert_eq!((event.text("channel_group"), event.number("session_start")), expected, "{hours}");
        assert_eq!(event.text("first_channel_group"), "email");
    }
}

#[test]
fn activity_of_a_device_is_counted_once_a_day_a_week_and_a_month_by_each_definition() {
    let mut events = EventSequence::new(Vec::new());
    let ping = |ms: i64| json!({"content": {"id": "v"}, "playback": {"id": "p", "played_ms": ms}});
    let video = json!({"content": {"id": "v"}});
    for (hours, name, more, (day, week, month)) in [
        (1.0, "app_open", json!({}), (&["any"][..], &["any"][..], &["any"][..])),
        (2.0, "playback_ping", ping(10_000), (&[], &[], &[])),
        (3.0, "content_view", video.clone(), (&[], &[], &[])),
        (4.0, "playback_ping", ping(9_999), (&[], &[], &[])),
        (5.0, "playback_ping", ping(10_000), (&["core_flow"], &["core_flow"], &["core_flow"])),
        (24.0, "login", json!({"user_id": "u"}), (&["any", "login"], &["login"], &["login"])),
        (23.9, "playback_ping", ping(10_000), (&[], &[], &[])),
        (7.0 * 24.0, "login", json!({"user_id": "u"}), (&["any", "login"], &["any", "login"], &[])),
        (-1.0, "share", json!({}), (&["any"], &["any"], &[])),
        (-25.0, "share", json!({}), (&["any"], &[], &["any"])),
    ] {
        let event = events.send(hours, name, more);
        assert_eq!(
            (&event.active_day[..], &event.active_week[..], &event.active_month[..]),
            (day, week, month),
            "{hours}"
        );
    }
    let by_day: Vec<u64> = events.reference.active_devices("any", |day| day).into_values().collect();
    assert_eq!(by_day, [1; 5]);
    assert_eq!(events.reference.active_devices("any", day::week_of).len(), 3);
    assert_eq!(events.reference.active_devices("any", day::month_of).len(), 2);
    assert_eq!(events.reference.retained("any").len(), 3);
}

#[test]
fn a_playback_starts_and_is_effective_and_complete_once() {
    let mut events = EventSequence::new(Vec::new());
    let played = |id: &str, ms: i64| json!({"content": {"id": "v", "duration_ms": 20_000}, "playback": {"id": id, "played_ms": ms}});
    let stamps = ["play_start", "effective_play", "completed_play", "replay"];
    for (id, ms, expected) in [
        ("p", 9_999, [1, 0, 0, 0]),
        ("p", 1, [0, 1, 0, 0]),
        ("p", 8_000, [0, 0, 1, 0]),
        ("p", 9_000, [0, 0, 0, 0]),
        ("q", 20_000, [1, 1, 1, 1]),
    ] {
        let event = events.send(1.0, "playback_ping", played(id, ms));
        assert_eq!(stamps.map(|stamp| event.number(stamp)), expected);
    }
}

#[test]
fn an_order_is_matched_with_a_recent_page_once_and_counted_once() {
    let mut events = EventSequence::new(Vec::new());
    let page = json!({"commerce": {"entry_point": "mobile"}});
    let order = |id: &str| json!({"commerce": {"order_id": id, "revenue_minor": -5, "quantity": 1}});
    events.send(1.0, "vip_page_viewed", page.clone());
    for (hours, id, expected) in [(0.9, "a", ""), (1.5, "a", ""), (1.5, "b", "mobile"), (1.5, "c", "")] {
        let event = events.send(hours, "vip_opened", order(id));
        assert_eq!(event.text("matched_entry_point"), expected, "{hours} {id}");
    }
    events.send(2.0, "vip_page_viewed", page);
    assert_eq!(events.send(2.6, "vip_opened", order("d")).text("matched_entry_point"), "");
    let revenue = CUBES.iter().find(|cube| cube.name == "revenue").unwrap();
    let cells = revenue.cells("1d", &events.reference.events);
    let sums = (0..4).map(|at| cells.values().map(|totals| totals[at].value()).sum()).collect::<Vec<i64>>();
    assert_eq!(sums, [2, 4, 4, -20]);
}

#[test]
fn activities_have_a_status_and_get_conversions_and_events_by_rule() {
    let activity = ReferenceActivity {
        id: "a1".into(),
        kind: "template".into(),
        apps: vec!["app-main".into()],
        starts_at: MONDAY,
        ends_at: MONDAY + DAY,
        keys: vec!["enter".into()],
        rule: Some(("enter".into(), "share".into())),
        window_ms: 3_600_000,
    };
    let elsewhere = ReferenceActivity { id: "a2".into(), apps: vec!["web".into()], ..activity.clone() };
    let mut events = EventSequence::new(vec![activity, elsewhere]);
    let given = |id: &str| json!({"activity_event_id": id, "commerce": {"order_id": id}});
    for (hours, name, more, expected) in [
        (1.0, "gift_sent", given("a1_other"), ("unknown_key", 0, "")),
        (1.0, "gift_sent", given("a2_other"), ("wrong_app", 0, "")),
        (1.0, "gift_sent", given("a3_enter"), ("unregistered", 0, "")),
        (24.0, "gift_sent", given("a1_enter"), ("outside_dates", 0, "")),
        (1.0, "share", json!({}), ("ok", 1, "")),
        (24.0, "share", json!({}), ("", 0, "")),
        (2.0, "gift_sent", json!({"commerce": {"order_id": "o1"}}), ("", 0, "a1")),
        (2.1, "gift_sent", json!({"commerce": {"order_id": "o2"}}), ("", 0, "")),
        (
            5.0,
            "vip_opened",
            json!({"activity_event_id": "a1_enter", "commerce": {"order_id": "o3"}}),
            ("ok", 0, "a1"),
        ),
    ] {
        let event = events.send(hours, name, more);
        let found = (
            event.text("activity_status"),
            event.number("activity_first_touch"),
            event.text("attributed_activity_id"),
        );
        assert_eq!(found, expected, "{hours} {name}");
    }
}

#[test]
fn duplicates_tests_and_bots_count_in_quality_only() {
    let mut events = EventSequence::new(Vec::new());
    events.send(1.0, "share", json!({"event_index": 3}));
    events.number -= 1;
    assert_eq!(events.send(1.0, "share", json!({})).kind, "duplicate");
    assert_eq!(events.send(1.0, "share", json!({"is_test": true})).kind, "test");
    assert_eq!(events.send(1.0, "share", json!({"user_agent": "Googlebot/2.1"})).kind, "bot");
    assert_eq!(events.send(1.0, "share", json!({"event_index": 6})).number("lost_events"), 2);
    assert_eq!(events.send(1.0, "share", json!({"event_index": 4})).number("lost_events"), 0);
    assert_eq!(events.send(1.0, "share", json!({"event_index": 1_000_007})).number("lost_events"), 0);
    for cube in CUBES {
        let cells = cube.cells(cube.panes[0], &events.reference.events);
        let events = cube.measures.iter().position(|measure| *measure == "events");
        let counted = events.map(|at| cells.values().map(|totals| totals[at].value()).sum::<i64>());
        match cube.name {
            "quality" => assert_eq!(counted, Some(7)),
            "traffic" | "versions" => assert_eq!(counted, Some(4)),
            _ => assert!(counted.unwrap_or(0) == 0, "{}", cube.name),
        }
    }
}

#[test]
fn the_reference_equals_the_truth_of_the_simulator() {
    use simulator::{Config, Simulator, Timing};
    let now = MONDAY + 50 * DAY;
    let plans = simulator::default_activities(now);
    let activities = plans.iter().map(ReferenceActivity::from).collect();
    let config = Config {
        seed: 5,
        devices: 2_000,
        concurrent_sessions: 40,
        activities: plans,
        max_event_age_ms: 60 * DAY,
        timing: Timing::Span { start_ms: now - 45 * DAY, end_ms: now, events: 40_000 },
        ..Config::default()
    };
    let mut simulator = Simulator::new(config);
    let apps = simulator::APP_IDS.iter().map(|app| (*app).to_owned()).collect();
    let mut reference = Reference::new(ContractRules { apps, max_event_age_ms: 60 * DAY }, activities);
    let mut record = simulator::RawRecord::default();
    while simulator.counts().sent < 40_000 {
        let received_at = now + simulator.counts().records as i64 / 2;
        simulator.next(received_at, &mut record);
        reference.take(&RawRecord { received_at, value: record.value.clone() });
    }
    let truth = simulator.truth();
    let kinds = |kind| reference.events.iter().filter(|event| event.kind == kind).count() as u64;
    let counts = truth.counts;
    assert_eq!(
        [kinds("event"), kinds("duplicate"), kinds("test"), kinds("bot"), reference.rejected.len() as u64],
        [counts.accepted, counts.duplicates, counts.tests, counts.bots, counts.rejected],
    );
    let mut found: BTreeMap<String, [i64; 3]> = BTreeMap::new();
    for (key, totals) in CUBES[0].cells("1d", &reference.events) {
        let cell = found.entry(key.split_once('\t').unwrap().1.to_owned()).or_default();
        (0..3).for_each(|at| cell[at] += totals[at].value());
    }
    let expected: BTreeMap<String, [i64; 3]> = truth
        .traffic
        .iter()
        .map(|c| {
            let key =
                [&c.app_id, &c.platform, &c.event_name, &c.channel_group].map(String::as_str).join("\t");
            (key, [c.events, c.sessions, c.new_devices].map(|number| number as i64))
        })
        .collect();
    let differ: Vec<_> = expected.iter().filter(|(key, cell)| found.get(*key) != Some(cell)).collect();
    assert!(differ.is_empty(), "{} cells differ, such as {:?}", differ.len(), &differ[..differ.len().min(5)]);
    assert_eq!(found.len(), expected.len());
}
