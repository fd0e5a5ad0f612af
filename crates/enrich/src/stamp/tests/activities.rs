//! Stamps of activities, publishing days and levels.
use super::*;

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
fn publish_day_and_previous_level_are_stamped_only_where_they_apply() {
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
