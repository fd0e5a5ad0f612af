//! Golden tables: what stands on the events of a story, in the order they are processed.
use super::*;
use crate::{
    channel::BUILT_IN, dedupe::WindowLimits, devices::DeviceLimits, partition::PartitionLimits,
    user_agent::Parser,
};
use event::{Activity, FieldKind};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, OnceLock},
};

const HOUR: i64 = 3_600_000;
/// 2026-03-02, a Monday, at midnight in Shanghai.
const MONDAY: i64 = 1_772_380_800_000;

const ACTIVE: &str = r#"
    any = []
    login = [{ event_name = "login" }]
    core_flow = [
      { event_name = "app_open" },
      { event_name = "content_view" },
      { event_name = "playback_ping", played_ms = { gte = 10000 } },
    ]"#;

const ACTIVITIES: &[&str] = &[
    r#"{"activity_id":"draw","type":"template","events":[{"key":"join"},{"key":"win"}],
        "rules":[{"key":"win","event_name":"share","where":{"page_type":"activity"}}]}"#,
    r#"{"activity_id":"spring","app_ids":["web-main"],"ends_at":"2026-03-03T00:00:00+08:00","events":[{"key":"join"}],
        "attribution_window":"1h"}"#,
];

static DEFINITIONS: LazyLock<Definitions> =
    LazyLock::new(|| Definitions::parse(&toml::from_str(ACTIVE).unwrap()).unwrap());
static RULES: LazyLock<ChannelRules> =
    LazyLock::new(|| ChannelRules::parse(BUILT_IN, &["www.example.tv".to_owned()]).unwrap());
static REGISTRY: LazyLock<Activities> = LazyLock::new(|| {
    let mut activities = Activities::default();
    ACTIVITIES.iter().for_each(|json| activities.insert(Activity::parse(json.as_bytes()).unwrap()));
    activities
});

fn user_agents() -> UserAgents {
    static AGENTS: OnceLock<UserAgents> = OnceLock::new();
    AGENTS.get_or_init(|| UserAgents::new(Arc::new(Parser::new().unwrap()))).clone()
}

fn partition() -> Partition {
    let window = WindowLimits { length_ms: HOUR, max_entries: 100_000 };
    let devices = DeviceLimits { ttl_days: 400, max_devices: 1000, window_ms: HOUR };
    Partition::new(PartitionLimits { window, devices })
}

/// A clean batch, an event per text: fields of the catalogue as `name=value`, `m=` for the minute after Monday's
/// midnight. What a story is not about has the same value on every event; each event has another ID.
fn clean(first_id: usize, events: &[String]) -> Batch {
    let mut builder = BatchBuilder::default();
    for (id, event) in (first_id..).zip(events) {
        let own = event.split_whitespace().map(|part| part.split_once('=').unwrap());
        let minute =
            own.clone().find(|(name, _)| *name == "m").map_or(0, |(_, value)| value.parse().unwrap());
        let time = (MONDAY + minute * 60_000).to_string();
        let id = id.to_string();
        let common = [
            ("app_id", "web-main"),
            ("anonymous_id", "d1"),
            ("platform", "web"),
            ("kind", "event"),
            ("event_name", "page_view"),
            ("event_time", time.as_str()),
            ("received_at", time.as_str()),
            ("event_id", id.as_str()),
        ];
        let fields: BTreeMap<&str, &str> =
            common.into_iter().chain(own.filter(|(name, _)| *name != "m")).collect();
        for (name, value) in fields {
            let field = Field::parse(name).unwrap_or_else(|| panic!("{name} is no field"));
            match field.kind() {
                FieldKind::Text => builder.text(field, &value.replace('%', " ")),
                FieldKind::Number => builder.number(field, value.parse().unwrap()),
                FieldKind::Uuid => builder.uuid(field, value.parse().unwrap()),
                _ => panic!("{name} is not supported here"),
            }
        }
        builder.end_row();
    }
    Batch::decode(&builder.finish()).unwrap()
}

