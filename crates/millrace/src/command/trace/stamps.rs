//! Why each stamp of an event is what it is, in words. Pure: the event's own fields say it all, because every stage
//! writes down what it decided.
use event::{ActivityStatus, Field, Kind, TimeSource};
use jiff::Timestamp;
use runtime::config::Settings;
use serde::Serialize;

use super::event::Traced;
use crate::table::duration;

/// What was stamped, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Stamp {
    pub(crate) stamp: &'static str,
    pub(crate) value: String,
    pub(crate) reason: String,
}

impl Stamp {
    fn new(stamp: &'static str, value: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { stamp, value: value.into(), reason: reason.into() }
    }
}

/// How the event got its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Time {
    /// RFC 3339.
    pub(crate) event: String,
    /// RFC 3339.
    pub(crate) received: String,
    pub(crate) source: String,
    pub(crate) clock_skew_ms: i64,
    pub(crate) lateness_ms: i64,
    pub(crate) reason: String,
}

/// The time decision.
pub(crate) fn time(event: &Traced) -> Time {
    let (skew, lateness) = (event.number(Field::ClockSkewMs), event.number(Field::LatenessMs));
    let source = event.text(Field::TimeSource);
    let clock = if skew > 0 { "behind" } else { "ahead of" };
    let apart = duration(skew.saturating_abs());
    let why = match TimeSource::parse(source) {
        Some(TimeSource::Client) if skew == 0 => {
            "the device's time as it is: no sent_at, or one that agrees with the broker's clock".to_owned()
        }
        Some(TimeSource::Client) => format!(
            "the device's time as it is: sent_at is {apart} {clock} the broker's clock, and up to 60 s are transit"
        ),
        Some(TimeSource::Corrected) => format!(
            "moved by {apart}: the device's clock was that far {clock} the broker's when it sent the event"
        ),
        Some(TimeSource::Received) => {
            "the broker's time: the device says it sent the event before it happened".to_owned()
        }
        Some(TimeSource::Clamped) => {
            "the broker's time: the event claimed to be more than 5 min in the future".to_owned()
        }
        None => "not stamped".to_owned(),
    };
    let late = match lateness {
        0 => "received at that moment".to_owned(),
        1.. => format!("received {} later", duration(lateness)),
        _ => format!("received {} before it", duration(lateness.saturating_neg())),
    };
    Time {
        event: moment(event.number(Field::EventTime)),
        received: moment(event.number(Field::ReceivedAt)),
        source: source.to_owned(),
        clock_skew_ms: skew,
        lateness_ms: lateness,
        reason: format!("{source}, {why}; {late}"),
    }
}

fn moment(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |at| at.to_string())
}

/// Whether it counts. `earlier` is the accepted event of the same device with the same ID, where it was found.
pub(crate) fn verdict(event: &Traced, earlier: Option<&Traced>, settings: &Settings) -> Stamp {
    let kind = event.text(Field::Kind);
    let reason = match Kind::parse(kind) {
        Some(Kind::Event) => "counted: the first with this ID from this device".to_owned(),
        Some(Kind::Duplicate) => match earlier {
            Some(earlier) => {
                let passed = event.number(Field::ReceivedAt) - earlier.number(Field::ReceivedAt);
                format!(
                    "not counted again: the same device sent it before, received {} earlier, {}",
                    duration(passed.max(0)),
                    earlier.place
                )
            }
            None => format!(
                "not counted again: the same device sent this ID before, within enrich.dedupe_window ({}); the first \
                 one is older than what was read here",
                duration(i64::try_from(settings.enrich.dedupe_window.as_millis()).unwrap_or(i64::MAX))
            ),
        },
        Some(Kind::Test) => "the client set is_test: counted in quality alone".to_owned(),
        Some(Kind::Bot) => {
            format!(
                "a crawler or headless browser by its user agent: counted in quality alone ({})",
                event.text(Field::UserAgent)
            )
        }
        None => "not stamped".to_owned(),
    };
    Stamp::new("kind", kind, reason)
}

