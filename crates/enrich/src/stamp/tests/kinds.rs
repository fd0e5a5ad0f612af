//! Kinds, keys, and the texts that events of a batch share.
use super::*;

#[test]
fn every_event_gives_one_enriched_event_with_its_kind() {
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
    assert_eq!(counts, StampCounts { events: 2, duplicates: 2, tests: 2, bots: 1 });
    assert_eq!((counts.ledger().events, counts.ledger().emitted, counts.ledger().duplicates), (7, 7, 2));
    let batch = Batch::decode(&bytes).unwrap();
    let kinds: Vec<&str> = (0..batch.rows()).map(|row| batch.text(Field::Kind, row)).collect();
    assert_eq!(kinds, ["event", "test", "bot", "duplicate", "test", "duplicate", "event"]);
}

#[test]
fn duplicates_tests_and_bots_are_applied_to_no_device_and_have_no_stamps() {
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
fn keys_identify_device_and_user_and_are_zero_without() {
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
fn device_and_system_come_from_the_client_or_else_from_its_user_agent() {
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
fn a_text_shared_by_a_batch_is_stamped_on_all_of_its_events() {
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
