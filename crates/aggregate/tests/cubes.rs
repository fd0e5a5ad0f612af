//! The rows that each built-in cube makes of a few events.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may end by panicking")]
use std::sync::Arc;

use aggregate::Cubes;
use aggregate::block::{Block, Column, Mark};
use aggregate::cube::{BUILT_IN, CubeLane};
use aggregate::fold::{Accumulator, CompiledLane, FlushCounts, OTHER};
use event::{Batch, BatchBuilder, Field, FieldKind};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

/// A batch of events, each an object of catalogue fields. Defaults: kind `event`, one app, platform and device, 2026-03-02
/// 12:00 in Shanghai.
fn batch(events: &[Value]) -> Batch {
    let mut builder = BatchBuilder::default();
    for event in events {
        let mut fields = json!({
            "kind": "event", "app_id": "web", "platform": "ios", "event_time": "2026-03-02T04:00:00Z", "device_key": 1,
        });
        fields.as_object_mut().unwrap().extend(event.as_object().unwrap().clone());
        for (name, value) in fields.as_object().unwrap() {
            let field = Field::parse(name).unwrap_or_else(|| panic!("no field {name}"));
            match (field.kind(), value) {
                (FieldKind::Text, Value::String(text)) => builder.text(field, text),
                (FieldKind::Text, json) => builder.text(field, &json.to_string()),
                (FieldKind::Number, Value::String(time)) => builder.number(field, millis(time)),
                (FieldKind::Number, number) => builder.number(field, number.as_i64().unwrap()),
                (FieldKind::Key, key) => builder.key(field, key.as_u64().unwrap()),
                (FieldKind::List, list) => {
                    let entries = list.as_array().unwrap().iter();
                    entries.for_each(|entry| builder.push_list(field, entry.as_str().unwrap()));
                }
                (FieldKind::Map, map) => {
                    for (name, value) in map.as_object().unwrap() {
                        builder.push_list(field, name);
                        builder.push_list(field, value.as_str().unwrap());
                    }
                }
                (FieldKind::Uuid, _) => panic!("cubes cannot use {name}"),
            }
        }
        builder.end_row();
    }
    Batch::decode(&builder.finish()).unwrap()
}