/// Every stamp that the event has, and those that one would expect on it but that are missing.
pub(crate) fn stamps(event: &Traced) -> Vec<Stamp> {
    let mut stamps = Vec::new();
    device(event, &mut stamps);
    session(event, &mut stamps);
    channel(event, &mut stamps);
    active(event, &mut stamps);
    activity(event, &mut stamps);
    playback(event, &mut stamps);
    order(event, &mut stamps);
    content_and_client(event, &mut stamps);
    stamps
}

/// Whether enrich looked at the device's past for this event.
fn has_facts(event: &Traced) -> bool {
    event.text(Field::Kind) == Kind::Event.as_str() && event.batch.key(Field::DeviceKey, 0) != 0
}

fn device(event: &Traced, stamps: &mut Vec<Stamp>) {
    let key = |field| event.batch.key(field, 0);
    if key(Field::DeviceKey) == 0 {
        stamps.push(Stamp::new("device_key", "0", "no anonymous_id: no facts about a device"));
    } else {
        let reason = format!("{} and {}", event.text(Field::AppId), event.text(Field::AnonymousId));
        stamps.push(Stamp::new("device_key", key(Field::DeviceKey).to_string(), reason));
    }
    if key(Field::UserKey) != 0 {
        let user = format!("user_id {}", event.text(Field::UserId));
        stamps.push(Stamp::new("user_key", key(Field::UserKey).to_string(), user));
    }
    let first_day = event.text(Field::FirstSeenDay);
    if !first_day.is_empty() {
        let reason = match (event.number(Field::IsNewDevice), event.number(Field::DaysSinceFirst)) {
            (1, _) => "a new device: its first accepted event ever".to_owned(),
            (_, days @ 0..) => format!("{days} business days before this event"),
            (_, days) => format!("this event is {} business days older, and came later", -days),
        };
        stamps.push(Stamp::new("first_seen_day", first_day, reason));
    }
}

fn session(event: &Traced, stamps: &mut Vec<Stamp>) {
    let session = event.text(Field::SessionId);
    if session.is_empty() || !has_facts(event) {
        return;
    }
    let derived = session.len() == 16 && session.bytes().all(|byte| byte.is_ascii_hexdigit());
    let given = if derived {
        "derived, or 16 hex digits of the client: without an ID, 30 min of silence begin a new one"
    } else {
        "the client's ID"
    };
    let begins = if event.number(Field::SessionStart) == 1 { "begins here" } else { "goes on" };
    stamps.push(Stamp::new("session", format!("{session} {begins}"), given));
}

fn channel(event: &Traced, stamps: &mut Vec<Stamp>) {
    let group = event.text(Field::ChannelGroup);
    if group.is_empty() {
        return;
    }
    let parts = [Field::ChannelSource, Field::ChannelMedium, Field::ChannelCampaign];
    let parts = parts.map(|field| event.text(field)).into_iter().filter(|part| !part.is_empty());
    let value: Vec<&str> = std::iter::once(group).chain(parts).collect();
    let rule = event.text(Field::ChannelRule);
    let reason = if rule == "last_touch" {
        "nothing on the session's first event says where it came from: the device's last touch within 30 days holds"
            .to_owned()
    } else if !has_facts(event) || event.number(Field::SessionStart) == 1 {
        format!("rule {rule}{}", evidence(event))
    } else {
        format!("rule {rule}, decided on the session's first event")
    };
    stamps.push(Stamp::new("channel", value.join(" / "), reason));
    let first = event.text(Field::FirstChannelGroup);
    if !first.is_empty() {
        let source = event.text(Field::FirstSource);
        let value = if source.is_empty() { first.to_owned() } else { format!("{first} / {source}") };
        stamps.push(Stamp::new("first_channel", value, "of the device's first event, written once"));
    }
    let install = event.text(Field::InstallSource);
    if !install.is_empty() {
        stamps.push(Stamp::new("install_source", install, "the event's own, else the device's first known"));
    }
}

