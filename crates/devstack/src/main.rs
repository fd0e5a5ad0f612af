//! The `devstack` command: the demo, the servers alone, and the program that every child of the stack starts as.

mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    commands::run(commands::Cli::parse())
}
