//! The `bench` command: measurements of the whole pipeline on the real stack.

mod hostile;
mod pipeline;
mod recovery;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measure the pipeline on a real Kafka and a real ClickHouse
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Hostile(hostile::Hostile),
    Pipeline(pipeline::Pipeline),
    Recovery(recovery::Recovery),
}

/// Why a command failed; printed as one line.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Hostile(command) => command.run(),
        Command::Pipeline(command) => command.run(),
        Command::Recovery(command) => command.run(),
    };
    outcome.unwrap_or_else(|error| {
        // If stderr is closed, the exit code is all there is.
        let _ = writeln!(std::io::stderr(), "error: {error}");
        ExitCode::FAILURE
    })
}
