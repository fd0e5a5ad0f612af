//! The clients of the test: a few devices whose days fit on a page.
use serde_json::{Value, json};
use system_tests::now_ms;

use super::at;

/// What clients send: events in the order in which they are processed.
#[derive(Default)]
pub(super) struct Clients {
    pub(super) events: Vec<Value>,
}

impl Clients {
    /// An event of a device at a moment; `more` is merged into it.
    fn event(&mut self, device: &str, time: i64, name: &str, more: Value) -> &mut Self {
        let number = self.events.len();
        let mut event = json!({
            "schema_version": "1-0-0", "event_id": format!("0199f0a0-7c1e-4abc-8def-{number:012x}"),
            "event_name": name, "app_id": "web-main", "anonymous_id": device, "original_timestamp": time,
            "library": {"name": "tests", "version": "1"},
        });
        let (platform, version) = match device.split('-').next().unwrap() {
            "ios" => ("ios", Some("2.0")),
            "pc" => ("pc", Some("3.0")),
            "web" => ("web", None),
            _ => ("android", Some("1.0")),
        };
        event["platform"] = platform.into();
        match version {
            Some(version) => event["app_version"] = version.into(),
            None => event["page"] = json!({"url": "https://www.example.tv/?utm_source=baidu&utm_medium=cpc"}),
        }
        for (field, value) in more.as_object().unwrap() {
            event[field] = value.clone();
        }
        self.events.push(event);
        self
    }
}

fn play(id: &str, content: &Value, played_ms: i64) -> Value {
    json!({"content": content, "playback": {"id": id, "state": "playing", "played_ms": played_ms}})
}

fn order(id: &str, more: Value) -> Value {
    let mut commerce = json!({"order_id": id, "quantity": 1, "currency": "CNY"});
    for (field, value) in more.as_object().unwrap() {
        commerce[field] = value.clone();
    }
    json!({"commerce": commerce})
}