fn stamp(batch: Batch, partition: &mut Partition) -> (Vec<u8>, Counts) {
    let mut stamper = Stamper {
        identity: &IdentityKey::new("secret"),
        rules: &RULES,
        activities: &REGISTRY,
        definitions: &DEFINITIONS,
        conversion_events: &["vip_opened".to_owned(), "gift_sent".to_owned()],
        days: &mut BusinessDays::new("Asia/Shanghai").unwrap(),
        agents: &mut user_agents(),
    };
    stamper.stamp(batch, partition)
}

/// A value as text; the entries of a list with `+` between them.
fn shown(batch: &Batch, field: Field, row: usize) -> String {
    match field.kind() {
        FieldKind::Text => batch.text(field, row).to_owned(),
        FieldKind::Number => batch.number(field, row).to_string(),
        FieldKind::Key => batch.key(field, row).to_string(),
        FieldKind::Uuid => batch.uuid(field, row).to_string(),
        FieldKind::List | FieldKind::Map => {
            let texts = batch.list(field, row).iter().map(|&text| batch.resolve(text));
            texts.collect::<Vec<_>>().join("+")
        }
    }
}

/// Stamps the events of a story one after the other, and holds against each what must stand on it.
fn story(name: &str, events: &[(&str, &str)]) {
    let mut partition = partition();
    for (row, &(event, expected)) in events.iter().enumerate() {
        let (bytes, _) = stamp(clean(row + 1, &[event.to_owned()]), &mut partition);
        let batch = Batch::decode(&bytes).unwrap();
        for (field, value) in expected.split_whitespace().map(|part| part.split_once('=').unwrap()) {
            let field = Field::parse(field).unwrap_or_else(|| panic!("{field} is no field"));
            assert_eq!(shown(&batch, field, 0), value, "{name}, event {}: {}", row + 1, field.name());
        }
    }
}

#[test]
fn every_event_in_is_one_event_out_and_its_kind_says_what_it_is() {
    let bot = "user_agent=Mozilla/5.0%(compatible;%Googlebot/2.1;%+http://www.google.com/bot.html)";
    let same = "event_id=7 anonymous_id=d2";
    let events = [
        "event_id=7",
        "kind=test",
        bot,
        "event_id=7",
        &format!("{bot} kind=test"),
        &format!("{bot} event_id=7"),
        same,
    ];
    let (bytes, counts) = stamp(clean(100, &events.map(str::to_owned)), &mut partition());
    assert_eq!(counts, Counts { events: 2, duplicates: 2, tests: 2, bots: 1 });
    assert_eq!((counts.ledger().events, counts.ledger().emitted, counts.ledger().duplicates), (7, 7, 2));
    let batch = Batch::decode(&bytes).unwrap();
    let kinds: Vec<&str> = (0..batch.rows()).map(|row| batch.text(Field::Kind, row)).collect();
    assert_eq!(kinds, ["event", "test", "bot", "duplicate", "test", "duplicate", "event"]);
}

#[test]
fn duplicates_tests_and_bots_touch_no_device_and_have_no_stamps() {
    let nothing =
        "is_new_device=0 first_seen_day= session_id= session_start=0 active_day= channel_group= activity_id=";
    let bot = "user_agent=Mozilla/5.0%(compatible;%Baiduspider/2.0) m=1";
    story(
        "others between",
        &[
            ("kind=test activity_event_id=spring_join", nothing),
            (bot, &format!("kind=bot {nothing}")),
            ("m=2", "is_new_device=1 first_seen_day=2026-03-02 session_start=1 active_day=any"),
            ("m=3 kind=test", nothing),
            ("m=90 kind=test", nothing),
            ("m=4", "is_new_device=0 session_start=0"),
            ("m=5 event_id=6", &format!("kind=duplicate {nothing}")),
        ],
    );
}

#[test]
fn keys_are_of_device_and_user_and_zero_without() {
    let mut partition = partition();
    let events = [
        "user_id=u1",
        "anonymous_id=d2 user_id=u1",
        "anonymous_id= platform=server user_id=",
        "app_id=app-main user_id=u1",
    ];
    let (bytes, _) = stamp(clean(1, &events.map(str::to_owned)), &mut partition);
    let batch = Batch::decode(&bytes).unwrap();
    let keys = |field| [0, 1, 2, 3].map(|row| batch.key(field, row));
    let [devices, users] = [keys(Field::DeviceKey), keys(Field::UserKey)];
    assert!(devices[0] != devices[1] && devices[0] != devices[3] && devices[2] == 0);
    assert!(users[0] == users[1] && users[0] != users[3] && users[2] == 0 && users[0] != 0);
    assert_eq!(partition.devices.len(), 3);
}

