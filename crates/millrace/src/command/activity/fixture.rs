//! Activities for unit tests.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

/// An activity from its JSON.
pub(super) fn activity(json: &str) -> event::Activity {
    event::Activity::parse(json.as_bytes()).unwrap()
}