/// Everything that happens. Its numbers stand in [`super::daily`] and the tests.
pub(super) fn clients() -> Clients {
    let mut clients = Clients::default();
    // Cohorts of earlier days: one comes back after 30 days, one of two after 1 and 7.
    clients
        .event("old-1", at(31, 0), "app_open", json!({}))
        .event("back-1", at(8, 0), "app_open", json!({}))
        .event("back-2", at(8, 0), "app_open", json!({}))
        .event("back-1", at(7, 0), "app_open", json!({}))
        .event("old-1", at(1, 0), "app_open", json!({}))
        .event("back-1", at(1, 0), "app_open", json!({}))
        .event("back-1", at(1, 1), "login", json!({"user_id": "back"}))
        .event("android-1", at(1, 0), "app_open", json!({"install_source": "huawei"}));

    // A user who watches to the end, opens VIP twice with one order and sends a gift.
    let pgc = json!({"id": "v-1", "producer_type": "pgc", "category": "music", "duration_ms": 20_000});
    let with_user = |mut event: Value| {
        event["user_id"] = "u1".into();
        event
    };
    clients
        .event("android-1", at(0, 0), "app_open", with_user(json!({})))
        .event("android-1", at(0, 1), "content_view", with_user(json!({"content": pgc})))
        .event("android-1", at(0, 2), "playback_started", with_user(play("p1", &pgc, 0)))
        .event("android-1", at(0, 3), "playback_ping", with_user(play("p1", &pgc, 10_000)))
        .event("android-1", at(0, 4), "playback_ping", {
            let mut ping = with_user(play("p1", &pgc, 8_000));
            ping["playback"]["rebuffer_ms"] = 500.into();
            ping
        })
        .event(
            "android-1",
            at(0, 5),
            "activity_event",
            with_user(json!({"activity_event_id": "draw-1_visit"})),
        )
        .event(
            "android-1",
            at(0, 6),
            "activity_event",
            with_user(json!({"activity_event_id": "draw-1_done"})),
        )
        .event(
            "android-1",
            at(0, 7),
            "vip_page_viewed",
            with_user(json!({"commerce": {"entry_point": "play_page"}})),
        )
        .event(
            "android-1",
            at(0, 9),
            "vip_opened",
            with_user(order(
                "o1",
                json!({"product_type": "vip", "revenue_minor": 1_500, "entry_point": "play_page"}),
            )),
        )
        .event(
            "android-1",
            at(0, 10),
            "vip_opened",
            with_user(order(
                "o1",
                json!({"product_type": "vip", "revenue_minor": 1_500, "entry_point": "play_page"}),
            )),
        )
        .event(
            "android-1",
            at(0, 11),
            "gift_sent",
            with_user(order("g1", json!({"product_type": "gift", "quantity": 3, "revenue_minor": 300}))),
        );

    // A new device that logs in, watches one video twice, sees the VIP page and buys nothing.
    let ugc = json!({"id": "v-2", "producer_type": "ugc", "category": "game", "duration_ms": 100_000});
    clients
        .event("ios-1", at(0, 0), "app_open", json!({"event_index": 0}))
        .event("ios-1", at(0, 1), "login", json!({"event_index": 1, "user_id": "u2"}))
        .event("ios-1", at(0, 2), "playback_started", play("p2", &ugc, 0))
        .event("ios-1", at(0, 3), "playback_ping", play("p2", &ugc, 4_000))
        .event("ios-1", at(0, 4), "playback_started", play("p3", &ugc, 0))
        .event("ios-1", at(0, 5), "playback_ping", play("p3", &ugc, 11_000))
        .event("ios-1", at(0, 6), "vip_page_viewed", json!({"commerce": {"entry_point": "mobile"}}))
        .event("ios-1", at(0, 7), "app_updated", json!({}))
        .event("ios-1", at(0, 7), "app_updated", json!({}))
        // Two events before this one never arrive.
        .event(
            "ios-1",
            at(0, 8),
            "activity_event",
            json!({"event_index": 4, "activity_event_id": "draw-1_visit"}),
        );

    // Two buyers carry a variant of an experiment that neither was exposed to.
    let carrying = |mut event: Value, variant: &str| {
        event["experiments"] = json!({"home": variant});
        event
    };
    // A recorder that uploads, publishes twice and buys VIP where nobody saw a page.
    let upload = |id: &str, step: &str| json!({"content": {"id": id, "source": "pc_recorder"}, "upload": {"id": id, "step": step}});
    for (minute, step) in (1..).zip(["select", "edit", "encode", "transfer", "submit", "done"]) {
        clients.event("pc-1", at(0, minute), "upload_step", upload("up1", step));
    }
    let published = |id: &str, producer: &str, tags: &[&str]| json!({"id": id, "source": "pc_recorder", "producer_type": producer, "tags": tags});
    clients
        .event("pc-1", at(0, 10), "content_published", {
            json!({"content": published("c1", "pgc", &["直播", "music"]), "creator": {"id": "k1", "level": "lv2"}})
        })
        .event("pc-1", at(0, 11), "content_published", json!({"content": published("c2", "ugc", &["直播"])}))
        .event("pc-1", at(0, 12), "content_featured", {
            let mut content = published("c1", "pgc", &[]);
            content["published_at"] = at(0, 10).into();
            json!({"content": content})
        })
        .event("pc-1", at(0, 13), "creator_level_changed", {
            json!({"creator": {"id": "k1", "level": "lv2", "previous_level": "lv1"}})
        })
        .event(
            "pc-1",
            at(0, 14),
            "vip_opened",
            carrying(
                order(
                    "o2",
                    json!({"product_type": "vip", "revenue_minor": 1_000, "entry_point": "recorder_vip"}),
                ),
                "unseen",
            ),
        );

    // A browser from an advertisement: an upload that fails, an order in another currency, an unknown activity.
    for (minute, step) in [(1, "select"), (2, "transfer"), (3, "failed")] {
        clients.event("web-1", at(0, minute), "upload_step", upload("up2", step));
    }
    clients
        .event(
            "web-1",
            at(0, 4),
            "vip_opened",
            carrying(
                order("o3", json!({"product_type": "vip", "revenue_minor": 900, "currency": "USD"})),
                "control",
            ),
        )
        .event("web-1", at(0, 5), "page_view", json!({"activity_event_id": "nobody-knows_visit"}));

    // An experiment with five devices on each side: one and two of them register.
    for number in 0..10 {
        let variant = if number < 5 { "control" } else { "B" };
        let device = format!("lab-{number}");
        let experiments = json!({"home": variant});
        clients.event(&device, at(0, 0), "experiment_exposed", json!({"experiments": experiments}));
        if matches!(number, 0 | 5 | 6) {
            let more = json!({"experiments": experiments, "user_id": format!("lab-{number}")});
            clients.event(&device, at(0, 1), "register", more);
        }
    }
    // The only event that is not late.
    clients.event("now-1", now_ms(), "app_open", json!({}));
    clients
}
