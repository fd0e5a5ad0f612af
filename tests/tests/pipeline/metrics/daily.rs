//! What a person counts on the day.

/// Dimensions, and the value or NULL.
pub(super) type Rows = &'static [(&'static str, Option<f64>)];

const EXPOSED_BUT_IDLE: Rows = &[("home|B", Some(0.0)), ("home|control", Some(0.0)), ("home|unseen", None)];
const SEEN_BUT_IDLE: Rows = &[("home|B", Some(0.0)), ("home|control", Some(0.0)), ("home|unseen", Some(0.0))];
const UNKNOWN: Rows = &[("home|B", None), ("home|unseen", None)];

/// Questions about the day, and every row of their answers. Nobody bought from `recorder_vip` after a visit, and
/// nobody visited it at all: that is NULL, where a visit without an order is 0.
pub(super) const DAILY: &[(&str, Rows)] = &[
    ("new_devices", &[("", Some(13.0))]),
    ("new_devices --by channel_group", &[("direct", Some(12.0)), ("paid_search", Some(1.0))]),
    (
        "new_devices --by platform",
        &[("android", Some(10.0)), ("ios", Some(1.0)), ("pc", Some(1.0)), ("web", Some(1.0))],
    ),
    ("active_devices_day --by install_source", &[("", Some(13.0)), ("huawei", Some(1.0))]),
    (
        "active_devices_day --by app_version",
        &[("", Some(1.0)), ("1.0", Some(11.0)), ("2.0", Some(1.0)), ("3.0", Some(1.0))],
    ),
    ("active_devices_day --definition login", &[("", Some(1.0))]),
    ("active_devices_day --definition core_flow --by platform", &[("android", Some(1.0))]),
    ("sessions", &[("", Some(14.0))]),
    ("sessions_per_device", &[("", Some(1.0))]),
    (
        "sessions_per_device --definition per_range --by platform",
        &[("android", Some(1.0)), ("ios", Some(1.0)), ("pc", Some(1.0)), ("web", Some(1.0))],
    ),
    ("devices", &[("", Some(14.0))]),
    ("devices --by event_name,platform --app app-main", &[]),
    ("activity_events", &[("", Some(3.0))]),
    (
        "activity_events --definition all --by activity_status",
        &[("ok", Some(3.0)), ("unregistered", Some(1.0))],
    ),
    ("activity_devices --by activity_id", &[("draw-1", Some(2.0))]),
    ("activity_devices --definition all", &[("", Some(3.0))]),
    ("activity_users", &[("", Some(1.0))]),
    ("activity_participants --by activity_id", &[("draw-1", Some(2.0)), ("nobody-knows", Some(0.0))]),
    ("activity_new_devices", &[("", Some(1.0))]),
    ("activity_completion_rate", &[("draw-1|done", Some(0.5)), ("draw-1|visit", Some(1.0))]),
    ("activity_completion_rate --definition completing_key", &[("draw-1", Some(0.5))]),
    (
        "activity_conversions --by activity_id,event_name",
        &[("draw-1|gift_sent", Some(1.0)), ("draw-1|vip_opened", Some(1.0))],
    ),
    ("activity_converting_devices", &[("", Some(1.0))]),
    ("activity_revenue --by activity_id", &[("CNY|draw-1", Some(1_800.0))]),
    ("videos_published --by content_source", &[("", Some(0.0)), ("pc_recorder", Some(2.0))]),
    ("videos_published --definition publish_day", &[("", Some(2.0))]),
    ("videos_featured", &[("", Some(1.0))]),
    ("videos_featured --definition publish_day", &[("", Some(1.0))]),
    ("featured_rate --by content_source", &[("pc_recorder", Some(0.5))]),
    ("content_views", &[("", Some(1.0))]),
    ("pgc_share_of_content", &[("", Some(0.5))]),
    ("pgc_share_of_plays", &[("", Some(1.0 / 3.0))]),
    ("pgc_share_of_watch_time", &[("", Some(18.0 / 33.0))]),
    ("plays --by platform,hour", &[("android|10", Some(1.0)), ("ios|10", Some(2.0))]),
    ("plays --by producer_type", &[("pgc", Some(1.0)), ("ugc", Some(2.0))]),
    ("effective_plays", &[("", Some(2.0))]),
    ("effective_play_rate", &[("", Some(2.0 / 3.0))]),
    ("play_completion_rate", &[("", Some(1.0 / 3.0))]),
    ("watch_time", &[("", Some(33_000.0 / 3_600_000.0))]),
    ("watch_time_per_viewer", &[("", Some(16.5))]),
    ("viewers", &[("", Some(2.0))]),
    ("replay_rate", &[("", Some(1.0 / 3.0))]),
    ("rebuffer_ratio", &[("", Some(500.0 / 33_500.0))]),
    (
        "vip_page_visits --by entry_point",
        &[("", Some(0.0)), ("mobile", Some(1.0)), ("play_page", Some(1.0)), ("recorder_vip", Some(0.0))],
    ),
    ("vip_orders", &[("", Some(3.0))]),
    ("vip_revenue", &[("CNY", Some(2_500.0)), ("USD", Some(900.0))]),
    ("vip_payers", &[("", Some(3.0))]),
    ("vip_open_rate", &[("", Some(1.5))]),
    (
        "vip_open_rate --by entry_point",
        &[("", None), ("mobile", Some(0.0)), ("play_page", Some(1.0)), ("recorder_vip", None)],
    ),
    ("vip_open_rate --definition matched", &[("", Some(0.5))]),
    (
        "vip_open_rate --definition matched --by entry_point",
        &[("", None), ("mobile", Some(0.0)), ("play_page", Some(1.0)), ("recorder_vip", None)],
    ),
    ("gifts_sent", &[("", Some(1.0))]),
    ("gift_items", &[("", Some(3.0))]),
    ("gift_senders", &[("", Some(1.0))]),
    ("gift_value", &[("CNY", Some(300.0))]),
    (
        "uploads",
        &[
            ("done", Some(1.0)),
            ("edit", Some(1.0)),
            ("encode", Some(1.0)),
            ("failed", Some(1.0)),
            ("select", Some(2.0)),
            ("submit", Some(1.0)),
            ("transfer", Some(2.0)),
        ],
    ),
    (
        "upload_step_conversion",
        &[
            ("done", Some(0.5)),
            ("edit", Some(0.5)),
            ("encode", Some(0.5)),
            ("select", Some(1.0)),
            ("submit", Some(0.5)),
            ("transfer", Some(1.0)),
        ],
    ),
    (
        "upload_step_conversion --definition of_previous",
        &[
            ("done", Some(1.0)),
            ("edit", Some(0.5)),
            ("encode", Some(1.0)),
            ("select", None),
            ("submit", Some(0.5)),
            ("transfer", Some(2.0)),
        ],
    ),
    ("upload_failure_rate", &[("", Some(0.5))]),
    ("tag_uses --by tag", &[("music", Some(1.0)), ("直播", Some(2.0))]),
    ("tag_uses --definition published", &[("", Some(3.0))]),
    ("tag_devices", &[("", Some(1.0))]),
    ("version_devices", &[("", Some(13.0))]),
    ("version_adoption", &[("1.0", Some(11.0 / 13.0)), ("2.0", Some(1.0 / 13.0)), ("3.0", Some(1.0 / 13.0))]),
    // One device updates twice.
    (
        "updates --by app_version",
        &[("", Some(0.0)), ("1.0", Some(0.0)), ("2.0", Some(2.0)), ("3.0", Some(0.0))],
    ),
    ("update_rate", &[("", Some(1.0 / 13.0))]),
    ("update_rate --by platform", &[("android", Some(0.0)), ("ios", Some(1.0)), ("pc", Some(0.0))]),
    ("updates_per_device", &[("", Some(2.0 / 13.0))]),
    (
        "experiment_exposures",
        &[("home|B", Some(5.0)), ("home|control", Some(5.0)), ("home|unseen", Some(0.0))],
    ),
    ("experiment_devices", &[("home|B", Some(5.0)), ("home|control", Some(6.0)), ("home|unseen", Some(1.0))]),
    // Who was not exposed counts among those seen only; where nobody was exposed there is nothing to divide by.
    ("experiment_conversion_rate", EXPOSED_BUT_IDLE),
    ("experiment_conversion_rate --definition exposed_gift_sent", EXPOSED_BUT_IDLE),
    ("experiment_conversion_rate --definition exposed_content_published", EXPOSED_BUT_IDLE),
    (
        "experiment_conversion_rate --definition exposed_register",
        &[("home|B", Some(0.4)), ("home|control", Some(0.2)), ("home|unseen", None)],
    ),
    (
        "experiment_conversion_rate --definition vip_opened",
        &[("home|B", Some(0.0)), ("home|control", Some(1.0 / 6.0)), ("home|unseen", Some(1.0))],
    ),
    ("experiment_conversion_rate --definition gift_sent", SEEN_BUT_IDLE),
    ("experiment_conversion_rate --definition content_published", SEEN_BUT_IDLE),
    (
        "experiment_conversion_rate --definition register",
        &[("home|B", Some(0.4)), ("home|control", Some(1.0 / 6.0)), ("home|unseen", Some(0.0))],
    ),
    // Where nobody of the control did it, there is nothing to divide by either.
    ("experiment_lift", UNKNOWN),
    ("experiment_lift --definition exposed_gift_sent", UNKNOWN),
    ("experiment_lift --definition exposed_content_published", UNKNOWN),
    ("experiment_lift --definition exposed_register", &[("home|B", Some(1.0)), ("home|unseen", None)]),
    ("experiment_lift --definition vip_opened", &[("home|B", Some(-1.0)), ("home|unseen", Some(5.0))]),
    ("experiment_lift --definition gift_sent", UNKNOWN),
    ("experiment_lift --definition content_published", UNKNOWN),
    ("experiment_lift --definition register", &[("home|B", Some(1.4)), ("home|unseen", Some(-1.0))]),
    ("creators", &[("lv2", Some(1.0))]),
    ("creator_promotions", &[("", Some(1.0))]),
    (
        "creator_level_changes --by previous_level,creator_level",
        &[("lv1|lv2", Some(1.0)), ("|lv2", Some(0.0))],
    ),
];
