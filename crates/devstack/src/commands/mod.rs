//! The subcommands, one file each.

mod demo;
mod failure;
mod host_clickhouse;
mod host_exec;
mod parent;
mod up;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Real Kafka and ClickHouse on this machine, downloaded from package registries
#[derive(Debug, Parser)]
#[command(name = "devstack", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Up),
    Demo(demo::Demo),
    #[command(hide = true)]
    HostExec(host_exec::HostExec),
    #[command(hide = true)]
    HostClickhouse(host_clickhouse::HostClickHouse),
}

pub(crate) fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Up(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::HostExec(command) => command.run(),
        Command::HostClickhouse(command) => command.run(),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            // If stderr is closed, the exit code is all there is.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