#[test]
fn cohort_and_active_days_weeks_and_months() {
    story(
        "one device over a week and a month",
        &[
            (
                "m=60",
                "is_new_device=1 first_seen_day=2026-03-02 days_since_first=0 active_definition=any active_day=any active_week=any active_month=any",
            ),
            (
                "m=61",
                "is_new_device=0 first_seen_day=2026-03-02 active_definition= active_day= active_week= active_month=",
            ),
            (
                "m=62 event_name=login",
                "active_definition=login active_day=login active_week=login active_month=login",
            ),
            ("m=1500", "days_since_first=1 active_definition=any active_day=any active_week= active_month="),
            (
                "m=1501 event_name=login",
                "active_definition=login active_day=login active_week= active_month=",
            ),
            // The Sunday before: another week, another day, and the month's first.
            (
                "m=-60",
                "days_since_first=-1 first_seen_day=2026-03-02 active_day=any active_week=any active_month= session_start=0",
            ),
            // 28 February, processed last.
            ("m=-1500", "days_since_first=-2 active_day=any active_week= active_month=any"),
            ("m=-1500", "active_day="),
            (
                "m=10081",
                "days_since_first=7 active_day=any active_week=any active_month= session_start=1 active_definition=any",
            ),
        ],
    );
    story(
        "the core flow",
        &[
            ("m=1 event_name=app_open", "active_definition=any active_day=any"),
            ("m=2 event_name=content_view", "active_definition="),
            ("m=3 event_name=playback_ping playback_id=p played_ms=9999", "active_definition="),
            (
                "m=4 event_name=playback_ping playback_id=p played_ms=10000",
                "active_definition=core_flow active_day=core_flow active_week=core_flow active_month=core_flow",
            ),
            ("m=5 event_name=playback_ping playback_id=p played_ms=10000", "active_definition="),
        ],
    );
    story(
        "any stands first and also on a session that starts on a day already active",
        &[
            ("m=1", "active_definition=any"),
            ("m=40", "session_start=1 active_definition=any active_day="),
            ("m=80 event_name=login", "session_start=1 active_definition=any+login active_day=login"),
        ],
    );
}

#[test]
fn sessions_are_given_or_derived() {
    let mut partition = partition();
    let events =
        ["m=0", "m=30", "m=61", "m=62 session_id=s1", "m=63", "m=200 session_id=s1", "m=62 session_id=s2"];
    let (bytes, _) = stamp(clean(1, &events.map(str::to_owned)), &mut partition);
    let batch = Batch::decode(&bytes).unwrap();
    let starts = (0..7).map(|row| batch.number(Field::SessionStart, row)).collect::<Vec<_>>();
    assert_eq!(starts, [1, 0, 1, 1, 0, 0, 1]);
    let ids: Vec<&str> = (0..7).map(|row| batch.text(Field::SessionId, row)).collect();
    assert!(ids[0].len() == 16 && ids[0] == ids[1] && ids[0] != ids[2] && ids[2].len() == 16);
    assert_eq!((ids[3], ids[5], ids[6]), ("s1", "s1", "s2"));
}

