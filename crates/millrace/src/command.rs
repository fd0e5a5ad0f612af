//! One file per command; each has its arguments as a type and one function `run`.
use crate::{
    arguments::{Arguments, Command},
    context::Context,
    error::Error,
    output::Output,
};

pub(crate) mod activity;
pub(crate) mod cat;
pub(crate) mod channel;
pub(crate) mod codes;
pub(crate) mod cubes;
pub(crate) mod docs;
pub(crate) mod fields;
pub(crate) mod metrics;
pub(crate) mod migrate;
pub(crate) mod reconcile;
pub(crate) mod report;
pub(crate) mod simulate;
pub(crate) mod status;
pub(crate) mod topics;
pub(crate) mod trace;

/// Runs the command that was asked for.
pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
    let mut output = Output::new(arguments.json);
    // The catalogues are part of the program: they can be read with any configuration, or none.
    match &arguments.command {
        Command::Fields(fields) => return fields.run(&mut output),
        Command::Codes(codes) => return codes.run(&mut output),
        Command::Docs(docs) => return docs.run(&mut output),
        _ => (),
    }
    let mut context = Context::new(arguments.config.as_deref(), output)?;
    match arguments.command {
        Command::Topics(topics) => topics.run(&mut context),
        Command::Migrate(migrate) => migrate.run(&mut context),
        Command::Simulate(simulate) => simulate.run(&mut context),
        Command::Activity(activity) => activity.run(&mut context),
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
