//! Stage one: raw events in, clean events out. Each record is parsed, validated, given an event time and
//! partitioned by device; what fails becomes a dead letter with its original bytes.
//!
//! [`decide`] is the pure core: bytes and a time in, verdicts out. [`Ingest`] runs it as a stage of the runtime's
//! transactional loop, [`run`] is the whole process. Only this file, [`Ingest`] and the telemetry know more than
//! values.

mod batch_counts;
mod contract;
mod dead_letter;
mod decide;
mod encode;
mod event_time;
mod json;
mod parse;
mod policy;
mod raw_event;
mod rejection;
mod rejection_log;
mod rejection_share;
mod stage;
mod telemetry;
mod topics;
mod validate;

use event::Topic;
use kafka::{StageOptions, partition_count, run_stage, topic};
use runtime::{
    Error,
    config::{Settings, UnknownEvents},
    health::Health,
    shutdown::Shutdown,
};

pub use decide::{Decision, decide};
pub use encode::{RecordOrigin, encode, partition};
pub use event_time::EventTime;
pub use parse::KeyOrder;
pub use policy::EventPolicy;
pub use raw_event::RawEvent;
pub use stage::Ingest;
pub use topics::IngestTopics;
pub use validate::Validated;

/// What the stage reads and writes.
const TOPICS: &[Topic] = &[Topic::RawEvents, Topic::CleanEvents, Topic::DeadLetters];

/// Runs ingest until `shutdown`.
///
/// # Errors
/// The process cannot continue.
pub fn run(settings: Settings, shutdown: Shutdown, health: Health) -> Result<(), Error> {
    telemetry::describe();
    topic::check_at_start(&settings, TOPICS, &shutdown)?;
    let topics =
        IngestTopics::new(&settings.kafka, |topic| Ok(partition_count(&settings, topic, &shutdown)?))?;
    let policy = policy(&settings.ingest);
    let options = StageOptions { name: "ingest", input: Topic::RawEvents };
    run_stage(options, &settings, &shutdown, &health, |_worker| {
        Ok(Ingest::new(topics.clone(), policy.clone()))
    })
}

fn policy(settings: &runtime::config::Ingest) -> EventPolicy {
    let standard_names_only = settings.unknown_events == UnknownEvents::Reject;
    EventPolicy::new(settings.apps.iter().cloned(), standard_names_only, settings.max_event_age)
}