#[test]
fn a_session_keeps_the_channel_of_its_first_event_and_later_ones_inherit_the_last_touch() {
    let baidu = "page_referrer=https://www.baidu.com/s?wd=a";
    let mail = "campaign_source=news campaign_medium=email campaign_name=march";
    let own = "page_referrer=https://www.example.tv/home";
    let day = 1440;
    story(
        "evidence, and then none",
        &[
            (
                &format!("m=0 session_id=s1 {baidu}"),
                "channel_group=organic_search source=baidu first_channel_group=organic_search first_source=baidu",
            ),
            (&format!("m=1 session_id=s1 {mail}"), "channel_group=organic_search session_start=0"),
            (
                &format!("m={} session_id=s2", 30 * day + 1),
                "channel_group=email source=news medium=email campaign=march channel_rule=last_touch first_channel_group=organic_search",
            ),
            ("m=2 session_id=s1", "channel_group=organic_search"),
            (&format!("m={} session_id=s2", 30 * day + 3), "channel_group=email"),
            (&format!("m={} session_id=s3", 30 * day + 2), "channel_group=direct first_source=baidu"),
            (&format!("m={} session_id=s4 {own}", 30 * day), "channel_group=internal"),
            (&format!("m={} session_id=s5", 30 * day), "channel_group=email"),
        ],
    );
    story(
        "an older event that is processed later does not replace the touch",
        &[
            (&format!("m=10 session_id=s1 {mail}"), "channel_group=email"),
            (&format!("m=5 session_id=s2 {baidu}"), "channel_group=organic_search"),
            ("m=11 session_id=s3", "channel_group=email channel_rule=last_touch"),
        ],
    );
    story(
        "the store counts for the first event only, and is a touch",
        &[
            (
                "m=0 session_id=s1 platform=android install_source=com.huawei.appmarket",
                "channel_group=app_store",
            ),
            ("m=1 session_id=s2 platform=android", "channel_group=app_store channel_rule=last_touch"),
            (
                &format!("m={} session_id=s3 platform=android install_source=com.huawei.appmarket", 31 * day),
                "channel_group=direct",
            ),
        ],
    );
    story(
        "a click in the page's address",
        &[
            ("page_url=https://www.example.tv/?bd_vid=1", "channel_group=paid_search"),
            ("m=31", "channel_group=paid_search"),
        ],
    );
    story(
        "a mini program",
        &[
            ("platform=mini_program", "channel_group=mini_program"),
            ("m=31 platform=web", "channel_group=direct"),
        ],
    );
}

#[test]
fn an_event_without_device_has_its_own_channel_and_no_facts_of_a_device() {
    let server = "anonymous_id= platform=server";
    story(
        "from a server",
        &[
            (
                server,
                "kind=event channel_group=direct is_new_device=0 first_seen_day= session_id= active_day= lost_events=0",
            ),
            (
                &format!("{server} campaign_medium=email campaign_source=n event_number=99"),
                "channel_group=email first_channel_group= lost_events=0",
            ),
            (
                &format!("{server} event_name=gift_sent order_id=o1 user_id=u1 activity_event_id=draw_join"),
                "activity_status=ok activity_first_touch=0 attributed_activity_id= repeated_order=0",
            ),
            (
                &format!("{server} event_name=content_published content_id=c1"),
                "publish_day=2026-03-02 previous_level=",
            ),
        ],
    );
}

#[test]
fn the_install_source_is_the_events_own_or_the_first_known() {
    story(
        "known later",
        &[
            ("m=0", "install_source="),
            ("m=1 install_source=xiaomi", "install_source=xiaomi"),
            ("m=2", "install_source=xiaomi"),
            ("m=3 install_source=bundle-7", "install_source=bundle-7"),
            ("m=4", "install_source=xiaomi"),
        ],
    );
}

#[test]
fn lost_events_are_the_gaps_in_the_numbers() {
    story(
        "a gap is counted once",
        &[
            ("m=0", "lost_events=0"),
            ("m=1 event_number=5", "lost_events=0"),
            ("m=2 event_number=6", "lost_events=0"),
            ("m=3 event_number=9", "lost_events=2"),
            ("m=4 event_number=7", "lost_events=0"),
            ("m=5 event_number=10", "lost_events=0"),
        ],
    );
}

