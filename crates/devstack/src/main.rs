//! The `devstack` command: the real servers for people, and the host every child of the stack starts through.

mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    commands::run(commands::Cli::parse())
}
