//! Stage two: clean events in, enriched events out.
//!
//! Every event of a device passes through one partition here, so duplicates can be recognised and stamps decided
//! in memory. The deciding modules are pure: [`dedupe`], [`devices`], [`channel`], [`activity`]; [`stamp`] puts them
//! together; `stage`, `restore`, `reader` and `registry` know Kafka.

pub mod activity;
pub mod business_day;
pub mod channel;
pub mod dedupe;
pub mod device;
pub mod devices;
pub mod evidence;
mod metric;
pub mod partition;
mod reader;
mod registry;
mod restore;
mod stage;
pub mod stamp;
pub mod user_agent;

use event::IdentityKey;
use runtime::{
    Error,
    config::{ConfigError, Settings},
    health::Health,
    shutdown::Shutdown,
    stage::{StageOptions, run as run_stage},
    topic::{self, Topic},
};
use std::sync::Arc;

use crate::{
    business_day::BusinessDays,
    channel::ChannelRules,
    device::active::Definitions,
    registry::Registry,
    stage::{EnrichStage, Shared},
    user_agent::UserAgents,
};

/// What the stage reads and writes; events keep their partition number through the first three.
const TOPICS: &[Topic] = &[Topic::CleanEvents, Topic::EnrichedEvents, Topic::EnrichState, Topic::Activities];

/// Runs the stage until `shutdown`.
///
/// # Errors
/// The process cannot go on; the error says why and what to do.
pub fn run(settings: Settings, shutdown: Shutdown, health: Health) -> Result<(), Error> {
    metric::describe();
    let agents = UserAgents::compiling();
    let days = business_days(&settings)?;
    let rules = Arc::new(channel_rules(&settings)?);
    let definitions = Definitions::parse(&settings.enrich.active);
    let definitions = definitions.map_err(|e| ConfigError::Unreadable(e.to_string()))?;
    tracing::info!(version = rules.version(), rules = rules.len(), "channel rules loaded");
    topic::check_at_start(&settings, TOPICS, &shutdown)?;
    let registry = Registry::follow(&settings, &shutdown, &health)?;
    let identity = IdentityKey::new(settings.enrich.identity_secret.expose());
    let shared = Shared {
        identity,
        rules,
        registry,
        definitions: Arc::new(definitions),
        days,
        agents,
        health: health.clone(),
    };
    let options = StageOptions { name: "enrich", input: Topic::CleanEvents };
    run_stage(options, &settings, &shutdown, &health, |worker| {
        Ok(EnrichStage::new(&settings, shared.clone(), worker))
    })
}

fn business_days(settings: &Settings) -> Result<BusinessDays, Error> {
    let zone = &settings.business_timezone;
    let wrong = |_| ConfigError::value("business_timezone", zone, "an IANA time zone such as Asia/Shanghai");
    Ok(BusinessDays::new(zone).map_err(wrong)?)
}

/// The channel rules in use: those of `enrich.channels_file`, else those built in.
///
/// # Errors
/// The file cannot be read, or is wrong: the error names the rule.
pub fn channel_rules(settings: &Settings) -> Result<ChannelRules, Error> {
    let path = &settings.enrich.channels_file;
    let (origin, text) = if path.is_empty() {
        ("the built-in channel rules", channel::BUILT_IN.to_owned())
    } else {
        let read = std::fs::read_to_string(path);
        let unreadable = |e| Error::Stage(format!("enrich.channels_file {path} cannot be read: {e}"));
        (path.as_str(), read.map_err(unreadable)?)
    };
    ChannelRules::parse(&text, &settings.enrich.own_hosts).map_err(|e| Error::Stage(format!("{origin}: {e}")))
}
