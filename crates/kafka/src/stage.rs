//! A consume-transform-commit stage on Kafka: the runtime's worker with a group consumer and a transactional producer.
use event::{LedgerEntry, RejectCode, StageLimits, Start, Topic};
use runtime::{
    config::{Settings, UndecodableBatches},
    health::Health,
    shutdown::Shutdown,
    stage::{BatchLimits, Stage, WorkerOptions},
};
use std::time::Duration;

use crate::{
    error::Error,
    group_consumer::{GroupConsumer, GroupMember},
    member_name::wait_until_name_is_free,
    startup::{for_rebuild, partition_count},
    transaction::TransactionalProducer,
};

/// Share of the memory limit that the records of one batch may take, and the most and the least they may take.
const BATCH_SHARE: u64 = 64;
const MAX_BATCH_BYTES: u64 = 16 * 1024 * 1024;
const LEAST_BATCH_BYTES: u64 = 2 * 1024 * 1024;
/// A broker needs a moment to recover before the same records are sent again.
const PAUSE_AFTER_ABORT: Duration = Duration::from_millis(100);

/// Which stage runs.
#[derive(Debug, Clone, Copy)]
pub struct StageOptions {
    /// Its name, part of group names and transactional IDs.
    pub name: &'static str,
    /// Its input topic.
    pub input: Topic,
    /// The code of the dead letter of a record whose output is too large for Kafka.
    pub too_large: RejectCode,
    /// Start position of its group when it has committed nothing.
    pub start: Start,
    /// What it does about a batch that cannot be decoded.
    pub undecodable: UndecodableBatches,
}

/// Runs a stage until `shutdown`: `settings.workers` threads, each with a consumer, a producer and a stage of its own.
///
/// # Errors
/// The first error of any worker; the others are stopped before it is returned.
pub fn run_stage<S: Stage>(
    options: StageOptions,
    settings: &Settings,
    shutdown: &Shutdown,
    health: &Health,
    make_stage: impl Fn(usize) -> Result<S, runtime::Error> + Sync,
) -> Result<(), runtime::Error> {
    let topic = settings.kafka.topic(options.input);
    let group = format!("{}-{}", settings.pipeline, options.name);
    let worker_options = WorkerOptions {
        stage: options.name,
        workers: settings.workers,
        batch: BatchLimits {
            interval: settings.kafka.batch_interval,
            records: settings.kafka.batch_records,
            bytes: batch_bytes(settings),
        },
        output_bytes: StageLimits::TRANSACTION_BYTES,
        too_large: options.too_large,
        pause_after_abort: PAUSE_AFTER_ABORT,
        undecodable: options.undecodable,
    };
    expect_workers(options.name, settings, health);
    partition_count(settings, &topic, shutdown)?;
    runtime::stage::run(worker_options, shutdown, health, make_stage, |worker, failed| {
        let member = format!("{group}-{}-{worker}", settings.instance);
        match failed {
            Some(error) if is_fenced_off(error) => {
                let component = format!("{}-{worker}", options.name);
                let heartbeat = || health.heartbeat(&component);
                wait_until_name_is_free(settings, &group, &member, shutdown, heartbeat)?;
            }
            Some(_) => _ = partition_count(&for_rebuild(settings), &topic, shutdown)?,
            None => (),
        }
        let settings = &if failed.is_some() { for_rebuild(settings) } else { settings.clone() };
        // An earlier process with this member's names must be fenced off before this one is assigned partitions.
        let producer = TransactionalProducer::new(settings, &member, shutdown)?;
        let member = GroupMember {
            group: &group,
            topic: &topic,
            name: &member,
            start: options.start,
            start_metadata: |next| LedgerEntry::begin(next).to_string(),
        };
        let consumer = GroupConsumer::new(settings, member, shutdown)?;
        Ok((consumer, producer))
    })
}

/// Makes a process of this stage unready until its workers are ready. Call it before the first component is started and
/// before the first wait: a process whose other components are ready is not ready without its workers.
pub fn expect_workers(stage: &str, settings: &Settings, health: &Health) {
    for worker in 0..settings.workers {
        health.set_ready(&format!("{stage}-{worker}"), false);
    }
}

fn batch_bytes(settings: &Settings) -> usize {
    let share = settings.memory_limit / BATCH_SHARE / settings.workers.max(1) as u64;
    share.clamp(LEAST_BATCH_BYTES, MAX_BATCH_BYTES) as usize
}

fn is_fenced_off(error: &runtime::Error) -> bool {
    let runtime::Error::Unavailable(error) = error else { return false };
    matches!(error.downcast_ref(), Some(Error::FencedOff(_)))
}
