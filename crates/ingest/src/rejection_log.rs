//! Which rejections are due for a log line: each code at most once every ten seconds, with the number of rejections
//! since the last line and one of them as an example. Payloads are never logged.
use event::RejectCode;
use std::time::{Duration, Instant};

/// Shortest time between two log lines for the same code.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What was rejected and not logged yet, by code.
#[derive(Debug, Default)]
pub(crate) struct RejectionLog {
    codes: [Pending; RejectCode::ALL.len()],
}

#[derive(Debug, Default)]
struct Pending {
    logged_at: Option<Instant>,
    count: u64,
    example: Option<RejectedEvent>,
}

/// Where a rejected event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RejectedEvent {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// JSON pointer to the invalid field.
    pub(crate) pointer: String,
}

impl RejectionLog {
    /// Keeps `event` as the newest example of `code`.
    pub(crate) fn example(&mut self, code: RejectCode, event: RejectedEvent) {
        self.codes[code as usize].example = Some(event);
    }

    /// Adds committed rejections. If a log line is due at `now`, returns the number of rejections since the last
    /// line, and the example.
    pub(crate) fn add(&mut self, code: RejectCode, count: u64, now: Instant) -> Option<(u64, RejectedEvent)> {
        let pending = &mut self.codes[code as usize];
        pending.count += count;
        if pending.logged_at.is_some_and(|logged_at| now.duration_since(logged_at) < LOG_INTERVAL) {
            return None;
        }
        let example = pending.example.take()?;
        pending.logged_at = Some(now);
        Some((std::mem::take(&mut pending.count), example))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the test needs any instant")]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_logged_once_per_interval_with_all_its_rejections() {
        let event = |offset| RejectedEvent { partition: 3, offset, pointer: "/app_id".into() };
        let (mut log, start) = (RejectionLog::default(), Instant::now());
        log.example(RejectCode::UnknownApp, event(1));
        assert_eq!(log.add(RejectCode::UnknownApp, 2, start), Some((2, event(1))));
        log.example(RejectCode::UnknownApp, event(5));
        assert_eq!(log.add(RejectCode::UnknownApp, 3, start + Duration::from_secs(9)), None);
        log.example(RejectCode::TooOld, event(6));
        assert_eq!(log.add(RejectCode::TooOld, 1, start + Duration::from_secs(9)), Some((1, event(6))));
        log.example(RejectCode::UnknownApp, event(8));
        assert_eq!(log.add(RejectCode::UnknownApp, 4, start + LOG_INTERVAL), Some((7, event(8))));
    }
}
