//! How ingest set the event time, and whether enrich counts the event.
use event::{Field, Kind, TimeSource};
use runtime::config::Settings;
use serde::Serialize;

use super::stamp::StampReason;
use crate::{
    command::trace::event::TracedEvent,
    output::text::{duration, rfc3339},
};

/// How the event got its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TimeDecision {
    /// RFC 3339.
    pub(crate) event: String,
    /// RFC 3339.
    pub(crate) received: String,
    pub(crate) source: String,
    pub(crate) clock_skew_ms: i64,
    pub(crate) lateness_ms: i64,
    pub(crate) reason: String,
}

/// The time decision of ingest.
pub(crate) fn time(event: &TracedEvent) -> TimeDecision {
    let (skew, lateness) = (event.number(Field::ClockSkewMs), event.number(Field::LatenessMs));
    let source = event.text(Field::TimeSource);
    let direction = if skew > 0 { "behind" } else { "ahead of" };
    let difference = duration(skew.saturating_abs());
    let why = match TimeSource::parse(source) {
        Some(TimeSource::Client) if skew == 0 => {
            "the device's time, unchanged: sent_at is absent or equals the broker's clock".to_owned()
        }
        Some(TimeSource::Client) => format!(
            "the device's time, unchanged: sent_at is {difference} {direction} the broker's clock, and up to 60 s count as \
             transit"
        ),
        Some(TimeSource::Corrected) => format!(
            "moved by {difference}: the device's clock was {difference} {direction} the broker's clock when it sent the \
             event"
        ),
        Some(TimeSource::Received) => {
            "the broker's time: sent_at is before the original timestamp".to_owned()
        }
        Some(TimeSource::Clamped) => {
            "the broker's time: the event's own time is more than 5 min in the future".to_owned()
        }
        None => "not stamped".to_owned(),
    };
    let received = match lateness {
        0 => "received at the same time".to_owned(),
        1.. => format!("received {} later", duration(lateness)),
        _ => format!("received {} earlier", duration(lateness.saturating_neg())),
    };
    TimeDecision {
        event: rfc3339(event.number(Field::EventTime)),
        received: rfc3339(event.number(Field::ReceivedAt)),
        source: source.to_owned(),
        clock_skew_ms: skew,
        lateness_ms: lateness,
        reason: format!("{source}, {why}; {received}"),
    }
}

/// Whether the event counts. `original` is the accepted event with the same ID from the same device, if it was found.
pub(crate) fn kind(event: &TracedEvent, original: Option<&TracedEvent>, settings: &Settings) -> StampReason {
    let kind = event.text(Field::Kind);
    let reason = match Kind::parse(kind) {
        Some(Kind::Event) => "counted: the first event with this ID from this device".to_owned(),
        Some(Kind::Duplicate) => match original {
            Some(original) => {
                let passed = event.number(Field::ReceivedAt) - original.number(Field::ReceivedAt);
                format!(
                    "not counted again: the same device sent it before, received {} earlier, {}",
                    duration(passed.max(0)),
                    original.position
                )
            }
            None => format!(
                "not counted again: the same device sent this ID before, within enrich.dedupe_window ({}); the first event \
                 is older than --since",
                duration(i64::try_from(settings.enrich.dedupe_window.as_millis()).unwrap_or(i64::MAX))
            ),
        },
        Some(Kind::Test) => "the client set is_test: counted only in quality".to_owned(),
        Some(Kind::Bot) => {
            format!(
                "a crawler or headless browser by its user agent: counted only in quality ({})",
                event.text(Field::UserAgent)
            )
        }
        None => "not stamped".to_owned(),
    };
    StampReason::new("kind", kind, reason)
}
