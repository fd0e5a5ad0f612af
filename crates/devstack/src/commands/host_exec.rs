//! `devstack host-exec`: becomes another program, which is killed together with its parent.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use super::{failure::Failure, parent::die_with};

/// Become PROGRAM, killed when PARENT ends
#[derive(Debug, clap::Args)]
pub(crate) struct HostExec {
    /// Process id of the parent.
    #[arg(long)]
    parent: i32,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

impl HostExec {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        die_with(self.parent)?;
        let [program, args @ ..] = &self.program[..] else {
            return Err("no program given".into());
        };
        // The death signal stays set across exec; exec returns only if it failed.
        let error = Command::new(program).args(args).exec();
        Err(format!("cannot run {}: {error}", program.display()).into())
    }
}
