//! Starts the stage: reads its configuration, then runs the workers until shutdown.
use event::{IdentityKey, RejectCode, Start, Topic, calendar::BusinessDays};
use kafka::{StageOptions, run_stage, topic};
use runtime::{
    Error,
    config::{ConfigError, Mistakes, Settings, UndecodableBatches},
    health::Health,
    shutdown::Shutdown,
};
use std::{sync::Arc, thread};

use super::{
    channel_file::channel_rules,
    dead_letter::DeadLetters,
    metric,
    raw_progress::RawLooks,
    registry::Registry,
    stage::{EnrichStage, WorkerInputs},
};
use crate::{device::active::Definitions, user_agent::UserAgents};

const NAME: &str = "enrich";
/// The topics of the stage. Events keep their partition number through the first three.
const TOPICS: &[Topic] =
    &[Topic::CleanEvents, Topic::EnrichedEvents, Topic::EnrichState, Topic::Activities, Topic::DeadLetters];

/// Checks the options of the Kafka clients, the secret, the file of channel rules and the definitions of active devices.
///
/// # Errors
/// [`ConfigError`] has every mistake.
pub fn check(settings: &Settings) -> Result<(), ConfigError> {
    let mut mistakes = Mistakes::default();
    mistakes.check(kafka::check_clients(settings));
    mistakes.check(settings.identity_secret());
    mistakes.check(channel_rules(settings));
    mistakes.check(definitions(settings));
    mistakes.into_result()
}

/// Runs the stage until `shutdown`.
///
/// # Errors
/// The process cannot go on; the error says why and what to do.
pub fn run(settings: Settings, shutdown: Shutdown, health: Health) -> Result<(), Error> {
    metric::describe();
    let agents = UserAgents::default();
    compile_rules(&agents);
    let days = BusinessDays::in_zone(settings.business_timezone.zone().clone());
    let rules = Arc::new(channel_rules(&settings)?);
    let definitions = definitions(&settings)?.for_events_of_age(settings.ingest.max_event_age);
    tracing::info!(version = rules.version(), rules = rules.len(), "channel rules loaded");
    topic::check_at_start(&settings, TOPICS, &shutdown)?;
    kafka::expect_workers(NAME, &settings, &health);
    let registry = Registry::follow(&settings, &shutdown, &health)?;
    let raw_looks = RawLooks::follow(&settings, &shutdown)?;
    let identity = IdentityKey::new(settings.identity_secret()?.expose());
    let dead_letters = settings.kafka.topic(Topic::DeadLetters);
    let dead_letters = DeadLetters {
        partitions: kafka::partition_count(&settings, &dead_letters, &shutdown)?,
        topic: dead_letters,
        origin: settings.kafka.topic(Topic::CleanEvents),
    };
    let inputs = WorkerInputs {
        identity,
        rules,
        registry,
        definitions: Arc::new(definitions),
        days,
        agents,
        dead_letters,
        raw_looks,
        health: health.clone(),
    };
    let options = StageOptions {
        name: NAME,
        input: Topic::CleanEvents,
        too_large: RejectCode::EnrichmentError,
        start: Start::Earliest,
        undecodable: UndecodableBatches::DeadLetter,
    };
    run_stage(options, &settings, &shutdown, &health, |worker| {
        Ok(EnrichStage::new(&settings, inputs.clone(), worker))
    })
}

fn definitions(settings: &Settings) -> Result<Definitions, ConfigError> {
    Definitions::parse(&settings.enrich.active)
        .map_err(|error| ConfigError::of(format!("enrich.active.{}", error.name), error.to_string()))
}

/// Compiles the user agent rules on a thread of their own. It takes a quarter of a second, in which the process joins its
/// group.
fn compile_rules(agents: &UserAgents) {
    let agents = agents.clone();
    // A worker reports the error when it needs the rules.
    let compile = move || {
        let _ = agents.parser();
    };
    if let Err(error) = thread::Builder::new().name("user-agents".into()).spawn(compile) {
        tracing::warn!(%error, "the first worker that needs the user agent rules compiles them");
    }
}
