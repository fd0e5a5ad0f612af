//! How a lane runs.
use std::time::Duration;

use crate::protocol::Rules;

/// How a lane runs.
#[derive(Debug, Clone)]
pub struct LaneOptions {
    /// Its name, such as `live`; the label of its metrics.
    pub lane: &'static str,
    /// Number of this worker, for the health report.
    pub worker: usize,
    /// Time between two flushes.
    pub flush_interval: Duration,
    /// Upper limit of inserts per second of this worker; more partitions flush less often.
    pub max_inserts_per_second: u32,
    /// Bytes that its partitions may hold before any is paused. They never hold more than twice as much.
    pub memory: usize,
    /// Delay before a request that got a permanent error is retried.
    pub retry_halted: Duration,
    /// What exactly-once relies on.
    pub rules: Rules,
}
