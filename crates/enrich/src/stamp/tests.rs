//! Golden tables: a story is a list of events in the order in which they are processed, with the stamps of each.
mod activities;
mod devices;
mod kinds;
mod playback_and_orders;
mod restart;

use super::*;
use crate::{
    channel::BUILT_IN,
    partition::{PartitionLimits, dedupe::DedupeLimits, devices::DeviceLimits},
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

fn partition_limits() -> PartitionLimits {
    let window = DedupeLimits { length_ms: HOUR, max_entries: 100_000, max_bytes: usize::MAX };
    let devices = DeviceLimits { ttl_days: 400, max_devices: 1000, max_bytes: usize::MAX, window_ms: HOUR };
    PartitionLimits { window, devices }
}

fn partition() -> Partition {
    Partition::new(partition_limits())
}

/// A clean batch of one event per text: fields of the catalogue as `name=value`, and `m=` for the minute after Monday's
/// midnight. Other fields have the same default on every event; each event has its own ID.
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

fn stamp(batch: Batch, partition: &mut Partition) -> (Vec<u8>, StampCounts) {
    let mut stamper = Stamper {
        identity: &IdentityKey::new("secret"),
        rules: &RULES,
        activities: &REGISTRY,
        definitions: &DEFINITIONS,
        conversion_events: &["vip_opened".to_owned(), "gift_sent".to_owned()],
        days: &mut BusinessDays::new("Asia/Shanghai").unwrap(),
        agents: &mut user_agents(),
    };
    let (messages, counts) = stamper.stamp(batch, partition);
    let [message] = <[Vec<u8>; 1]>::try_from(messages).unwrap();
    (message, counts)
}

/// A value as text; a list joined by `+`.
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

/// Stamps the events of a story one after the other, and compares the fields of each with the expected ones.
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