#[test]
fn a_playback_starts_is_effective_completed_and_a_replay_once() {
    let play = "content_id=c1 content_duration_ms=20000 playback_id=p1";
    story(
        "two playbacks of one content",
        &[
            (
                &format!("m=0 event_name=playback_start {play} played_ms=0"),
                "play_start=1 effective_play=0 completed_play=0 replay=0 played_total_ms=0",
            ),
            (
                &format!("m=1 event_name=playback_ping {play} played_ms=9999"),
                "play_start=0 effective_play=0 played_total_ms=9999",
            ),
            (
                &format!("m=2 event_name=playback_ping {play} played_ms=1"),
                "effective_play=1 completed_play=0 played_total_ms=10000",
            ),
            (
                &format!("m=3 event_name=playback_end {play} played_ms=8000"),
                "effective_play=0 completed_play=1 played_total_ms=18000",
            ),
            (
                &format!("m=4 event_name=playback_end {play} played_ms=8000"),
                "completed_play=0 played_total_ms=26000",
            ),
            (
                "m=5 event_name=playback_ping playback_id=p2 content_id=c1 played_ms=1",
                "play_start=1 replay=1 played_total_ms=1",
            ),
            ("m=6 event_name=playback_ping playback_id=p3 content_id=c2", "play_start=1 replay=0"),
            ("m=7 event_name=playback_ping playback_id=p4", "play_start=1 replay=0"),
            ("m=8 event_name=playback_ping playback_id=p5", "play_start=1 replay=0"),
            (
                "m=9 event_name=share playback_id=p6 played_ms=10000",
                "play_start=0 effective_play=0 played_total_ms=0",
            ),
            (
                &format!("m=65 event_name=playback_ping {play} played_ms=1"),
                "play_start=1 replay=1 played_total_ms=1",
            ),
        ],
    );
}

#[test]
fn an_order_is_matched_with_the_vip_page_before_it_and_counts_once() {
    let order =
        |minute: i64, id: &str| format!("m={minute} event_name=vip_opened order_id={id} entry_point=mobile");
    story(
        "a page and its orders",
        &[
            (
                "m=0 event_name=vip_page_viewed entry_point=play_page",
                "matched_entry_point= repeated_order=0 payer_key=0",
            ),
            ("m=1 event_name=gift_sent order_id=g1", "matched_entry_point= repeated_order=0"),
            (&order(30, "o1"), "matched_entry_point=play_page repeated_order=0"),
            (&order(30, "o2"), "matched_entry_point="),
            ("m=31 event_name=vip_page_viewed", "matched_entry_point="),
            (&order(32, "o1"), "matched_entry_point= repeated_order=1"),
            ("m=33 event_name=page_view page_type=vip_landing entry_point=pc", "matched_entry_point="),
            ("m=34 event_name=vip_page_viewed entry_point=pc", ""),
            (&order(33, "o3"), "matched_entry_point="),
            (&order(65, "o4"), "matched_entry_point="),
            (&order(64, "o5"), "matched_entry_point=pc"),
        ],
    );
}

#[test]
fn the_payer_is_the_user_or_else_the_device() {
    let events = [
        "event_name=gift_sent order_id=1 user_id=u1",
        "event_name=vip_opened order_id=2",
        "user_id=u1",
        "event_name=gift_sent order_id=1 user_id=u1",
    ];
    let (bytes, _) = stamp(clean(1, &events.map(str::to_owned)), &mut partition());
    let batch = Batch::decode(&bytes).unwrap();
    let key = |field, row| batch.key(field, row);
    assert_eq!(
        [0, 1, 2].map(|row| key(Field::PayerKey, row)),
        [key(Field::UserKey, 0), key(Field::DeviceKey, 0), 0]
    );
    assert_eq!((key(Field::PayerKey, 3), batch.number(Field::RepeatedOrder, 3)), (key(Field::UserKey, 0), 1));
}

