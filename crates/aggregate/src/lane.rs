//! One worker of a lane: reads its partitions, folds their records into buffers, and writes all buffers together, flush
//! by flush.
//!
//! What happens to a partition is decided by [`partition`], and what a commit carries by [`partitions`]; both are pure.
//! This loop turns what Kafka and ClickHouse return into signals and executes the commands. The thread owns the
//! assignment and every commit. Requests to ClickHouse run as tasks ([`delivery`]) that reply over a channel.
mod assignment;
mod commit;
mod delivery;
mod execute;
#[cfg(test)]
mod model;
mod options;
mod partition;
mod partitions;
mod signal;
mod stop;
mod undecodable;
mod unwritten;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use kafka::{GroupConsumer, Polled};
use runtime::health::Health;
use runtime::shutdown::Shutdown;
use tokio::runtime::Handle;

use self::delivery::Delivery;
pub use self::delivery::Writers;
pub use self::options::LaneOptions;
use self::partition::Partition;
use self::partitions::Partitions;
use self::unwritten::Unwritten;
use self::worker::Lane;
use crate::Error;
use crate::fold::Buffers;

const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// Runs until a stop is requested, then flushes and commits everything read.
///
/// # Errors
/// A client of Kafka failed. What was not written is written by the next owner of the partitions.
pub fn run(
    options: LaneOptions,
    source: &GroupConsumer,
    buffers: Buffers,
    writers: Writers,
    tokio: Handle,
    shutdown: &Shutdown,
    health: &Health,
) -> Result<(), Error> {
    let component = format!("{}-{}", options.lane, options.worker);
    health.set_ready(&component, false);
    let (sender, replies) = channel();
    let delivery = Arc::new(Delivery {
        topic: source.topic().to_owned(),
        writers,
        lane: options.lane,
        retry_permanent: options.retry_halted,
        assignment: AtomicU64::new(0),
        replies: sender,
    });
    let partitions = Partitions::new(options.memory);
    let mut lane = Lane {
        options,
        source,
        buffers,
        delivery,
        tokio,
        replies,
        health,
        component,
        partitions,
        flushes: BTreeMap::new(),
        marker_sources: BTreeMap::new(),
        unwritten: Unwritten::default(),
        commit_sent: None,
        commit_failed: None,
        commits_fail_since: None,
        flushed_received_max: None,
        is_behind: false,
        foreign_logged: None,
        foreign_skipped: 0,
    };
    let mut next_flush = Instant::now() + lane.interval();
    let mut next_heartbeat = Instant::now();
    while !shutdown.requested() {
        lane.collect_replies()?;
        let now = Instant::now();
        let is_due = now >= next_flush;
        if is_due {
            lane.flush(Partition::can_flush)?;
            next_flush = now + lane.interval();
        } else {
            lane.flush(|partition| partition.is_paused() && partition.can_flush())?;
        }
        if now >= next_heartbeat {
            lane.report_memory();
            lane.report_waiting();
            next_heartbeat = now + HEARTBEAT_INTERVAL;
        }
        lane.commit(is_due)?;
        let wait = next_flush.saturating_duration_since(now).min(lane.longest_poll());
        match source.poll(wait)? {
            Polled::Idle => (),
            Polled::Record(message) => lane.record(&message)?,
            Polled::Assigned(partitions) => lane.assigned(&partitions)?,
            Polled::Revoked { partitions, lost } => lane.revoked(&partitions, lost)?,
            Polled::Undecodable => lane.undecodable()?,
        }
    }
    lane.finish()
}
