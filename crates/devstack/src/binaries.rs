//! The workspace's own binaries, built by cargo: what is tested is what is in the tree.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde_json::Value;

use crate::error::{Error, io_error};
use crate::progress::Progress;
use crate::spawn::{HOST_NAME, Host, spawn};

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// The packages of a pipeline's programs; those that only tests and measurements need are not among them.
const PACKAGES: [&str; 4] = ["ingest", "enrich", "aggregate", "millrace"];

/// A cargo profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// For tests: with debug assertions, failpoints and safeguard switches.
    Dev,
    /// For the first contact: fast to build from nothing, and again after an edit.
    Demo,
    /// Fast to run.
    Release,
}

impl Profile {
    /// Dev if this crate was built with debug assertions, else release.
    pub fn of_this_build() -> Self {
        if cfg!(debug_assertions) { Self::Dev } else { Self::Release }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Demo => "demo",
            Self::Release => "release",
        }
    }
}

/// Builds the binaries of a pipeline and returns the directory they are in; the `devstack` binary is there as well.
/// Cargo's own progress goes to stderr. A second call returns at once.
pub fn build_binaries(profile: Profile) -> Result<PathBuf, Error> {
    build_binaries_with_progress(profile, &Progress::default())
}

/// As [`build_binaries`]; cargo's progress goes to `progress`, or to stderr if that is silent.
pub fn build_binaries_with_progress(profile: Profile, progress: &Progress) -> Result<PathBuf, Error> {
    static BUILT: Mutex<Vec<(Profile, PathBuf)>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, directory)) = built.iter().find(|(known, _)| *known == profile) {
        return Ok(directory.clone());
    }
    let directory = build(profile, progress)?;
    built.push((profile, directory.clone()));
    Ok(directory)
}