#[test]
fn activities_are_touched_by_id_or_rule_and_conversions_attributed_to_the_last_touch() {
    story(
        "statuses",
        &[
            (
                "m=0 activity_event_id=spring_join",
                "activity_id=spring activity_event_key=join activity_type=custom activity_status=ok activity_first_touch=1",
            ),
            ("m=1 activity_event_id=spring_join", "activity_status=ok activity_first_touch=0"),
            (
                "m=2 activity_event_id=spring_left",
                "activity_status=unknown_key activity_type=custom activity_first_touch=0",
            ),
            (
                "m=3 activity_event_id=autumn_join",
                "activity_id=autumn activity_event_key=join activity_type= activity_status=unregistered",
            ),
            (
                "m=4 event_name=share page_type=activity",
                "activity_id=draw activity_event_key=win activity_type=template activity_status=ok activity_first_touch=1",
            ),
            ("m=5 event_name=share", "activity_id= activity_status="),
            (
                "m=6 event_name=share page_type=activity activity_event_id=spring_join",
                "activity_id=spring activity_first_touch=0",
            ),
            ("m=1440 activity_event_id=spring_join", "activity_status=outside_dates activity_first_touch=0"),
        ],
    );
    story(
        "attribution",
        &[
            ("m=0 event_name=gift_sent order_id=1", "attributed_activity_id="),
            ("m=10 activity_event_id=draw_join", "attributed_activity_id="),
            ("m=20 activity_event_id=spring_join", ""),
            ("m=15 activity_event_id=draw_join", ""),
            ("m=80 event_name=gift_sent order_id=2", "attributed_activity_id=spring"),
            ("m=81 event_name=vip_opened order_id=3", "attributed_activity_id="),
            ("m=19 event_name=vip_opened order_id=4", "attributed_activity_id="),
            ("m=81 event_name=login", "attributed_activity_id="),
            (
                "m=82 event_name=gift_sent order_id=5 activity_event_id=draw_join",
                "attributed_activity_id=draw",
            ),
            ("m=1522 event_name=gift_sent order_id=6", "attributed_activity_id=draw"),
            ("m=1523 event_name=gift_sent order_id=7", "attributed_activity_id="),
            (
                "m=30 event_name=gift_sent order_id=8 activity_event_id=spring_join",
                "attributed_activity_id=spring",
            ),
        ],
    );
}

#[test]
fn publish_day_and_previous_level_stand_where_they_mean_something() {
    story(
        "days",
        &[
            ("m=0 event_name=content_published content_id=c", "publish_day=2026-03-02"),
            (
                "m=0 event_name=content_published content_id=c published_at=1772380799999",
                "publish_day=2026-03-01",
            ),
            (
                "m=0 event_name=content_featured content_id=c published_at=1772380799999",
                "publish_day=2026-03-01",
            ),
            ("m=0 event_name=content_featured content_id=c", "publish_day="),
            (
                "m=0 event_name=creator_level_changed creator_level=2 previous_level=1",
                "previous_level=1 creator_level=2",
            ),
            (
                "m=0 event_name=content_published creator_level=2 previous_level=1",
                "previous_level= creator_level=2",
            ),
        ],
    );
}

#[test]
fn device_and_system_are_what_the_client_says_or_else_its_user_agent() {
    let phone = "user_agent=Mozilla/5.0%(iPhone;%CPU%iPhone%OS%17_4_1%like%Mac%OS%X)%AppleWebKit/605.1.15%(KHTML,%like%Gecko)%Mobile/15E148%MicroMessenger/8.0.47";
    story(
        "a phone",
        &[
            (
                phone,
                "os_name=iOS os_version=17.4.1 device_brand=Apple device_model=iPhone in_app_browser=wechat channel_group=in_app_browser",
            ),
            (
                &format!("{phone} os_name=Own device_manufacturer=M"),
                "os_name=Own os_version=17.4.1 device_brand=M device_model=iPhone",
            ),
            (
                "device_manufacturer=HUAWEI device_model=P60",
                "device_brand=HUAWEI device_model=P60 browser= in_app_browser=",
            ),
            ("m=1", "device_brand= browser="),
        ],
    );
}

#[test]
fn what_stands_once_in_a_batch_stands_the_same_on_every_event_of_it() {
    let one = "campaign_source=n campaign_medium=email activity_event_id=other_x install_source=xiaomi user_agent=Mozilla/5.0%(Windows%NT%10.0)";
    let events: Vec<String> = (0..400).map(|device| format!("anonymous_id=d{device} {one}")).collect();
    let (bytes, _) = stamp(clean(1, &events), &mut partition());
    let batch = Batch::decode(&bytes).unwrap();
    for field in
        [Field::ChannelGroup, Field::ActivityId, Field::OsName, Field::FirstSource, Field::FirstSeenDay]
    {
        assert_ne!(batch.text(field, 0), "", "{}", field.name());
        assert!((0..400).all(|row| batch.text(field, row) == batch.text(field, 0)), "{}", field.name());
    }
}