/// What on the event itself the channel rules look at.
fn evidence(event: &Traced) -> String {
    let fields = [
        Field::CampaignSource,
        Field::CampaignMedium,
        Field::CampaignName,
        Field::ClickIdType,
        Field::InstallSource,
        Field::PageReferrer,
        Field::PageUrl,
    ];
    let found = fields.into_iter().filter(|&field| !event.text(field).is_empty());
    let found: Vec<String> = found.map(|field| format!("{} {}", field.name(), event.text(field))).collect();
    if found.is_empty() { ": no evidence on the event".into() } else { format!(" on {}", found.join(", ")) }
}

fn active(event: &Traced, stamps: &mut Vec<Stamp>) {
    for (stamp, field, span) in [
        ("active_day", Field::ActiveDay, "business day"),
        ("active_week", Field::ActiveWeek, "ISO week"),
        ("active_month", Field::ActiveMonth, "calendar month"),
    ] {
        let definitions = event.list(field);
        if !definitions.is_empty() {
            let reason = format!("the device's first qualifying event of its {span} for each");
            stamps.push(Stamp::new(stamp, definitions.join(", "), reason));
        }
    }
}

fn activity(event: &Traced, stamps: &mut Vec<Stamp>) {
    let id = event.text(Field::ActivityId);
    if !id.is_empty() {
        let status = event.text(Field::ActivityStatus);
        let by = if event.text(Field::ActivityEventId).is_empty() {
            "by a rule of the registry"
        } else {
            "named by the client"
        };
        let meaning = match ActivityStatus::parse(status) {
            Some(ActivityStatus::Ok) => "registered, running, with this key",
            Some(ActivityStatus::Unregistered) => "no activity of this ID was registered at that moment",
            Some(ActivityStatus::WrongApp) => "the activity does not belong to this app_id",
            Some(ActivityStatus::UnknownKey) => "the activity has no event of this key",
            Some(ActivityStatus::OutsideDates) => {
                "the event happened before its start or at or after its end"
            }
            None => "not stamped",
        };
        let kind = event.text(Field::ActivityType);
        let value = [id, event.text(Field::ActivityEventKey), kind, status];
        let value: Vec<&str> = value.into_iter().filter(|part| !part.is_empty()).collect();
        stamps.push(Stamp::new("activity", value.join(" / "), format!("{by}; {meaning}")));
        if event.number(Field::ActivityFirstTouch) == 1 {
            stamps.push(Stamp::new("activity_first_touch", "1", "the device takes part for the first time"));
        }
    }
    let attributed = event.text(Field::AttributedActivityId);
    if !attributed.is_empty() {
        let reason = "the activity this device touched last, within its attribution window";
        stamps.push(Stamp::new("attributed_activity", attributed, reason));
    }
}

fn playback(event: &Traced, stamps: &mut Vec<Stamp>) {
    let id = event.text(Field::PlaybackId);
    if id.is_empty() || !has_facts(event) || !event.text(Field::EventName).starts_with("playback_") {
        return;
    }
    let is = |field| event.number(field) == 1;
    let mut marks = Vec::new();
    for (field, said) in [
        (Field::PlayStart, "its first event"),
        (Field::Replay, "a replay: the device started this content before"),
        (Field::EffectivePlay, "effective: reaches 10 s with this event"),
        (Field::CompletedPlay, "completed: reaches 90 % of the content with this event"),
    ] {
        if is(field) {
            marks.push(said);
        }
    }
    let total = event.number(Field::PlayedTotalMs);
    let value = format!("{id}, {} watched so far", duration(total));
    stamps.push(Stamp::new("playback", value, marks.join("; ")));
}

