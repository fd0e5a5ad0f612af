//! `millrace trace`: follows one event through every stage, with the reason for each decision.
mod contributions;
mod dead_letter;
mod event;
mod position;
mod reasons;
mod report;
mod result;
mod tables;
mod topics;

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use runtime::config::Settings;
use tokio::runtime::Runtime;
use uuid::Uuid;

use self::{report::TraceReport, result::TraceResult};
use crate::{
    command::value_parsers,
    context::Context,
    error::Error,
    output::{note, text::duration},
};

/// Show one event in every stage: raw record, event time, duplicate check, each stamp with its reason, and the cubes that
/// count it; or why it was rejected
///
/// Reads the table `events` if the lane `events` writes it, else the topics enriched-events and dead-letters within --since.
/// Shows every device that sent the ID. The cubes are those of the current configuration.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace trace 0199f0a0-7c1e-7abc-8def-0123456789ab
  millrace trace 0199f0a0-7c1e-7abc-8def-0123456789ab --since 2d --scan
  millrace trace 0199f0a0-7c1e-7abc-8def-0123456789ab --json | jq '.events[].cubes[].cube' | sort -u")]
pub(crate) struct Trace {
    /// The event_id that the client sent
    event_id: Uuid,
    /// How far back to read the topics, by the timestamp of the records
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = value_parsers::duration)]
    since: Duration,
    /// Read the topics even if the table `events` has the event
    #[arg(long)]
    scan: bool,
}

impl Trace {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let Context { settings, output, tokio } = context;
        let found = self.find(settings, tokio)?;
        let cubes = aggregate::cubes(settings)?;
        let report = TraceReport::new(self.event_id, &found, settings, &cubes)?;
        output.json(&report)?;
        report.print(output)?;
        if found.is_empty() {
            return Err(self.not_found(&found));
        }
        Ok(())
    }

    /// Reads the tables, and the topics if the tables do not have the event.
    fn find(&self, settings: &Settings, tokio: &Runtime) -> Result<TraceResult, Error> {
        let id = self.event_id.as_u128();
        if !self.scan {
            match tokio.block_on(tables::find_in_tables(settings, id)) {
                Ok(Some(found)) if !found.is_empty() => return Ok(found),
                Ok(_) => (),
                Err(error) => note(format!("reading the topics, because the tables cannot be read: {error}")),
            }
        }
        let now = Timestamp::now().as_millisecond();
        let since_ms = now - i64::try_from(self.since.as_millis()).unwrap_or(now);
        topics::find_in_topics(settings, id, since_ms)
    }

    fn not_found(&self, found: &TraceResult) -> Error {
        let id = self.event_id;
        if let Some(position) = found.waiting.first() {
            return Error::Failed(format!(
                "event {id} is in {position}, but not in enriched-events or dead-letters yet: `millrace status` shows \
                 which stage is behind or not running"
            ));
        }
        let since = duration(i64::try_from(self.since.as_millis()).unwrap_or(i64::MAX));
        Error::Failed(format!(
            "event {id} is not in raw-events, enriched-events or dead-letters of the last {since}: look further back with \
             --since (as far as the topics are kept), compare the ID with the client's log, and compare the client's \
             brokers and topic with kafka.brokers and kafka.topic_prefix"
        ))
    }
}
