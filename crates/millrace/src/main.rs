//! `millrace`, the operator's command: makes topics and tables, shows what flows, keeps the activity registry.
use std::process::ExitCode;

use clap::Parser;

mod arguments;
mod command;
mod context;
mod error;
mod kafka;
mod metrics;
mod output;
mod proof;
mod record;
mod registry;
mod report;
mod row;
mod table;
mod tables;

fn main() -> ExitCode {
    let outcome = command::run(arguments::Arguments::parse());
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
