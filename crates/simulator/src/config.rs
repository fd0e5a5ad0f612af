//! What the simulated clients do. The default is a healthy platform on a normal day.

use crate::activity::ActivityPlan;
use crate::clock::Timing;

/// Number of clients, how often they do what, and the level of detail of the truth (the expected results).
///
/// Every share is a probability between 0 and 1.
#[derive(Debug, Clone)]
pub struct Config {
    /// The same seed gives the same bytes. Different seeds give disjoint devices, so their truths can be added.
    pub seed: u64,
    /// Number of devices. A few are far more active than the rest.
    pub devices: u32,
    /// Number of published videos.
    pub contents: u32,
    /// Number of concurrent sessions, at most a quarter of the devices.
    pub concurrent_sessions: u32,
    /// Share of records sent a second time, byte for byte, at most 25 min after the first.
    pub duplicates: f64,
    /// Share of events that ingest must reject.
    pub bad: f64,
    /// Share of events that happened 2 min to 6 h before they were sent (clients that were offline).
    pub late: f64,
    /// Share of events marked `is_test`.
    pub tests: f64,
    /// Share of browsers that are crawlers or headless.
    pub bots: f64,
    /// Share of records that are JSON arrays of several events of one device.
    pub arrays: f64,
    /// Share of devices whose clock is wrong by 10 min to 3 d (`time_source` corrected).
    pub skewed: f64,
    /// Share of events whose `sent_at` lies before `original_timestamp` (`time_source` received).
    pub untrusted: f64,
    /// Share of events from the future without `sent_at` (`time_source` clamped).
    pub future: f64,
    /// Share of events that are lost before they are sent and leave a gap in `event_index`.
    pub lost: f64,
    /// Share of events sent by servers, most of them without an `anonymous_id` and key.
    pub server: f64,
    /// Set this when ingest runs with `unknown_events = "reject"`: rejected events then include `unknown_event`, and
    /// valid events have standard names only.
    pub reject_unknown_events: bool,
    /// `ingest.max_event_age` in milliseconds. Simulated `too_old` events are at least a day older.
    pub max_event_age_ms: i64,
    /// Largest `too_large` record in bytes. Raise it above 1 MB if the topic accepts such records.
    pub largest_bad_bytes: usize,
    /// The registered activities. Clients also send unregistered IDs.
    pub activities: Vec<ActivityPlan>,
    /// Whether events happen now, or are spread over days.
    pub timing: Timing,
    /// What the truth holds in addition to totals.
    pub detail: Detail,
}

/// Parts of the truth whose memory grows with the run. Turn them off for long runs.
#[derive(Debug, Clone, Copy)]
pub struct Detail {
    /// Exact distinct devices per cell.
    pub devices: bool,
    /// Traffic per 60 s of event time.
    pub minutes: bool,
    /// A hash of every dead letter's bytes.
    pub dead_letters: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            devices: 50_000,
            contents: 20_000,
            concurrent_sessions: 2_000,
            duplicates: 0.02,
            bad: 0.01,
            late: 0.01,
            tests: 0.003,
            bots: 0.01,
            arrays: 0.05,
            skewed: 0.03,
            untrusted: 0.002,
            future: 0.001,
            lost: 0.001,
            server: 0.01,
            reject_unknown_events: false,
            max_event_age_ms: 7 * 86_400_000,
            largest_bad_bytes: 320 * 1024,
            activities: Vec::new(),
            timing: Timing::Now,
            detail: Detail { devices: true, minutes: true, dead_letters: true },
        }
    }
}
