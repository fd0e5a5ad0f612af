//! What the simulated clients do, as shares between 0 and 1; the default is a healthy platform on a normal day.

use crate::activity::ActivityPlan;
use crate::clock::Timing;

/// How many clients, how often what happens to them, and what the truth remembers.
///
/// Every share is a probability between 0 and 1.
#[derive(Debug, Clone)]
pub struct Config {
    /// Same seed, same bytes. Different seeds give disjoint devices, so their truths may be added.
    pub seed: u64,
    /// Size of the population; a few devices are far more active than the rest.
    pub devices: u32,
    /// Number of published videos to watch.
    pub contents: u32,
    /// Sessions going on at the same time (at most a quarter of the devices).
    pub concurrent_sessions: u32,
    /// Share of records sent a second time, byte for byte, at most 25 min after the first.
    pub duplicates: f64,
    /// Share of events that ingest must reject.
    pub bad: f64,
    /// Share of events that happened 2 min to 6 h before they were sent (clients that were offline).
    pub late: f64,
    /// Share of events marked `is_test`.
    pub tests: f64,
    /// Share of browsers that are crawlers or run without a head.
    pub bots: f64,
    /// Share of records that are JSON arrays of several events of one device.
    pub arrays: f64,
    /// Share of devices whose clock is wrong by 10 min to 3 d (`time_source` corrected).
    pub skewed: f64,
    /// Share of events whose `sent_at` lies before `original_timestamp` (`time_source` received).
    pub untrusted: f64,
    /// Share of events from the future without `sent_at` (`time_source` clamped).
    pub future: f64,
    /// Share of events lost on the way: only their gap in `event_index` shows.
    pub lost: f64,
    /// Share of events sent by servers, most of them without an `anonymous_id` and key.
    pub server: f64,
    /// Ingest runs with the policy `reject` for unknown names: bad events include `unknown_event`, and no
    /// valid event has a name outside the standard list.
    pub reject_unknown_events: bool,
    /// Ingest's `max_event_age` in ms: `too_old` events are at least a day older.
    pub max_event_age_ms: i64,
    /// Upper bound in bytes of `too_large` records; raise it above 1 MB where the topic takes such records.
    pub largest_bad_bytes: usize,
    /// The registered activities; clients also send IDs that are in none of them.
    pub activities: Vec<ActivityPlan>,
    /// Whether events happen now or are spread over days.
    pub timing: Timing,
    /// What the truth remembers beside plain counts.
    pub detail: Detail,
}

/// Parts of the truth that grow with the run; turn them off for long ones.
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
