//! Everything that can stop the stack from running, each as one line that says what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why the stack, or a process bound to it, cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The ClickHouse library exists for one platform only.
    #[error(
        "devstack runs on linux x86_64 with glibc only; on other machines start kafka and clickhouse yourself and set \
         MILLRACE_TEST_KAFKA and MILLRACE_TEST_CLICKHOUSE"
    )]
    UnsupportedPlatform,
    /// A program that must be installed is not in `PATH`.
    #[error(
        "{program} is missing: {needed_for}; install it (debian: `apt install {package}`) or set {variable}"
    )]
    MissingProgram {
        /// Name of the program.
        program: &'static str,
        /// What it is for.
        needed_for: &'static str,
        /// Debian package that holds it.
        package: &'static str,
        /// Variable that names a running server instead.
        variable: &'static str,
    },
    /// Kafka 4 does not start on older Java.
    #[error(
        "{java} is version {found}, kafka needs java 17 or newer: install openjdk-17-jre-headless or set JAVA_HOME"
    )]
    JavaTooOld {
        /// The program that was asked.
        java: String,
        /// What it answered.
        found: String,
    },
    /// A package registry cannot be reached.
    #[error(
        "{registry} cannot be reached to download {what}: check network, proxy or mirror settings ({detail})"
    )]
    NoNetwork {
        /// Registry in words.
        registry: &'static str,
        /// What was wanted.
        what: &'static str,
        /// The tool's own words.
        detail: String,
    },
    /// There is not enough room for what is to be written.
    #[error("disk full: {path}: {detail}; free some space or set XDG_CACHE_HOME to a directory that has it")]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
        /// What is needed and what is there, or the words of whoever noticed.
        detail: String,
    },
    /// A download ended with an error that is none of the above.
    #[error("{tool} could not fetch {what}: {detail}")]
    Download {
        /// The tool: mvn or npm.
        tool: &'static str,
        /// What was wanted.
        what: &'static str,
        /// The tool's own words.
        detail: String,
    },
    /// A downloaded file is not the one that was pinned.
    #[error("{file} has sha256 {found} instead of {expected}: the registry or mirror serves something else")]
    Checksum {
        /// Name of the file.
        file: String,
        /// Pinned digest, hex.
        expected: String,
        /// Digest of what came, or `missing`.
        found: String,
    },
    /// A server ended, and nobody had killed it.
    #[error("{server} ended by itself ({status}): {detail}")]
    ServerStopped {
        /// `kafka` or `clickhouse`.
        server: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The telling line of its log.
        detail: String,
    },
    /// A server runs but does not answer.
    #[error("{server} did not answer within {seconds} s: {detail}")]
    ServerNotReady {
        /// `kafka` or `clickhouse`.
        server: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// The telling line of its log.
        detail: String,
    },
    /// Servers named by the environment are not ours to kill or measure.
    #[error(
        "{server} comes from {variable} and was not started here: unset {variable} to let devstack start its own"
    )]
    NotOurs {
        /// `kafka` or `clickhouse`.
        server: &'static str,
        /// Variable that names it.
        variable: &'static str,
    },
    /// A command of ours failed.
    #[error("`{command}` failed ({status}): {errors}")]
    Command {
        /// With its arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        errors: String,
    },
    /// A process ended when it should not have, or not cleanly.
    #[error("{program} ended with {status}; its last words:\n{log}")]
    Ended {
        /// Name of the program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// ClickHouse did not answer a question.
    #[error("clickhouse at {url}: {reason}")]
    Query {
        /// Where it was asked.
        url: String,
        /// Its words.
        reason: String,
    },
    /// Events sent have not all arrived, and nothing moves any more.
    #[error("{arrived} of {sent} events have arrived, and nothing has moved for {seconds} s")]
    Stalled {
        /// Stored, duplicates and dead letters so far.
        arrived: u64,
        /// What was sent.
        sent: u64,
        /// How long nothing moved.
        seconds: u64,
    },
    /// Cargo could not build the workspace's binaries.
    #[error("cargo could not build the workspace's binaries: {0}")]
    Build(String),
    /// A process did not end in time.
    #[error("{program} (process {pid}) is still running after {seconds} s")]
    StillRunning {
        /// Name of the program.
        program: String,
        /// Its process id.
        pid: u32,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Neither `XDG_CACHE_HOME` nor `HOME` names a place for the cache.
    #[error("no cache directory: set XDG_CACHE_HOME or HOME to an absolute path")]
    NoCacheDirectory,
    /// A name that cannot stand in a configuration file.
    #[error("clickhouse user {0:?} is not usable: take letters, digits and underscores")]
    BadUserName(String),
    /// The operating system refused.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On which file or program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Turns an I/O error into ours, with what was tried and where; a full disk gets its own words.
pub(crate) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_path_buf();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull => Error::DiskFull { path, detail: source.to_string() },
        _ => Error::Io { doing, path, source },
    }
}