fn order(event: &Traced, stamps: &mut Vec<Stamp>) {
    let payer = event.batch.key(Field::PayerKey, 0);
    if payer != 0 {
        let of =
            if payer == event.batch.key(Field::UserKey, 0) { "the user's key" } else { "the device's key" };
        stamps.push(Stamp::new("payer_key", payer.to_string(), of));
    }
    if event.number(Field::RepeatedOrder) == 1 {
        let reason = "the device sent this order_id before: counted as an event, not as an order";
        stamps.push(Stamp::new("repeated_order", event.text(Field::OrderId), reason));
    } else if event.text(Field::EventName) == "vip_opened" && has_facts(event) {
        let matched = event.text(Field::MatchedEntryPoint);
        let (value, reason) = if matched.is_empty() {
            ("none", "no unused VIP page with an entry point within the 30 min before")
        } else {
            (matched, "the VIP page this device saw last, within the 30 min before, used once")
        };
        stamps.push(Stamp::new("matched_entry_point", value, reason));
    }
}

fn content_and_client(event: &Traced, stamps: &mut Vec<Stamp>) {
    let day = event.text(Field::PublishDay);
    if !day.is_empty() {
        let reason = if event.number(Field::PublishedAt) > 0 {
            "business day of content.published_at"
        } else {
            "business day of the event: content_published without published_at"
        };
        stamps.push(Stamp::new("publish_day", day, reason));
    }
    let parts = [Field::DeviceBrand, Field::DeviceModel, Field::OsName, Field::OsVersion, Field::Browser]
        .map(|field| event.text(field));
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if !parts.is_empty() {
        stamps.push(Stamp::new("client", parts.join(" / "), "from device, else from user_agent"));
    }
    let in_app = event.text(Field::InAppBrowser);
    if !in_app.is_empty() {
        stamps.push(Stamp::new("in_app_browser", in_app, "by the user agent"));
    }
    let lost = event.number(Field::LostEvents);
    if lost > 0 {
        let index = event.number(Field::EventNumber) - 1;
        let reason = format!("event_index {index} is {} above the highest before", lost + 1);
        stamps.push(Stamp::new("lost_events", lost.to_string(), reason));
    }
}

#[cfg(test)]
mod tests {
    use event::BatchBuilder;

    use super::*;
    use crate::command::trace::event::EnrichedPlace;

    const NOON: i64 = 1_772_452_800_000;

    fn traced(texts: &[(Field, &str)], numbers: &[(Field, i64)]) -> Traced {
        let mut builder = BatchBuilder::default();
        texts.iter().for_each(|&(field, text)| builder.text(field, text));
        builder.number(Field::EventTime, NOON);
        builder.number(Field::ReceivedAt, NOON + 1_000);
        builder.key(Field::DeviceKey, 7);
        numbers.iter().for_each(|&(field, number)| builder.number(field, number));
        builder.end_row();
        let batch = event::Batch::decode(&builder.finish()).unwrap();
        Traced::of_batch(&batch, EnrichedPlace { partition: 1, offset: 5, row: 0 }).unwrap()
    }

    #[test]
    fn each_time_source_has_its_reason() {
        for (source, skew, expected) in [
            ("client", 0, "no sent_at, or one that agrees"),
            ("client", 2_500, "sent_at is 2.5 s behind the broker's clock"),
            ("corrected", 90_000, "moved by 90 s: the device's clock was that far behind"),
            ("corrected", -90_000, "moved by 90 s: the device's clock was that far ahead of"),
            ("received", 5, "before it happened"),
            ("clamped", 0, "more than 5 min in the future"),
        ] {
            let event = traced(
                &[(Field::TimeSource, source)],
                &[(Field::ClockSkewMs, skew), (Field::LatenessMs, 1_000)],
            );
            let time = time(&event);
            assert!(time.reason.contains(expected), "{source} {skew}: {}", time.reason);
            assert!(time.reason.ends_with("received 1.0 s later") && time.event == "2026-03-02T12:00:00Z");
        }
    }

