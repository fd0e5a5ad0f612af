//! Stamps of playbacks and orders.
use super::*;

#[test]
fn a_playback_is_stamped_once_as_started_effective_completed_and_rewatched() {
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