fn millis(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

struct Flushed {
    blocks: Vec<Block>,
    counts: FlushCounts,
}

fn flushed(cubes: &Cubes, lane: CubeLane, zone: &str, max_groups: usize, events: &[Value]) -> Flushed {
    let lane = CompiledLane::new(cubes, lane, 7, TimeZone::get(zone).unwrap());
    let mut accumulator = Accumulator::new(Arc::new(lane), max_groups);
    // In two batches, so that the second one finds cells of the first.
    let (first, rest) = events.split_at(events.len() / 2);
    accumulator.add(0, &batch(first));
    accumulator.add(0, &batch(rest));
    let (blocks, counts) = accumulator.flush(0, Mark::new("1/t/0", 9));
    Flushed { blocks, counts }
}

impl Flushed {
    /// The rows of a cube and pane as text: values that are not empty, IDs of sketches in braces. The default app and
    /// platform are left out.
    fn rows(&self, cube: &str, pane: &str) -> Vec<String> {
        let mut rows = Vec::new();
        for block in &self.blocks {
            for row in 0..block.data_rows() {
                let values = |name: &str| {
                    block.columns().find(|(known, _)| *known == name).map(|(_, c)| shown(c, row))
                };
                if values("cube").as_deref() == Some(cube) && values("pane").as_deref() == Some(pane) {
                    rows.push(row_text(block, row));
                }
            }
        }
        rows
    }
}

fn row_text(block: &Block, row: usize) -> String {
    let own =
        ["cube", "pane", "keep_days", "received_max", "src", "src_end", "ledger_events", "ledger_duplicates"];
    let columns = block.columns().filter(|(name, _)| !own.contains(name));
    let cells = columns.map(|(name, column)| (name, shown(column, row)));
    let cells = cells.filter(|(_, value)| !value.is_empty() && value != "0" && value != "{}");
    let cells = cells
        .filter(|(name, value)| !matches!((*name, value.as_str()), ("app_id", "web") | ("platform", "ios")));
    let cells: Vec<String> = cells
        .map(
            |(name, value)| {
                if name == "bucket" { value } else { format!("{}={value}", name.trim_end_matches("_ids")) }
            },
        )
        .collect();
    cells.join(" ")
}

fn shown(column: &Column, row: usize) -> String {
    let start = |ends: &[usize]| if row == 0 { 0 } else { ends[row - 1] };
    match column {
        Column::Text { text, ends } => text[start(ends)..ends[row]].to_owned(),
        Column::Ids { ids, ends } => {
            let ids: Vec<String> = ids[start(ends)..ends[row]].iter().map(u64::to_string).collect();
            // Of hashed texts only the number is shown.
            if ids.iter().any(|id| id.len() > 6) {
                format!("{{{}}}", ids.len())
            } else {
                format!("{{{}}}", ids.join(","))
            }
        }
        Column::Small(values) => values[row].to_string(),
        Column::Seconds(values) => {
            jiff::Timestamp::from_second(i64::from(values[row])).unwrap().strftime("%d %H:%M:%S").to_string()
        }
        Column::Offset(values) => values[row].to_string(),
        Column::Number(values) | Column::Millis(values) => values[row].to_string(),
        other => panic!("cubes have no column of this kind: {other:?}"),
    }
}

fn built_in() -> Cubes {
    Cubes::parse(BUILT_IN).unwrap()
}

fn check(cube: &str, pane: &str, events: &[Value], expected: &[&str]) {
    let cubes = built_in();
    let lane = cubes
        .get(cube)
        .unwrap()
        .lanes()
        .find(|&lane| cubes.get(cube).unwrap().panes_of(lane).any(|known| known.as_str() == pane));
    let found = flushed(&cubes, lane.unwrap(), "Asia/Shanghai", 1000, events).rows(cube, pane);
    assert_eq!(found, expected, "{cube} {pane}");
}

#[test]
fn traffic_counts_events_of_kind_event_in_every_pane() {
    let view = json!({"event_name": "page_view", "channel_group": "direct"});
    let mut events = vec![view.clone(); 3];
    events[0]["session_start"] = 1.into();
    events[0]["is_new_device"] = 1.into();
    events[1]["event_time"] = "2026-03-02T04:00:11Z".into();
    events[2]["device_key"] = 2.into();
    for kind in ["duplicate", "test", "bot"] {
        events.push(json!({"event_name": "page_view", "kind": kind}));
    }
    events.push(json!({"event_name": "login", "platform": "server", "device_key": 0}));
    let day = [
        "01 16:00:00 platform=server event_name=login events=1",
        "01 16:00:00 event_name=page_view channel_group=direct events=3 sessions=1 new_devices=1 devices={1,2}",
    ];
    check(
        "traffic",
        "10s",
        &events,
        &[
            "02 04:00:00 event_name=page_view channel_group=direct events=2 sessions=1 new_devices=1 devices={1,2}",
            "02 04:00:00 platform=server event_name=login events=1",
            "02 04:00:10 event_name=page_view channel_group=direct events=1 devices={1}",
        ],
    );
    check(
        "traffic",
        "60s",
        &events,
        &[
            "02 04:00:00 event_name=page_view channel_group=direct events=3 sessions=1 new_devices=1 devices={1,2}",
            "02 04:00:00 platform=server event_name=login events=1",
        ],
    );
    check(
        "traffic",
        "1h",
        &events,
        &[
            "02 04:00:00 event_name=page_view channel_group=direct events=3 sessions=1 new_devices=1 devices={1,2}",
            "02 04:00:00 platform=server event_name=login events=1",
        ],
    );
    check("traffic", "1d", &events, &[day[1], day[0]]);
}

#[test]
fn activity_counts_participants_and_new_devices() {
    let activity_event = |device: u64, first: i64, days: i64| {
        json!({
            "activity_id": "a1", "activity_event_key": "draw", "activity_type": "template", "activity_status": "ok",
            "device_key": device, "user_key": device + 100, "activity_first_touch": first, "days_since_first": days,
        })
    };
    let events = [
        activity_event(1, 1, 0),
        activity_event(1, 0, 0),
        activity_event(2, 1, 3),
        json!({"event_name": "login"}),
    ];
    let row = "02 04:00:00 activity_id=a1 activity_event_key=draw activity_type=template activity_status=ok events=3 \
               new_devices=1 participants=2 devices={1,2} users={101,102}";
    check("activity", "10s", &events, &[row]);
    check("activity", "1h", &events, &[row]);
}

#[test]
fn conversions_are_attributed_events_without_repeated_orders() {
    let order = |activity: &str, repeated: i64| {
        json!({
            "event_name": "vip_opened", "attributed_activity_id": activity, "revenue_minor": 1500,
            "repeated_order": repeated,
        })
    };
    let events = [order("a1", 0), order("a1", 0), order("a1", 1), order("", 0)];
    check(
        "conversions",
        "60s",
        &events,
        &[
            "02 04:00:00 event_name=vip_opened attributed_activity_id=a1 events=2 revenue_minor=3000 devices={1}",
        ],
    );
}

#[test]
fn playback_counts_each_play_once_and_sums_the_time_played() {
    let ping = |state: &str, played: i64| {
        json!({
            "event_name": "playback_ping", "producer_type": "pgc", "category": "music", "playback_state": state,
            "played_ms": played, "rebuffer_ms": 7,
        })
    };
    let mut events = vec![ping("playing", 0), ping("playing", 6000), ping("ended", 5000)];
    events[0]["play_start"] = 1.into();
    events[0]["replay"] = 1.into();
    events[2]["effective_play"] = 1.into();
    events[2]["completed_play"] = 1.into();
    events.push(json!({"event_name": "content_view", "played_ms": 1}));
    check(
        "playback",
        "1h",
        &events,
        &[
            "02 04:00:00 producer_type=pgc category=music playback_state=ended events=1 effective_plays=1 completed_plays=1 played_ms=5000 rebuffer_ms=7 viewers={1}",
            "02 04:00:00 producer_type=pgc category=music playback_state=playing events=2 plays=1 replays=1 played_ms=6000 rebuffer_ms=14 viewers={1}",
        ],
    );
}

#[test]
fn revenue_separates_page_visits_from_orders_and_leaves_out_repeated_orders() {
    let page =
        json!({"event_name": "vip_page_viewed", "entry_point": "mobile", "quantity": 9, "payer_key": 9});
    let order = |name: &str, revenue: i64, repeated: i64| {
        json!({
            "event_name": name, "product_type": name, "currency": "CNY", "quantity": 2, "revenue_minor": revenue,
            "repeated_order": repeated, "payer_key": 7, "matched_entry_point": if name == "vip_opened" { "mobile" } else { "" },
        })
    };
    let events = [
        page.clone(),
        page,
        order("vip_opened", 1500, 0),
        order("vip_opened", 1500, 1),
        order("gift_sent", -100, 0),
        json!({"event_name": "page_view", "page_type": "vip_landing"}),
    ];
    check(
        "revenue",
        "1d",
        &events,
        &[
            "01 16:00:00 product_type=gift_sent currency=CNY revenue_minor=-100 orders=1 quantity=2 payers={7}",
            "01 16:00:00 matched_entry_point=mobile product_type=vip_opened currency=CNY revenue_minor=1500 orders=1 quantity=2 payers={7}",
            "01 16:00:00 entry_point=mobile page_visits=2",
        ],
    );
}

#[test]
fn audience_has_a_row_per_definition_of_active_and_counts_new_devices_in_one_of_them() {
    let events = [
        json!({
            "is_new_device": 1, "session_start": 1, "active_definition": ["any", "login"], "active_day": ["any", "login"],
            "active_week": ["any", "login"], "active_month": ["any", "login"], "first_channel_group": "direct",
        }),
        json!({
            "session_start": 1, "active_definition": ["any", "core_flow"], "active_day": ["core_flow"],
            "first_channel_group": "direct",
        }),
        json!({"event_name": "page_view", "first_channel_group": "direct"}),
    ];
    check(
        "audience",
        "1h",
        &events,
        &[
            "02 04:00:00 first_channel_group=direct active_definition=any sessions=2 new_devices=1 active_day_devices=1 active_week_devices=1 active_month_devices=1",
            "02 04:00:00 first_channel_group=direct active_definition=core_flow active_day_devices=1",
            "02 04:00:00 first_channel_group=direct active_definition=login active_day_devices=1 active_week_devices=1 active_month_devices=1",
        ],
    );
}

#[test]
fn retention_is_by_cohort_and_leaves_out_events_before_the_first_day() {
    let active = |cohort: &str, days: i64| json!({"first_seen_day": cohort, "days_since_first": days, "active_day": ["any"], "first_channel_group": "direct"});
    let events =
        [active("2026-03-01", 1), active("2026-03-01", 1), active("2026-03-02", 0), active("2026-03-03", -1)];
    check(
        "retention",
        "1d",
        &events,
        &[
            "01 16:00:00 first_channel_group=direct active_definition=any cohort_day=2026-03-01 active_devices=2",
            "01 16:00:00 first_channel_group=direct active_definition=any cohort_day=2026-03-02 active_devices=1",
        ],
    );
}

#[test]
fn content_is_counted_by_the_day_it_was_published() {
    let content =
        |name: &str| json!({"event_name": name, "content_source": "web_upload", "publish_day": "2026-03-01"});
    let events = [
        content("content_published"),
        content("content_featured"),
        content("content_view"),
        content("share"),
    ];
    check(
        "content",
        "1d",
        &events,
        &[
            "01 16:00:00 content_source=web_upload publish_day=2026-03-01 published=1 featured=1 content_views=1",
        ],
    );
}

#[test]
fn upload_counts_steps_and_uploads() {
    let step = |id: &str, step: &str, error: &str| json!({"event_name": "upload_step", "upload_id": id, "upload_step": step, "upload_bytes": 10, "error_code": error});
    let events = [step("u1", "transfer", ""), step("u1", "transfer", ""), step("u2", "failed", "E1")];
    check(
        "upload",
        "10s",
        &events,
        &[
            "02 04:00:00 upload_step=failed error_code=E1 events=1 bytes=10 uploads={1}",
            "02 04:00:00 upload_step=transfer events=2 bytes=20 uploads={1}",
        ],
    );
}

#[test]
fn tags_count_each_tag_of_an_event() {
    let events = [
        json!({"event_name": "tag_used", "tags": ["cats", "dogs"]}),
        json!({"event_name": "tag_used", "tags": ["cats"], "device_key": 2}),
        json!({"event_name": "tag_used"}),
    ];
    check(
        "tags",
        "1h",
        &events,
        &[
            "02 04:00:00 event_name=tag_used tag=cats uses=2 devices={1,2}",
            "02 04:00:00 event_name=tag_used tag=dogs uses=1 devices={1}",
        ],
    );
}

#[test]
fn versions_count_updates() {
    let version = |name: &str, version: &str| json!({"event_name": name, "app_version": version, "install_source": "huawei"});
    let events = [version("app_updated", "2.0"), version("login", "2.0"), version("login", "1.0")];
    check(
        "versions",
        "1h",
        &events,
        &[
            "02 04:00:00 install_source=huawei app_version=1.0 events=1 devices={1}",
            "02 04:00:00 install_source=huawei app_version=2.0 events=2 updates=1 devices={1}",
        ],
    );
}

#[test]
fn experiments_count_an_event_once_per_experiment() {
    let events = [
        json!({"event_name": "experiment_exposed", "experiments": {"player": "b", "home": "a"}}),
        json!({"event_name": "vip_opened", "experiments": {"player": "b"}, "revenue_minor": 500}),
        json!({"event_name": "vip_opened", "experiments": {"player": "b"}, "revenue_minor": 500, "repeated_order": 1}),
        json!({"event_name": "search", "experiments": {"player": "b"}, "revenue_minor": 900}),
        json!({"event_name": "search"}),
    ];
    check(
        "experiments",
        "1h",
        &events,
        &[
            "02 04:00:00 event_name=experiment_exposed experiment=home variant=a events=1 exposures=1 devices={1}",
            "02 04:00:00 event_name=experiment_exposed experiment=player variant=b events=1 exposures=1 devices={1}",
            "02 04:00:00 event_name=search experiment=player variant=b events=1 devices={1}",
            "02 04:00:00 event_name=vip_opened experiment=player variant=b events=2 revenue_minor=500 devices={1}",
        ],
    );
}

#[test]
fn creators_count_changes_of_level_and_content_published_with_a_creator() {
    let events = [
        json!({"event_name": "creator_level_changed", "creator_id": "c1", "creator_level": "gold", "previous_level": "silver"}),
        json!({"event_name": "content_published", "creator_id": "c1", "creator_level": "gold"}),
        json!({"event_name": "content_published", "creator_id": "c2", "creator_level": "gold"}),
        json!({"event_name": "content_published", "creator_level": "gold"}),
        json!({"event_name": "follow", "creator_id": "c1"}),
    ];
    check(
        "creators",
        "1d",
        &events,
        &[
            "01 16:00:00 creator_level=gold published=2 creators={2}",
            "01 16:00:00 creator_level=gold previous_level=silver level_changes=1 creators={1}",
        ],
    );
}

#[test]
fn quality_counts_every_element_by_received_time() {
    let element = |kind: &str, lateness: i64, lost: i64| {
        json!({
            "kind": kind, "received_at": "2026-03-02T05:00:03Z", "library": "js", "library_version": "1.0",
            "time_source": "client", "lateness_ms": lateness, "lost_events": lost,
        })
    };
    let events = [
        element("event", 600_000, 2),
        element("event", 600_001, 0),
        element("duplicate", 600_001, 0),
        element("bot", 0, 0),
        element("test", 0, 0),
    ];
    let rest = "library=js library_version=1.0 time_source=client kind=";
    check(
        "quality",
        "10s",
        &events,
        &[
            &format!("02 05:00:00 {rest}bot events=1"),
            &format!("02 05:00:00 {rest}duplicate events=1"),
            &format!("02 05:00:00 {rest}event events=2 lost_events=2 late_events=1"),
            &format!("02 05:00:00 {rest}test events=1"),
        ],
    );
}

#[test]
fn hours_and_days_are_whole_in_every_zone() {
    let at = |time: &str| json!({"event_time": time, "event_name": "login"});
    for (zone, times, hours, days) in [
        // The day begins within an hour: the hour is one bucket, its halves belong to two days.
        (
            "Asia/Kolkata",
            vec!["2026-03-01T18:29:59Z", "2026-03-01T18:30:00Z", "2026-03-01T19:00:00Z"],
            vec!["01 18:00:00 2", "01 19:00:00 1"],
            vec!["28 18:30:00 1", "01 18:30:00 2"],
        ),
        // 25 hours between two midnights.
        (
            "Europe/Berlin",
            vec!["2026-10-24T22:00:00Z", "2026-10-25T22:59:59Z", "2026-10-25T23:00:00Z"],
            vec!["24 22:00:00 1", "25 22:00:00 1", "25 23:00:00 1"],
            vec!["24 22:00:00 2", "25 23:00:00 1"],
        ),
    ] {
        let events: Vec<Value> = times.iter().map(|time| at(time)).collect();
        let found = flushed(&built_in(), CubeLane::Report, zone, 1000, &events);
        for (pane, expected) in [("1h", hours), ("1d", days)] {
            let rows = found.rows("traffic", pane);
            let expected: Vec<String> = expected
                .iter()
                .map(|row| {
                    let (bucket, events) = row.rsplit_once(' ').unwrap();
                    format!("{bucket} event_name=login events={events} devices={{1}}")
                })
                .collect();
            assert_eq!(rows, expected, "{zone} {pane}");
        }
    }
}

const CUSTOM: &str = r#"
    [[cube]]
    name = "custom_levels"
    panes = ["1h"]
    where = { event_name = "level_done", "properties.score" = { gte = 10 } }
    dimensions = ["properties.level", { name = "mode", field = "properties.game.mode" }]
    measures = [
      { name = "events", count = true },
      { name = "coins", sum = "properties.coins" },
      { name = "teams", uniq = "properties.team" },
      { name = "wins", count = true, where = { "properties.won" = true } },
    ]
"#;

#[test]
fn a_custom_cube_counts_by_values_in_properties() {
    let done = |properties: Value| json!({"event_name": "level_done", "properties": properties});
    let events = [
        done(
            json!({"level": 3, "score": 10, "coins": 5, "team": "red", "won": true, "game": {"mode": "duel"}}),
        ),
        done(
            json!({"level": 3.0, "score": 11, "coins": 2.5, "team": "blue", "won": false, "game": {"mode": "duel"}}),
        ),
        done(json!({"level": "3", "score": 12, "team": "red", "game": {"mode": "duel"}})),
        done(json!({"level": true, "score": 99.6})),
        done(json!({"level": 3, "score": 9})),
        done(json!({"level": 3, "score": "10"})),
        json!({"event_name": "level_done"}),
        json!({"event_name": "login", "properties": {"level": 3, "score": 10}}),
    ];
    let cubes = Cubes::built_in_with(CUSTOM).unwrap();
    let found = flushed(&cubes, CubeLane::Report, "Asia/Shanghai", 1000, &events);
    assert_eq!(
        found.rows("custom_levels", "1h"),
        [
            "02 04:00:00 properties_level=3 mode=duel events=3 coins=8 wins=1 teams={2}",
            "02 04:00:00 properties_level=true events=1"
        ]
        .map(|row| row.to_owned())
    );
}

#[test]
fn the_limit_counts_groups_and_not_buckets_and_totals_stay_exact() {
    let at = |name: &str, minute: usize| json!({"event_name": name, "event_time": format!("2026-03-02T04:{minute:02}:00Z")});
    // The limit is two groups: two groups in thirty buckets fit, the third does not.
    let mut events: Vec<Value> = (0..30).flat_map(|minute| [at("a", minute), at("b", minute)]).collect();
    let two = flushed(&built_in(), CubeLane::Live, "UTC", 2, &events);
    assert_eq!(two.counts.overflowed, 0);
    assert_eq!(two.rows("traffic", "60s").len(), 60);
    events.extend([at("c", 1), at("d", 1), at("c", 2)]);
    let three = flushed(&built_in(), CubeLane::Live, "UTC", 2, &events);
    let rows = three.rows("traffic", "60s");
    let other: Vec<&String> = rows.iter().filter(|row| row.contains(OTHER)).collect();
    assert_eq!(other.len(), 2, "{other:?}");
    assert!(
        other[0].ends_with("events=2 devices={1}") && other[1].ends_with("events=1 devices={1}"),
        "{other:?}"
    );
    assert_eq!(three.counts.overflowed, 3);
    let total = |rows: &[String]| -> i64 {
        let events = rows
            .iter()
            .filter_map(|row| row.split(" events=").nth(1)?.split(' ').next()?.parse::<i64>().ok());
        events.sum()
    };
    assert_eq!(total(&rows), 63);
}
