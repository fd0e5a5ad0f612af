//! Stamps of devices and sessions.
use super::*;

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
        "any comes first, also on a session that starts on a day already active",
        &[
            ("m=1", "active_definition=any"),
            ("m=40", "session_start=1 active_definition=any active_day="),
            ("m=80 event_name=login", "session_start=1 active_definition=any+login active_day=login"),
        ],
    );
}

#[test]
fn sessions_are_named_by_the_client_or_derived() {
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
fn an_event_without_device_has_its_own_channel_and_no_stamps_of_a_device() {
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
