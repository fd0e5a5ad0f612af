//! Device, session, channel and active periods.
use event::Field;

use super::stamp::StampReason;
use crate::command::trace::event::TracedEvent;

pub(super) fn device(event: &TracedEvent, stamps: &mut Vec<StampReason>) {
    let key = |field| event.batch.key(field, 0);
    if key(Field::DeviceKey) == 0 {
        stamps.push(StampReason::new(
            "device_key",
            "0",
            "no anonymous_id, so the event belongs to no device",
        ));
    } else {
        let reason = format!("{} and {}", event.text(Field::AppId), event.text(Field::AnonymousId));
        stamps.push(StampReason::new("device_key", key(Field::DeviceKey).to_string(), reason));
    }
    if key(Field::UserKey) != 0 {
        let user = format!("user_id {}", event.text(Field::UserId));
        stamps.push(StampReason::new("user_key", key(Field::UserKey).to_string(), user));
    }
    let first_day = event.text(Field::FirstSeenDay);
    if !first_day.is_empty() {
        let reason = match (event.number(Field::IsNewDevice), event.number(Field::DaysSinceFirst)) {
            (1, _) => "a new device: this is its first accepted event".to_owned(),
            (_, days @ 0..) => format!("{days} business days before this event"),
            (_, days) => format!("{} business days after this event, which was processed later", -days),
        };
        stamps.push(StampReason::new("first_seen_day", first_day, reason));
    }
}

pub(super) fn session(event: &TracedEvent, stamps: &mut Vec<StampReason>) {
    let session = event.text(Field::SessionId);
    if session.is_empty() || !event.has_device_facts() {
        return;
    }
    let derived = session.len() == 16 && session.bytes().all(|byte| byte.is_ascii_hexdigit());
    let reason = if derived {
        "derived by enrich (or an ID of the client with 16 hex digits): 30 min without an event start a new session"
    } else {
        "the client's ID"
    };
    let start = if event.number(Field::SessionStart) == 1 { "starts here" } else { "continues" };
    stamps.push(StampReason::new("session", format!("{session} {start}"), reason));
}

pub(super) fn channel(event: &TracedEvent, stamps: &mut Vec<StampReason>) {
    let group = event.text(Field::ChannelGroup);
    if group.is_empty() {
        return;
    }
    let parts = [Field::ChannelSource, Field::ChannelMedium, Field::ChannelCampaign];
    let parts = parts.map(|field| event.text(field)).into_iter().filter(|part| !part.is_empty());
    let value: Vec<&str> = std::iter::once(group).chain(parts).collect();
    let rule = event.text(Field::ChannelRule);
    let reason = if rule == "last_touch" {
        "the session's first event has no evidence, so the device's last touch within 30 days decides"
            .to_owned()
    } else if !event.has_device_facts() || event.number(Field::SessionStart) == 1 {
        format!("rule {rule}{}", evidence(event))
    } else {
        format!("rule {rule}, decided by the session's first event")
    };
    stamps.push(StampReason::new("channel", value.join(" / "), reason));
    let first = event.text(Field::FirstChannelGroup);
    if !first.is_empty() {
        let source = event.text(Field::FirstSource);
        let value = if source.is_empty() { first.to_owned() } else { format!("{first} / {source}") };
        stamps.push(StampReason::new("first_channel", value, "the channel of the device's first event"));
    }
    let install = event.text(Field::InstallSource);
    if !install.is_empty() {
        let reason = "from the event, or the first one known of the device";
        stamps.push(StampReason::new("install_source", install, reason));
    }
}

/// The fields of the event that channel rules look at.
fn evidence(event: &TracedEvent) -> String {
    let fields = [
        Field::CampaignSource,
        Field::CampaignMedium,
        Field::CampaignName,
        Field::ClickIdType,
        Field::InstallSource,
        Field::PageReferrer,
        Field::PageUrl,
    ];
    let set = fields.into_iter().filter(|&field| !event.text(field).is_empty());
    let set: Vec<String> = set.map(|field| format!("{} {}", field.name(), event.text(field))).collect();
    if set.is_empty() { ": no evidence on the event".into() } else { format!(" on {}", set.join(", ")) }
}

pub(super) fn active(event: &TracedEvent, stamps: &mut Vec<StampReason>) {
    for (stamp, field, period) in [
        ("active_day", Field::ActiveDay, "business day"),
        ("active_week", Field::ActiveWeek, "ISO week"),
        ("active_month", Field::ActiveMonth, "calendar month"),
    ] {
        let definitions = event.list(field);
        if !definitions.is_empty() {
            let reason = format!("by each definition, the device's first qualifying event of the {period}");
            stamps.push(StampReason::new(stamp, definitions.join(", "), reason));
        }
    }
}
