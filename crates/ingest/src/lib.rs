//! Stage one: raw events in, clean events out. Every record is parsed, validated, given its time and re-keyed by
//! device, or it becomes a dead letter with its original bytes.
//!
//! [`decide`] is the pure core: bytes and a time in, verdicts out. [`Ingest`] is the same as a stage of the runtime's
//! transactional loop, [`run`] the whole process.

mod contract;
mod decide;
mod encode;
mod json;
mod metric;
mod parse;
mod stage;
mod tally;
mod time;
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
pub use encode::{Origin, encode, partition};
pub use parse::{Event, KeyOrder};
pub use stage::{Ingest, Topics};
pub use time::{EventTime, event_time};
pub use validate::{Facts, Rules};

/// What the stage reads and writes.
const TOPICS: &[Topic] = &[Topic::RawEvents, Topic::CleanEvents, Topic::DeadLetters];

/// Runs ingest until `shutdown`.
///
/// # Errors
/// The process cannot go on.
pub fn run(settings: Settings, shutdown: Shutdown, health: Health) -> Result<(), Error> {
    metric::describe();
    topic::check_at_start(&settings, TOPICS, &shutdown)?;
    let topics = Topics::new(&settings.kafka, |topic| Ok(partition_count(&settings, topic, &shutdown)?))?;
    let rules = rules(&settings.ingest);
    let options = StageOptions { name: "ingest", input: Topic::RawEvents };
    run_stage(options, &settings, &shutdown, &health, |_worker| {
        Ok(Ingest::new(topics.clone(), rules.clone()))
    })
}

/// The rules that the settings ask for.
pub fn rules(settings: &runtime::config::Ingest) -> Rules {
    let standard_names_only = settings.unknown_events == UnknownEvents::Reject;
    Rules::new(settings.apps.iter().cloned(), standard_names_only, settings.max_event_age)
}
