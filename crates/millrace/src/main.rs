//! `millrace`, the operator's command: creates topics and tables, shows what flows, keeps the activity registry.
use std::process::ExitCode;

use clap::Parser;

mod access;
mod arguments;
mod backlog;
mod command;
mod context;
mod error;
mod json_lines;
mod metrics;
mod nearest;
mod output;
mod processes;
mod registry;
mod report;
mod tables;
mod topic_reader;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    let output = output::Output::new(arguments.json);
    match command::run(arguments.command, arguments.config.as_deref(), output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
