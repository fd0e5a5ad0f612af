//! Rejects events that happened too long ago (`too_old`).
use event::{RejectCode, Rejection};

use crate::{event_time::EventTime, policy::EventPolicy};

const HOUR_MS: i64 = 3_600_000;
/// Every time since 1973 is larger in milliseconds; every time until the year 5138 is smaller in seconds.
const SECONDS_NOT_MILLISECONDS: i64 = 100_000_000_000;

/// Checks the age after the clock correction. `original` is `original_timestamp` as sent. With `sent_at` even a clock
/// that is wrong by centuries has been corrected. All in epoch milliseconds.
pub(super) fn check(
    original: i64,
    has_sent_at: bool,
    time: EventTime,
    received_at: i64,
    policy: &EventPolicy,
) -> Result<(), Rejection> {
    let age = received_at.saturating_sub(time.event_time);
    let most = policy.max_event_age_ms();
    if (original > 0 || has_sent_at) && age <= most {
        return Ok(());
    }
    let message = if original <= 0 && !has_sent_at {
        "/original_timestamp is before 1970: send epoch milliseconds or RFC 3339, and sent_at to correct a wrong clock"
            .to_owned()
    } else {
        let advice = if original < SECONDS_NOT_MILLISECONDS {
            "the value looks like seconds, send milliseconds"
        } else {
            "send events earlier"
        };
        format!(
            "/original_timestamp is {original}: the event is {} h old, at most {} h are accepted; {advice}",
            age / HOUR_MS,
            most / HOUR_MS
        )
    };
    Err(Rejection::new(RejectCode::TooOld, "/original_timestamp", message))
}
