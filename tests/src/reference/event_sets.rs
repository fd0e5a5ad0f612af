//! Aggregates over lists of events, as plain counts, sums and sets, and conditions on events.

use std::collections::BTreeSet;

use super::{day::start_of, event::ReferenceEvent};

/// Events of one period and group.
pub(super) type Events<'e> = &'e [&'e ReferenceEvent];

pub(super) fn counted(events: &[&ReferenceEvent], of: impl Fn(&ReferenceEvent) -> bool) -> f64 {
    events.iter().filter(|event| of(event)).count() as f64
}

pub(super) fn summed(events: &[&ReferenceEvent], name: &str) -> f64 {
    events.iter().map(|event| event.number(name)).sum::<i64>() as f64
}

pub(super) fn distinct<'e>(
    events: &[&'e ReferenceEvent],
    who: impl Fn(&'e ReferenceEvent) -> Option<&'e str>,
) -> f64 {
    events.iter().filter_map(|event| who(event)).collect::<BTreeSet<&str>>().len() as f64
}

pub(super) fn devices(events: &[&ReferenceEvent]) -> f64 {
    distinct(events, |event| event.device.as_deref())
}

pub(super) fn payers(events: &[&ReferenceEvent]) -> f64 {
    let users = distinct(events, |event| event.user.as_deref());
    users + distinct(events, |event| event.user.is_none().then_some(event.device.as_deref()).flatten())
}

pub(super) fn uploads(events: &[&ReferenceEvent]) -> f64 {
    distinct(events, |event| Some(event.text("upload_id")))
}

/// The events for which a condition holds.
pub(super) fn only<'e>(
    events: &[&'e ReferenceEvent],
    of: impl Fn(&ReferenceEvent) -> bool,
) -> Vec<&'e ReferenceEvent> {
    events.iter().copied().filter(|event| of(event)).collect()
}

pub(super) fn real(event: &ReferenceEvent) -> bool {
    event.kind == "event"
}

pub(super) fn touched(event: &ReferenceEvent) -> bool {
    event.text("activity_status") == "ok"
}

pub(super) fn content(event: &ReferenceEvent) -> bool {
    event.is_named(&["content_published", "content_featured", "content_view"])
}

pub(super) fn playback(event: &ReferenceEvent) -> bool {
    event.text("event_name").starts_with("playback_")
}

pub(super) fn page_visit(event: &ReferenceEvent) -> bool {
    event.is_named(&["vip_page_viewed"])
}

pub(super) fn order(event: &ReferenceEvent) -> bool {
    event.is_named(&["vip_opened", "gift_sent"]) && event.number("repeated_order") == 0
}

pub(super) fn vip(event: &ReferenceEvent) -> bool {
    order(event) && event.text("product_type") != "gift"
}

pub(super) fn gift(event: &ReferenceEvent) -> bool {
    order(event) && event.text("product_type") == "gift"
}

pub(super) fn converted(event: &ReferenceEvent) -> bool {
    order(event) && !event.text("attributed_activity_id").is_empty()
}

pub(super) fn versioned(event: &ReferenceEvent) -> bool {
    real(event) && !event.text("app_version").is_empty()
}

pub(super) fn is_pgc(event: &ReferenceEvent) -> bool {
    event.text("producer_type") == "pgc"
}

pub(super) fn happened(event: &ReferenceEvent) -> Option<i64> {
    real(event).then_some(event.event_time)
}

pub(super) fn received(event: &ReferenceEvent) -> Option<i64> {
    Some(event.received_at)
}

/// The start of the day on which the content was published.
pub(super) fn published(event: &ReferenceEvent) -> Option<i64> {
    let day: jiff::civil::Date = event.text("publish_day").parse().ok()?;
    let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond();
    Some(start_of(midnight / 86_400_000))
}

pub(super) const STEPS: [&str; 6] = ["select", "edit", "encode", "transfer", "submit", "done"];

pub(super) fn step(event: &ReferenceEvent) -> bool {
    event.is_named(&["upload_step"])
}

pub(super) fn funnel_step(event: &ReferenceEvent) -> bool {
    step(event) && STEPS.contains(&event.text("upload_step"))
}

pub(super) fn level(text: &str) -> Option<i64> {
    text.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

pub(super) fn promoted(event: &ReferenceEvent) -> bool {
    let levels = [level(event.text("creator_level")), level(event.text("previous_level"))];
    event.is_named(&["creator_level_changed"])
        && levels[0].is_some()
        && levels[1].is_some()
        && levels[0] > levels[1]
}

pub(super) fn created(event: &ReferenceEvent) -> bool {
    event.is_named(&["creator_level_changed", "content_published"]) && !event.text("creator_id").is_empty()
}
