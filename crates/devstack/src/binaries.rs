//! The workspace's own binaries, built by cargo: what is tested is what is in the tree.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::error::{Error, io_error};

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A cargo profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Fast to build.
    Dev,
    /// Fast to run.
    Release,
}

impl Profile {
    /// The profile this crate itself was built with, as far as debug assertions tell.
    pub fn of_this_build() -> Self {
        if cfg!(debug_assertions) { Self::Dev } else { Self::Release }
    }
}

/// Builds all binaries of the workspace, `devstack` among them, and returns the directory they are in. Cargo's own
/// progress goes to stderr. Asked again, it returns at once.
pub fn build_binaries(profile: Profile) -> Result<PathBuf, Error> {
    static BUILT: Mutex<[Option<PathBuf>; 2]> = Mutex::new([None, None]);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let slot = &mut built[usize::from(profile == Profile::Release)];
    if let Some(directory) = slot {
        return Ok(directory.clone());
    }
    let directory = build(profile)?;
    *slot = Some(directory.clone());
    Ok(directory)
}

fn build(profile: Profile) -> Result<PathBuf, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.args(["build", "--workspace", "--bins", "--message-format=json-render-diagnostics"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    command.current_dir(WORKSPACE).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(io_error("run", Path::new(&cargo)))?;
    if !output.status.success() {
        return Err(Error::Build(format!("{}; its errors are above", output.status)));
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let executable = messages.lines().find_map(executable_path);
    let directory = executable.and_then(|path| path.parent().map(Path::to_path_buf));
    directory.ok_or_else(|| Error::Build("it named no executable".to_owned()))
}

fn executable_path(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    message.get("executable")?.as_str().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        for (message, path) in [
            (r#"{"reason":"compiler-artifact","executable":"/t/debug/ingest"}"#, Some("/t/debug/ingest")),
            (r#"{"reason":"compiler-artifact","executable":null}"#, None),
            (r#"{"reason":"build-finished","success":true}"#, None),
            ("warning: not json", None),
        ] {
            assert_eq!(executable_path(message), path.map(PathBuf::from), "{message}");
        }
    }
}
