//! The list of commands. Each has its own file or folder below, with its arguments as a type and a function `run`.
use std::path::Path;

use clap::Subcommand;

use crate::{context::Context, error::Error, output::Output};

mod access;
mod activity;
mod audit;
mod author;
mod cat;
mod channel;
mod codes;
mod cubes;
mod docs;
mod fields;
mod forget;
mod metrics;
mod migrate;
mod reconcile;
mod report;
mod simulate;
mod status;
mod topics;
mod trace;
mod value_parsers;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create or check the Kafka topics
    #[command(subcommand)]
    Topics(topics::TopicsCommand),
    /// Create or update the database, tables and views in ClickHouse
    Migrate(migrate::Migrate),
    /// Send events of simulated clients and print the expected results
    Simulate(simulate::Simulate),
    /// Manage the activity registry and show the history of its changes
    #[command(subcommand)]
    Activity(activity::ActivityCommand),
    /// Manage who may see which numbers: roles, users, row policies and limits in ClickHouse
    #[command(subcommand)]
    Access(access::AccessCommand),
    /// Show who asked which metric or view, and every change of activities, access and metrics
    Audit(audit::Audit),
    /// Erase the state, events and rejected payloads of a person
    Forget(forget::Forget),
    /// Print the records of a topic as JSON lines
    Cat(cat::Cat),
    /// Explain how an event gets its channel, or compare two files of channel rules
    #[command(subcommand)]
    Channel(channel::ChannelCommand),
    /// Show lag, members and data age of every stage
    Status(status::Status),
    /// Check that no event was lost or counted twice
    Reconcile(reconcile::Reconcile),
    /// Show the cubes, or check a file of cubes
    #[command(subcommand)]
    Cubes(cubes::CubesCommand),
    /// Show what each metric means, and query it
    #[command(subcommand)]
    Metrics(metrics::MetricsCommand),
    /// Follow one event through every stage, with the reason for each decision
    Trace(trace::Trace),
    /// Write the reference of fields, codes, cubes and metrics
    Docs(docs::Docs),
    /// Write the metrics of a day or a week to a spreadsheet
    #[command(subcommand)]
    Report(report::ReportCommand),
    /// Print the catalogue of event fields
    Fields(fields::Fields),
    /// Print the dead-letter codes
    Codes(codes::Codes),
}

/// Runs a command.
pub(crate) fn run(command: Command, config: Option<&Path>, mut output: Output) -> Result<(), Error> {
    // The catalogues are part of the program: these commands need no configuration.
    match &command {
        Command::Fields(fields) => return fields.run(&mut output),
        Command::Codes(codes) => return codes.run(&mut output),
        Command::Docs(docs) => return docs.run(&mut output),
        _ => (),
    }
    let mut context = Context::new(config, output)?;
    match command {
        Command::Topics(topics) => topics.run(&mut context),
        Command::Migrate(migrate) => migrate.run(&mut context),
        Command::Simulate(simulate) => simulate.run(&mut context),
        Command::Access(access) => access.run(&mut context),
        Command::Activity(activity) => activity.run(&mut context),
        Command::Audit(audit) => audit.run(&mut context),
        Command::Forget(forget) => forget.run(&mut context),
        Command::Cat(cat) => cat.run(&mut context),
        Command::Channel(channel) => channel.run(&mut context),
        Command::Status(status) => status.run(&mut context),
        Command::Reconcile(reconcile) => reconcile.run(&mut context),
        Command::Cubes(cubes) => cubes.run(&mut context),
        Command::Metrics(metrics) => metrics.run(&mut context),
        Command::Report(report) => report.run(&mut context),
        Command::Trace(trace) => trace.run(&mut context),
        Command::Fields(_) | Command::Codes(_) | Command::Docs(_) => Ok(()),
    }
}