fn build(profile: Profile, progress: &Progress) -> Result<PathBuf, Error> {
    let cargo = PathBuf::from(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let this = Host::this_process();
    let mut command = this.as_ref().map_or_else(|| Command::new(&cargo), |host| host.exec(&cargo));
    command.args(["build", "--bins", "--profile", profile.name()]);
    command.arg("--message-format=json-render-diagnostics");
    if profile == Profile::Demo {
        // Without TLS: OpenSSL takes longer to compile than everything else.
        command.arg("--no-default-features");
        // librdkafka compiles with -O2 -g unless told otherwise, in 65 s of CPU time instead of 35.
        for (variable, flags) in [("CFLAGS", "-O1 -g0"), ("CXXFLAGS", "-O0 -g0")] {
            if std::env::var_os(variable).is_none() {
                command.env(variable, flags);
            }
        }
    }
    if profile == Profile::Dev {
        // What `cargo test --workspace` has compiled already: examples are compiled with the features that the
        // dev-dependencies add. Without them cargo would compile every crate of the workspace a second time.
        command.args(["--workspace", "--exclude", "bench", "--examples"]);
    } else {
        // This process is the newest `devstack` already; with other packages beside it, cargo would build it again.
        let devstack = this.is_none().then_some(HOST_NAME);
        command.args(PACKAGES.into_iter().chain(devstack).flat_map(|package| ["--package", package]));
    }
    // Cargo sets these for the program that it runs, which is this one. With them ring and all that needs it would be
    // compiled again by each of the two cargos.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_MANIFEST_", "CARGO_PKG_"]
            .iter()
            .any(|of_cargo| name.to_string_lossy().starts_with(of_cargo))
        {
            command.env_remove(name);
        }
    }
    command.current_dir(WORKSPACE).stdin(Stdio::null()).stdout(Stdio::piped());
    if !progress.is_silent() {
        command.stderr(Stdio::piped());
        command.envs([("CARGO_TERM_PROGRESS_WHEN", "always"), ("CARGO_TERM_PROGRESS_WIDTH", "100")]);
    }
    let mut child = spawn(command).map_err(io_error("run", &cargo))?;
    let errors = child.stderr.take();
    let (output, diagnostics) = thread::scope(|scope| {
        let diagnostics = scope.spawn(|| errors.map(|errors| follow(errors, progress)).unwrap_or_default());
        (child.wait_with_output(), diagnostics.join().unwrap_or_default())
    });
    let output = output.map_err(io_error("run", &cargo))?;
    progress.done("stages");
    if !output.status.success() {
        let _ = std::io::stderr().write_all(diagnostics.as_bytes());
        return Err(Error::Build(format!("{}; its errors are above", output.status)));
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let executable = messages.lines().find_map(executable_path);
    let directory = executable.and_then(|path| path.parent().map(std::path::Path::to_path_buf));
    directory.ok_or_else(|| Error::Build("it named no executable".to_owned()))
}

/// Reports cargo's progress bar and returns everything else that cargo writes, except the names of what it compiles.
fn follow(errors: impl Read, progress: &Progress) -> String {
    let mut diagnostics = String::new();
    let mut errors = BufReader::new(errors);
    let mut line = Vec::new();
    // Cargo ends the progress bar by a carriage return, other lines by a line feed.
    while errors.read_until(b'\r', &mut line).is_ok_and(|read| read > 0) {
        for text in String::from_utf8_lossy(&line).split(['\r', '\n']) {
            if let Some(amount) = crates_built(text) {
                progress.report("stages", "compiling", &amount);
            } else if !["Compiling", "Finished"].iter().any(|word| text.trim_start().starts_with(word)) {
                diagnostics.extend([text.trim_end(), "\n"]);
            }
        }
        line.clear();
    }
    diagnostics
}

/// `12 of 345: serde, libc` of a progress bar such as `Building [=>   ] 12/345: serde, libc`.
fn crates_built(line: &str) -> Option<String> {
    let (bar, rest) = line.split_once("] ")?;
    let (count, names) = rest.split_once(": ").unwrap_or((rest, ""));
    let (done, total) = count.split_once('/')?;
    if !bar.contains("Building [") || total.trim().parse::<u32>().is_err() {
        return None;
    }
    let names = names.trim_end_matches("\u{1b}[K").trim();
    let names: String = names.chars().take(40).collect();
    Some(format!("{} of {}: {names}", done.trim(), total.trim()))
}

/// The path in a message about a program; examples are in another directory.
fn executable_path(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let kinds = message.pointer("/target/kind")?.as_array()?;
    let path = message.get("executable")?.as_str().map(PathBuf::from);
    path.filter(|_| kinds.iter().any(|kind| kind == "bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_program_is_found_among_cargos_messages() {
        for (message, path) in [
            (r#"{"target":{"kind":["bin"]},"executable":"/t/debug/ingest"}"#, Some("/t/debug/ingest")),
            (r#"{"target":{"kind":["example"]},"executable":"/t/debug/examples/rate"}"#, None),
            (r#"{"target":{"kind":["lib"]},"executable":null}"#, None),
            (r#"{"reason":"build-finished","success":true}"#, None),
            ("warning: not json", None),
        ] {
            assert_eq!(executable_path(message), path.map(PathBuf::from), "{message}");
        }
    }

    #[test]
    fn cargos_progress_is_reported_and_its_errors_are_kept() {
        static STEPS: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let progress = Progress::new(|step| STEPS.lock().unwrap().push(step.amount.to_owned()));
        let output = "   Compiling libc v0.2\n    Building [>   ] 1/30: libc(build), serde\u{1b}[K\r\
                      \u{1b}[Kerror: expected `;`\n --> src/lib.rs:1:2\n    Building [=> ] 9/30: a\r";
        let diagnostics = follow(output.as_bytes(), &progress);
        assert_eq!(*STEPS.lock().unwrap(), ["1 of 30: libc(build), serde", "9 of 30: a"]);
        assert!(diagnostics.contains("error: expected `;`\n --> src/lib.rs:1:2\n"), "{diagnostics}");
        assert!(!diagnostics.contains("libc"), "{diagnostics}");
    }
}
