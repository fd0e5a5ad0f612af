//! Every error of the stack, as one line that says what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why the stack or one of its processes cannot run.
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
        /// Path of the program.
        java: String,
        /// Its version.
        found: String,
    },
    /// A package registry cannot be reached.
    #[error(
        "{registry} cannot be reached to download {what}: check network, proxy or mirror settings ({detail})"
    )]
    NoNetwork {
        /// Name of the registry.
        registry: &'static str,
        /// `kafka` or `clickhouse`.
        what: &'static str,
        /// The error line of the tool.
        detail: String,
    },
    /// There is too little disk space.
    #[error("disk full: {path}: {detail}; free some space or set XDG_CACHE_HOME to a directory that has it")]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
        /// How much is needed and free, or the error line of the tool.
        detail: String,
    },
    /// A download failed for another reason.
    #[error("{tool} could not fetch {what}: {detail}")]
    Download {
        /// The tool: mvn or npm.
        tool: &'static str,
        /// `kafka` or `clickhouse`.
        what: &'static str,
        /// The error line of the tool.
        detail: String,
    },
    /// A downloaded file is not the one that was pinned.
    #[error("{file} has sha256 {found} instead of {expected}: the registry or mirror serves something else")]
    Checksum {
        /// Name of the file.
        file: String,
        /// Pinned digest, hex.
        expected: String,
        /// Digest of the downloaded file, or `missing`.
        found: String,
    },
    /// A server ended without being killed by devstack.
    #[error("{server} ended unexpectedly ({status}): {detail}")]
    ServerStopped {
        /// `kafka` or `clickhouse`.
        server: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The error line of its log.
        detail: String,
    },
    /// A server runs and does not become ready.
    #[error("{server} was not ready within {seconds} s: {detail}")]
    ServerNotReady {
        /// `kafka` or `clickhouse`.
        server: &'static str,
        /// The time limit.
        seconds: u64,
        /// The error line of its log.
        detail: String,
    },
    /// A server named by the environment can be neither killed nor measured.
    #[error(
        "{server} comes from {variable} and was not started by devstack: unset {variable} to have devstack start it"
    )]
    NotOurs {
        /// `kafka` or `clickhouse`.
        server: &'static str,
        /// Variable that names it.
        variable: &'static str,
    },
    /// A command of the workspace failed.
    #[error("`{command}` failed ({status}): {errors}")]
    Command {
        /// With its arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// Its stderr and stdout.
        errors: String,
    },
    /// A process ended when it should not have, or not cleanly.
    #[error("{program} ended with {status}; its last log lines:\n{log}")]
    Ended {
        /// Name of the program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// A query failed.
    #[error("clickhouse at {url}: {reason}")]
    Query {
        /// Where ClickHouse is.
        url: String,
        /// Its error message.
        reason: String,
    },
    /// Some events have no outcome yet, and the totals stand still.
    #[error("{arrived} of {sent} events are stored, duplicates or dead letters; unchanged for {seconds} s")]
    Stalled {
        /// Events with an outcome so far.
        arrived: u64,
        /// Events sent.
        sent: u64,
        /// How long the totals stand still.
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
        /// The time limit.
        seconds: u64,
    },
    /// Neither `XDG_CACHE_HOME` nor `HOME` is an absolute path.
    #[error("no cache directory: set XDG_CACHE_HOME or HOME to an absolute path")]
    NoCacheDirectory,
    /// A name that would break the configuration file.
    #[error("clickhouse user {0:?}: a name is a letter followed by letters, digits and underscores")]
    BadUserName(String),
    /// The operating system returned an error.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// The operation, as a verb.
        doing: &'static str,
        /// The file or program.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

/// Adds operation and path to an I/O error; a full disk becomes [`Error::DiskFull`].
pub(crate) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_path_buf();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull => Error::DiskFull { path, detail: source.to_string() },
        _ => Error::Io { doing, path, source },
    }
}
