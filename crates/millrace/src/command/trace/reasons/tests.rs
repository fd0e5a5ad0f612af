//! Each reason for the values that it explains.
use event::{BatchBuilder, Field};

use super::*;
use crate::command::trace::position::EnrichedPosition;

const NOON: i64 = 1_772_452_800_000;

fn traced(texts: &[(Field, &str)], numbers: &[(Field, i64)]) -> TracedEvent {
    let mut builder = BatchBuilder::default();
    texts.iter().for_each(|&(field, text)| builder.text(field, text));
    builder.number(Field::EventTime, NOON);
    builder.number(Field::ReceivedAt, NOON + 1_000);
    builder.key(Field::DeviceKey, 7);
    numbers.iter().for_each(|&(field, number)| builder.number(field, number));
    builder.end_row();
    let batch = event::Batch::decode(&builder.finish()).unwrap();
    TracedEvent::of_batch(&batch, EnrichedPosition { partition: 1, offset: 5, row: 0 }).unwrap()
}

#[test]
fn each_time_source_has_its_reason() {
    for (source, skew, expected) in [
        ("client", 0, "sent_at is absent or equals the broker's clock"),
        ("client", 2_500, "sent_at is 2.5 s behind the broker's clock"),
        ("corrected", 90_000, "moved by 90 s: the device's clock was 90 s behind the broker's clock"),
        ("corrected", -90_000, "moved by 90 s: the device's clock was 90 s ahead of the broker's clock"),
        ("received", 5, "sent_at is before the original timestamp"),
        ("clamped", 0, "more than 5 min in the future"),
    ] {
        let event =
            traced(&[(Field::TimeSource, source)], &[(Field::ClockSkewMs, skew), (Field::LatenessMs, 1_000)]);
        let time = time(&event);
        assert!(time.reason.contains(expected), "{source} {skew}: {}", time.reason);
        assert!(time.reason.ends_with("received 1.0 s later") && time.event == "2026-03-02T12:00:00Z");
    }
}

#[test]
fn the_kind_has_a_reason_and_a_duplicate_names_the_position_of_the_original() {
    let settings = runtime::config::load_from(None, []).unwrap();
    let first = traced(&[(Field::Kind, "event")], &[]);
    let second = traced(&[(Field::Kind, "duplicate")], &[(Field::ReceivedAt, NOON + 61_000)]);
    let reason =
        |event: &TracedEvent, original: Option<&TracedEvent>| kind(event, original, &settings).reason;
    assert!(reason(&first, None).starts_with("counted"));
    assert!(reason(&second, Some(&first)).contains("received 60 s earlier"));
    assert!(reason(&second, Some(&first)).contains("enriched-events partition 1, offset 5, row 0"));
    assert!(reason(&second, None).contains("enrich.dedupe_window (60 min)"));
    assert!(reason(&traced(&[(Field::Kind, "test")], &[]), None).contains("is_test"));
    assert!(reason(&traced(&[(Field::Kind, "bot")], &[]), None).contains("crawler"));
}

#[test]
fn each_stamp_that_is_there_has_a_reason() {
    let accepted = (Field::Kind, "event");
    for (texts, numbers, stamp, value, reason) in [
        (
            vec![accepted, (Field::FirstSeenDay, "2026-03-02")],
            vec![(Field::IsNewDevice, 1)],
            "first_seen_day",
            "2026-03-02",
            "a new device",
        ),
        (
            vec![accepted, (Field::FirstSeenDay, "2026-03-02")],
            vec![(Field::DaysSinceFirst, -2)],
            "first_seen_day",
            "2026-03-02",
            "2 business days after this event",
        ),
        (
            vec![accepted, (Field::SessionId, "s-1")],
            vec![(Field::SessionStart, 1)],
            "session",
            "s-1 starts here",
            "the client's ID",
        ),
        (
            vec![accepted, (Field::SessionId, "00ff00ff00ff00ff")],
            vec![],
            "session",
            "00ff00ff00ff00ff continues",
            "derived",
        ),
        (
            vec![
                accepted,
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
            vec![accepted, (Field::ChannelGroup, "email"), (Field::ChannelRule, "last_touch")],
            vec![],
            "channel",
            "email",
            "last touch within 30 days",
        ),
        (
            vec![accepted, (Field::ActivityId, "spring"), (Field::ActivityStatus, "outside_dates")],
            vec![],
            "activity",
            "spring / outside_dates",
            "matched by a rule of the registry; the event time is before its start",
        ),
        (
            vec![accepted, (Field::EventName, "playback_ping"), (Field::PlaybackId, "p1")],
            vec![(Field::EffectivePlay, 1), (Field::PlayedTotalMs, 12_000)],
            "playback",
            "p1, 12 s watched so far",
            "effective",
        ),
        (
            vec![accepted, (Field::EventName, "vip_opened")],
            vec![],
            "matched_entry_point",
            "none",
            "no unused VIP page view",
        ),
        (
            vec![accepted, (Field::EventName, "vip_opened"), (Field::OrderId, "o1")],
            vec![(Field::RepeatedOrder, 1)],
            "repeated_order",
            "o1",
            "not as an order",
        ),
        (
            vec![accepted],
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
