//! Playback, orders, content and client.
use event::Field;

use super::stamp::StampReason;
use crate::{command::trace::event::TracedEvent, output::text::duration};

pub(super) fn playback(event: &TracedEvent, stamps: &mut Vec<StampReason>) {
    let id = event.text(Field::PlaybackId);
    let is_playback = event.text(Field::EventName).starts_with("playback_");
    if id.is_empty() || !event.has_device_facts() || !is_playback {
        return;
    }
    let mut reasons = Vec::new();
    for (field, reason) in [
        (Field::PlayStart, "its first event"),
        (Field::Replay, "a replay: the device started this content before"),
        (Field::EffectivePlay, "effective: reaches 10 s with this event"),
        (Field::CompletedPlay, "completed: reaches 90 % of the content with this event"),
    ] {
        if event.number(field) == 1 {
            reasons.push(reason);
        }
    }
    let total = event.number(Field::PlayedTotalMs);
    let value = format!("{id}, {} watched so far", duration(total));
    stamps.push(StampReason::new("playback", value, reasons.join("; ")));
}

pub(super) fn order(event: &TracedEvent, stamps: &mut Vec<StampReason>) {
    let payer = event.batch.key(Field::PayerKey, 0);
    if payer != 0 {
        let reason =
            if payer == event.batch.key(Field::UserKey, 0) { "the user's key" } else { "the device's key" };
        stamps.push(StampReason::new("payer_key", payer.to_string(), reason));
    }
    if event.number(Field::RepeatedOrder) == 1 {
        let reason = "the device sent this order_id before: counted as an event, not as an order";
        stamps.push(StampReason::new("repeated_order", event.text(Field::OrderId), reason));
    } else if event.text(Field::EventName) == "vip_opened" && event.has_device_facts() {
        let matched = event.text(Field::MatchedEntryPoint);
        let (value, reason) = if matched.is_empty() {
            ("none", "no unused VIP page view with an entry point within the 30 min before")
        } else {
            (matched, "the device's last VIP page view within the 30 min before; each is used once")
        };
        stamps.push(StampReason::new("matched_entry_point", value, reason));
    }
}

pub(super) fn content_and_client(event: &TracedEvent, stamps: &mut Vec<StampReason>) {
    let day = event.text(Field::PublishDay);
    if !day.is_empty() {
        let reason = if event.number(Field::PublishedAt) > 0 {
            "business day of content.published_at"
        } else {
            "business day of the event: content_published without published_at"
        };
        stamps.push(StampReason::new("publish_day", day, reason));
    }
    let parts = [Field::DeviceBrand, Field::DeviceModel, Field::OsName, Field::OsVersion, Field::Browser]
        .map(|field| event.text(field));
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if !parts.is_empty() {
        stamps.push(StampReason::new("client", parts.join(" / "), "from device, or from user_agent"));
    }
    let in_app = event.text(Field::InAppBrowser);
    if !in_app.is_empty() {
        stamps.push(StampReason::new("in_app_browser", in_app, "from user_agent"));
    }
    let lost = event.number(Field::LostEvents);
    if lost > 0 {
        let index = event.number(Field::EventNumber) - 1;
        let reason = format!("event_index {index} is {} above the highest one before", lost + 1);
        stamps.push(StampReason::new("lost_events", lost.to_string(), reason));
    }
}
