//! The subcommands, one file each.

mod demo;
mod host_clickhouse;
mod host_exec;
mod up;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

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

/// Why a command failed; printed as one line.
type Failure = Box<dyn std::error::Error + Send + Sync>;

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

/// Has the kernel kill this process when `parent` ends.
///
/// # Errors
/// `parent` has ended already.
fn die_with(parent: i32) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().map(Pid::as_raw_nonzero).is_some_and(|pid| pid.get() == parent) {
        return Ok(());
    }
    Err(format!("process {parent}, which started this one, has ended").into())
}
