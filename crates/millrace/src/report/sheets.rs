//! The sheets of a report, as data. A metric is named `metric` or `metric:definition`.

/// The name of the last sheet.
pub(crate) const DEFINITIONS: &str = "指标定义 Definitions";

/// One sheet.
#[derive(Debug)]
pub(crate) struct Sheet {
    pub(crate) zh: &'static str,
    pub(crate) en: &'static str,
    pub(crate) sections: &'static [Section],
}

impl Sheet {
    /// The name of the sheet.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.zh, self.en)
    }
}

/// A section of a sheet.
#[derive(Debug)]
pub(crate) enum Section {
    /// One row per metric, compared with earlier periods.
    Numbers(&'static [&'static str]),
    /// Retention of the latest cohort whose period is over.
    Retention(&'static [&'static str]),
    /// One metric split by dimensions, the largest value first, compared with earlier periods.
    Split(&'static str, &'static [&'static str]),
    /// Metrics by day, with a chart.
    Series(&'static [&'static str]),
    /// Retention by cohort day and days since then.
    Triangle(&'static str),
}

use Section::{Numbers, Retention, Series, Split, Triangle};

/// The sheets, in order.
pub(crate) const SHEETS: &[Sheet] = &[
    Sheet {
        zh: "概览",
        en: "Overview",
        sections: &[
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
    Sheet {
        zh: "用户",
        en: "Users",
        sections: &[
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
    Sheet {
        zh: "留存",
        en: "Retention",
        sections: &[
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
    Sheet {
        zh: "渠道",
        en: "Channels",
        sections: &[
            Split("new_devices", &["channel_group"]),
            Split("active_devices_day", &["channel_group"]),
            Split("sessions", &["channel_group"]),
            Split("vip_open_rate", &["channel_group"]),
        ],
    },
    Sheet {
        zh: "活动",
        en: "Activities",
        sections: &[
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
    Sheet {
        zh: "内容与 PGC",
        en: "Content",
        sections: &[
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
    Sheet {
        zh: "播放",
        en: "Playback",
        sections: &[
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
    Sheet {
        zh: "会员与礼物",
        en: "VIP and gifts",
        sections: &[
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
    Sheet {
        zh: "上传与标签",
        en: "Uploads and tags",
        sections: &[
            Numbers(&["upload_failure_rate", "tag_uses", "tag_devices"]),
            Split("uploads", &[]),
            Split("upload_step_conversion:of_begun", &[]),
            Split("upload_step_conversion:of_previous", &[]),
            Split("tag_uses", &["tag"]),
        ],
    },
    Sheet {
        zh: "版本",
        en: "Versions",
        sections: &[
            Numbers(&["version_devices", "updates", "update_rate", "updates_per_device"]),
            Split("version_adoption", &["platform"]),
            Split("version_devices", &["install_source"]),
        ],
    },
    Sheet {
        zh: "实验与创作者",
        en: "Experiments",
        sections: &[
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
    Sheet {
        zh: "数据质量",
        en: "Quality",
        sections: &[
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
