//! Stage one: raw events in, clean events out. Each record is parsed, validated, given an event time and
//! partitioned by device; what fails becomes a dead letter with its original bytes.
//!
//! [`decide`] is the pure core: bytes and a time in, verdicts out. [`run`] is the whole process: it runs the core as a
//! stage of the transactional loop. Only this file and `shell` do more than compute values from values.

mod batch_counts;
mod contract;
mod decide;
mod encode;
mod event_time;
mod forbidden_id;
mod json;
mod parse;
mod policy;
mod raw_event;
mod rejection;
mod rejection_log;
mod rejection_share;
mod shell;
mod validate;

use event::{RejectCode, Topic};
use kafka::{StageOptions, check_clients, partition_count, run_stage, topic};
use runtime::{
    Error,
    config::{ConfigError, Settings, UnknownEvents},
    health::Health,
    shutdown::Shutdown,
};

pub use decide::{Decision, decide};
pub use encode::{RecordOrigin, encode, partition};
pub use event_time::EventTime;
pub use parse::KeyOrder;
pub use policy::EventPolicy;
pub use raw_event::RawEvent;
pub use validate::Validated;

use shell::{Ingest, IngestTopics};

/// What the stage reads and writes, and the topics of enrich: the devices must be in the partitions in which enrich remembers
/// them.
const TOPICS: &[Topic] =
    &[Topic::RawEvents, Topic::CleanEvents, Topic::DeadLetters, Topic::EnrichedEvents, Topic::EnrichState];

/// Checks the options of the Kafka clients.
///
/// # Errors
/// librdkafka does not accept them.
pub fn check(settings: &Settings) -> Result<(), ConfigError> {
    check_clients(settings)
}

/// Runs ingest until `shutdown`.
///
/// # Errors
/// The process cannot continue.
pub fn run(settings: Settings, shutdown: Shutdown, health: Health) -> Result<(), Error> {
    shell::describe();
    topic::check_at_start(&settings, TOPICS, &shutdown)?;
    let topics =
        IngestTopics::new(&settings.kafka, |topic| Ok(partition_count(&settings, topic, &shutdown)?))?;
    let policy = policy(&settings.ingest);
    let options = StageOptions {
        name: "ingest",
        input: Topic::RawEvents,
        too_large: RejectCode::TooLarge,
        start: settings.kafka.start,
        undecodable: settings.ingest.undecodable,
    };
    run_stage(options, &settings, &shutdown, &health, |_worker| {
        Ok(Ingest::new(topics.clone(), policy.clone()))
    })
}

fn policy(settings: &runtime::config::Ingest) -> EventPolicy {
    let standard_names_only = settings.unknown_events == UnknownEvents::Reject;
    EventPolicy::new(settings.apps.iter().cloned(), standard_names_only, settings.max_event_age)
        .forbidding_ids(settings.forbidden_ids.iter().cloned())
}
