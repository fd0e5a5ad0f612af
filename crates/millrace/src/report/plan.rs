//! What stands in a report, as data. A metric is named as `metric` or `metric:definition`.

/// Name of the last sheet.
pub(crate) const DEFINITIONS: &str = "指标定义 Definitions";

/// One sheet.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) zh: &'static str,
    pub(crate) en: &'static str,
    pub(crate) parts: &'static [Part],
}

impl Subject {
    /// The sheet's name.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.zh, self.en)
    }
}

/// A part of a sheet.
#[derive(Debug)]
pub(crate) enum Part {
    /// One row per metric, with its changes.
    Numbers(&'static [&'static str]),
    /// Share of devices that came back, for the cohort whose day is just over.
    Retention(&'static [&'static str]),
    /// One metric split by dimensions, the greatest first, with changes.
    Split(&'static str, &'static [&'static str]),
    /// Metrics day by day, with a chart.
    Series(&'static [&'static str]),
    /// Cohort days against days since.
    Triangle(&'static str),
}

use Part::{Numbers, Retention, Series, Split, Triangle};

/// The sheets, in order.
pub(crate) const SUBJECTS: &[Subject] = &[
    Subject {
        zh: "概览",
        en: "Overview",
        parts: &[
            Numbers(&[
                "events",
                "new_devices",
                "active_devices_day",
                "active_devices_week",
                "active_devices_month",
                "sessions",
                "plays",
                "watch_time",
                "videos_published",
                "vip_orders",
                "gifts_sent",
                "completeness",
            ]),
            Series(&["active_devices_day", "new_devices"]),
            Series(&["events"]),
        ],
    },
    Subject {
        zh: "用户",
        en: "Users",
        parts: &[
            Numbers(&[
                "new_devices",
                "active_devices_day:any",
                "active_devices_day:login",
                "active_devices_day:core_flow",
                "active_devices_week:any",
                "active_devices_week:login",
                "active_devices_week:core_flow",
                "active_devices_month:any",
                "active_devices_month:login",
                "active_devices_month:core_flow",
                "stickiness:any",
                "sessions",
                "sessions_per_device",
            ]),
            Series(&["active_devices_day:any", "active_devices_day:login", "active_devices_day:core_flow"]),
            Split("active_devices_day", &["platform"]),
            Split("active_devices_day", &["app_id"]),
            Split("active_devices_day", &["device_model"]),
            Split("active_devices_day", &["os_name", "os_version"]),
            Split("new_devices", &["install_source"]),
        ],
    },
    Subject {
        zh: "留存",
        en: "Retention",
        parts: &[
            Retention(&[
                "retention_day_1",
                "retention_day_3",
                "retention_day_7",
                "retention_day_14",
                "retention_day_30",
                "retention_day_1:login",
                "retention_day_1:core_flow",
            ]),
            Triangle("retention"),
        ],
    },
    Subject {
        zh: "渠道",
        en: "Channels",
        parts: &[
            Split("new_devices", &["channel_group"]),
            Split("active_devices_day", &["channel_group"]),
            Split("sessions", &["channel_group"]),
            Split("vip_open_rate", &["channel_group"]),
        ],
    },
    Subject {
        zh: "活动",
        en: "Activities",
        parts: &[
            Numbers(&[
                "activity_events",
                "activity_devices",
                "activity_users",
                "activity_participants",
                "activity_new_devices",
                "activity_conversions",
            ]),
            Split("activity_events", &["activity_id"]),
            Split("activity_devices", &["activity_id"]),
            Split("activity_participants", &["activity_id"]),
            Split("activity_completion_rate", &[]),
            Split("activity_new_devices", &["activity_id"]),
            Split("activity_conversions", &["activity_id"]),
            Split("activity_revenue", &["activity_id"]),
            Split("activity_events:all", &["activity_status"]),
        ],
    },
    Subject {
        zh: "内容与 PGC",
        en: "Content",
        parts: &[
            Numbers(&[
                "videos_published",
                "videos_featured",
                "featured_rate",
                "content_views",
                "pgc_share_of_content",
                "pgc_share_of_plays",
                "pgc_share_of_watch_time",
            ]),
            Series(&["pgc_share_of_content", "pgc_share_of_plays", "pgc_share_of_watch_time"]),
            Split("videos_published", &["content_source"]),
            Split("featured_rate", &["content_source"]),
            Split("videos_published", &["producer_type"]),
        ],
    },
    Subject {
        zh: "播放",
        en: "Playback",
        parts: &[
            Numbers(&[
                "plays",
                "effective_plays",
                "effective_play_rate",
                "play_completion_rate",
                "watch_time",
                "watch_time_per_viewer",
                "viewers",
                "replay_rate",
                "rebuffer_ratio",
            ]),
            Series(&["plays", "effective_plays"]),
            Split("plays", &["platform"]),
            Split("watch_time", &["category"]),
            Split("plays", &["hour"]),
        ],
    },
    Subject {
        zh: "会员与礼物",
        en: "VIP and gifts",
        parts: &[
            Numbers(&[
                "vip_page_visits",
                "vip_orders",
                "vip_payers",
                "vip_open_rate:by_entry_point",
                "vip_open_rate:matched",
                "gifts_sent",
                "gift_items",
                "gift_senders",
            ]),
            Split("vip_revenue", &[]),
            Split("gift_value", &[]),
            Split("vip_open_rate:by_entry_point", &["entry_point"]),
            Split("vip_open_rate:matched", &["entry_point"]),
            Series(&["vip_orders", "gifts_sent"]),
        ],
    },
    Subject {
        zh: "上传与标签",
        en: "Uploads and tags",
        parts: &[
            Numbers(&["upload_failure_rate", "tag_uses", "tag_devices"]),
            Split("uploads", &[]),
            Split("upload_step_conversion:of_begun", &[]),
            Split("upload_step_conversion:of_previous", &[]),
            Split("tag_uses", &["tag"]),
        ],
    },
    Subject {
        zh: "版本",
        en: "Versions",
        parts: &[
            Numbers(&["version_devices", "updates", "update_rate", "updates_per_device"]),
            Split("version_adoption", &["platform"]),
            Split("version_devices", &["install_source"]),
        ],
    },
    Subject {
        zh: "实验与创作者",
        en: "Experiments",
        parts: &[
            Split("experiment_devices", &[]),
            Split("experiment_exposures", &[]),
            Split("experiment_conversion_rate:exposed_vip_opened", &[]),
            Split("experiment_lift:exposed_vip_opened", &[]),
            Split("experiment_conversion_rate:vip_opened", &[]),
            Split("experiment_lift:vip_opened", &[]),
            Split("creators", &[]),
            Numbers(&["creator_promotions", "creator_level_changes"]),
        ],
    },
    Subject {
        zh: "数据质量",
        en: "Quality",
        parts: &[
            Numbers(&[
                "received",
                "dead_letters",
                "duplicate_rate",
                "late_rate",
                "client_loss_rate",
                "completeness:of_sent",
                "completeness:of_received",
                "freshness",
            ]),
            Split("received", &["kind"]),
            Split("dead_letters", &["code"]),
            Split("client_loss_rate", &["platform"]),
            Series(&["completeness:of_sent", "completeness:of_received"]),
        ],
    },
];