    #[test]
    fn a_verdict_says_why_and_a_duplicate_where_the_first_one_is() {
        let settings = runtime::config::load_from(None, []).unwrap();
        let first = traced(&[(Field::Kind, "event")], &[]);
        let second = traced(&[(Field::Kind, "duplicate")], &[(Field::ReceivedAt, NOON + 61_000)]);
        let reason = |event: &Traced, earlier: Option<&Traced>| verdict(event, earlier, &settings).reason;
        assert!(reason(&first, None).starts_with("counted"));
        assert!(reason(&second, Some(&first)).contains("received 60 s earlier"));
        assert!(reason(&second, Some(&first)).contains("enriched-events partition 1, offset 5, row 0"));
        assert!(reason(&second, None).contains("enrich.dedupe_window (60 min)"));
        assert!(reason(&traced(&[(Field::Kind, "test")], &[]), None).contains("is_test"));
        assert!(reason(&traced(&[(Field::Kind, "bot")], &[]), None).contains("crawler"));
    }

    #[test]
    fn each_stamp_that_is_there_has_a_reason() {
        let kind = (Field::Kind, "event");
        for (texts, numbers, stamp, value, reason) in [
            (
                vec![kind, (Field::FirstSeenDay, "2026-03-02")],
                vec![(Field::IsNewDevice, 1)],
                "first_seen_day",
                "2026-03-02",
                "a new device",
            ),
            (
                vec![kind, (Field::FirstSeenDay, "2026-03-02")],
                vec![(Field::DaysSinceFirst, -2)],
                "first_seen_day",
                "2026-03-02",
                "2 business days older",
            ),
            (
                vec![kind, (Field::SessionId, "s-1")],
                vec![(Field::SessionStart, 1)],
                "session",
                "s-1 begins here",
                "the client's ID",
            ),
            (
                vec![kind, (Field::SessionId, "00ff00ff00ff00ff")],
                vec![],
                "session",
                "00ff00ff00ff00ff goes on",
                "derived",
            ),
            (
                vec![
                    kind,
                    (Field::ChannelGroup, "paid_search"),
                    (Field::ChannelSource, "baidu"),
                    (Field::ChannelRule, "campaign_paid_search"),
                    (Field::CampaignMedium, "cpc"),
                ],
                vec![(Field::SessionStart, 1)],
                "channel",
                "paid_search / baidu",
                "rule campaign_paid_search on campaign_medium cpc",
            ),
            (
                vec![kind, (Field::ChannelGroup, "email"), (Field::ChannelRule, "last_touch")],
                vec![],
                "channel",
                "email",
                "last touch within 30 days",
            ),
            (
                vec![kind, (Field::ActivityId, "spring"), (Field::ActivityStatus, "outside_dates")],
                vec![],
                "activity",
                "spring / outside_dates",
                "by a rule of the registry; the event happened before its start",
            ),
            (
                vec![kind, (Field::EventName, "playback_ping"), (Field::PlaybackId, "p1")],
                vec![(Field::EffectivePlay, 1), (Field::PlayedTotalMs, 12_000)],
                "playback",
                "p1, 12 s watched so far",
                "effective",
            ),
            (
                vec![kind, (Field::EventName, "vip_opened")],
                vec![],
                "matched_entry_point",
                "none",
                "no unused VIP page",
            ),
            (
                vec![kind, (Field::EventName, "vip_opened"), (Field::OrderId, "o1")],
                vec![(Field::RepeatedOrder, 1)],
                "repeated_order",
                "o1",
                "not as an order",
            ),
            (
                vec![kind],
                vec![(Field::EventNumber, 12), (Field::LostEvents, 3)],
                "lost_events",
                "3",
                "event_index 11 is 4 above",
            ),
        ] {
            let stamps = stamps(&traced(&texts, &numbers));
            let found = stamps.iter().find(|found| found.stamp == stamp);
            let found = found.unwrap_or_else(|| panic!("no {stamp}: {stamps:?}"));
            assert_eq!(found.value, value);
            assert!(found.reason.contains(reason), "{found:?}");
        }
    }
}