/// Everything enrich has stamped, as text.
fn all(bytes: &[u8]) -> Vec<String> {
    let batch = Batch::decode(bytes).unwrap();
    let row = |row| {
        let shown =
            event::FIELDS.iter().map(|&field| format!("{}={}", field.name(), shown(&batch, field, row)));
        shown.collect::<Vec<_>>().join(" ")
    };
    (0..batch.rows()).map(row).collect()
}

fn any_event() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "page_view",
        "login",
        "app_open",
        "content_view",
        "playback_ping",
        "playback_ping",
        "playback_ping",
        "vip_page_viewed",
        "vip_opened",
        "gift_sent",
        "share",
    ]);
    let evidence = prop::sample::select(vec![
        "",
        "",
        "",
        "page_referrer=https://www.baidu.com/",
        "page_referrer=https://www.example.tv/",
        "campaign_source=n campaign_medium=email",
        "install_source=xiaomi",
        "platform=mini_program",
        "page_url=https://www.example.tv/?gclid=1",
    ]);
    let activity = prop::sample::select(vec!["", "", "", "draw_join", "spring_join", "other_x"]);
    let session = prop::option::of(0..6_u32);
    let play = (0..4_u32, 0..3_u32, 0..8_000_i64);
    // Minutes it is late, and numbers it skips.
    let (late, skipped) = (prop_oneof![4 => Just(0_i64), 1 => 0..5000_i64], 0..3_u32);
    (0..5_u32, name, evidence, activity, session, play, late, skipped).prop_map(
        |(device, name, evidence, activity, session, (playback, content, played), late, skipped)| {
            let session = session.map(|id| format!("session_id=s{id}")).unwrap_or_default();
            format!(
                "anonymous_id=d{device} event_name={name} {evidence} {session} activity_event_id={activity} page_type=activity \
                 playback_id=p{playback} content_id=c{content} played_ms={played} content_duration_ms=9000 \
                 order_id=o{content} entry_point=e{playback} late={late} skipped={skipped}"
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// A partition that is restarted at any point, from the changelog and one window of what was written, stamps what one
    /// stamps that never was.
    #[test]
    fn a_restart_at_any_point_changes_no_stamp(
        batches in prop::collection::vec((0..50_i64, prop::collection::vec(any_event(), 1..12), any::<bool>(), any::<bool>()), 1..40)
    ) {
        let identity = IdentityKey::new("secret");
        let (mut steady, mut restarted) = (partition(), partition());
        let mut changelog: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut written: Vec<(i64, Vec<u8>)> = Vec::new();
        let (mut minute, mut id, mut number) = (0, 1, 0);
        for (minutes, events, restart, abort) in batches {
            minute += minutes;
            let received = MONDAY + minute * 60_000;
            let events: Vec<String> = events
                .iter()
                .map(|event| {
                    let (event, late) = event.split_once(" late=").unwrap();
                    let (late, skipped) = late.split_once(" skipped=").unwrap();
                    number += 1 + skipped.parse::<i64>().unwrap();
                    let minute = minute - late.parse::<i64>().unwrap();
                    format!("{event} m={minute} received_at={received} event_number={number}")
                })
                .collect();
            let batch = clean(id, &events);
            id += events.len();
            if restart {
                restarted = partition();
                for (key, value) in &changelog {
                    restarted.restore_state(&key.to_be_bytes(), Some(value)).unwrap();
                }
                let newest = written.last().map_or(0, |(received, _)| *received);
                for (_, message) in written.iter().filter(|(received, _)| *received >= newest - HOUR) {
                    restarted.replay(message, &identity, &RULES).unwrap();
                }
                restarted.replayed();
            }
            let (expected, _) = stamp(batch.clone(), &mut steady);
            steady.devices.changes().for_each(drop);
            steady.commit();
            if abort {
                stamp(batch.clone(), &mut restarted);
                restarted.devices.changes().for_each(drop);
                restarted.abort();
            }
            let (found, _) = stamp(batch, &mut restarted);
            prop_assert_eq!(all(&found), all(&expected));
            for (key, device) in restarted.devices.changes() {
                device.unwrap().encode(changelog.entry(key).or_default());
            }
            restarted.commit();
            written.push((received, found));
        }
    }
}
