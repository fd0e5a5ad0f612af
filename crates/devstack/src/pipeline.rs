//! The three processes of a pipeline on a running stack, with their own topics, tables and names.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::binaries::{Profile, build_binaries};
use crate::error::{Error, io_error};
use crate::process::{Launch, Process};
use crate::stack::Stack;

/// The stages, in the order of the flow; also the names of their binaries.
pub const STAGES: [&str; 3] = ["ingest", "enrich", "aggregate"];

/// How long a stage may take to commit its transaction or flush after SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// The apps of the simulator's events, `simulator::APP_IDS`; its unknown apps are to be rejected.
const SIMULATED_APPS: &str = "web-main,app-main,pc-recorder";

/// The secret of every pipeline here, so that its keys are the same in every run.
const IDENTITY_SECRET: &str = "devstack: a secret for tests and demonstrations";

/// Names of one pipeline on a shared stack, and where its binaries and logs are.
#[derive(Debug, Clone)]
pub struct Pipeline {
    name: String,
    binaries: PathBuf,
    logs: PathBuf,
    env: Vec<(String, String)>,
}

impl Pipeline {
    /// A pipeline called `name` on `stack`: its topics have the prefix `name.`, its database is `name`. Logs go to
    /// files in `logs`. Builds the binaries; topics and tables are created by [`Pipeline::create`].
    pub fn new(stack: &Stack, name: &str, profile: Profile, logs: &Path) -> Result<Self, Error> {
        let binaries = build_binaries(profile)?;
        std::fs::create_dir_all(logs).map_err(io_error("create", logs))?;
        let mut pipeline =
            Self { name: name.to_owned(), binaries, logs: logs.to_path_buf(), env: Vec::new() };
        for (key, value) in [
            ("MILLRACE__PIPELINE", name),
            ("MILLRACE__KAFKA__BROKERS", stack.brokers()),
            ("MILLRACE__KAFKA__TOPIC_PREFIX", &format!("{name}.")),
            ("MILLRACE__CLICKHOUSE__URL", stack.clickhouse_url()),
            ("MILLRACE__CLICKHOUSE__DATABASE", name),
            ("MILLRACE__HTTP__LISTEN", "127.0.0.1:0"),
            ("MILLRACE__ENRICH__IDENTITY_SECRET", IDENTITY_SECRET),
            ("MILLRACE__INGEST__APPS", SIMULATED_APPS),
        ] {
            pipeline.set(key, value);
        }
        Ok(pipeline)
    }

    /// Its name, which is also its database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets an environment variable of everything started from now on.
    pub fn set(&mut self, key: &str, value: &str) {
        self.env.retain(|(known, _)| known != key);
        self.env.push((key.to_owned(), value.to_owned()));
    }

    /// Runs `millrace` with these arguments to its end and returns its stdout.
    ///
    /// # Errors
    /// [`Error::Command`] with its output when it fails.
    pub fn millrace(&self, args: &[&str]) -> Result<String, Error> {
        let program = self.binaries.join("millrace");
        let mut command = Command::new(&program);
        command.args(args).envs(self.env.iter().map(|(key, value)| (key, value)));
        let output = command.output().map_err(io_error("run", &program))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let texts =
            [output.stderr, output.stdout].map(|text| String::from_utf8_lossy(&text).trim().to_owned());
        let errors = texts.join("\n");
        Err(Error::Command { command: format!("millrace {}", args.join(" ")), status: output.status, errors })
    }

    /// Creates the topics and the tables.
    pub fn create(&self) -> Result<(), Error> {
        self.millrace(&["topics", "create"])?;
        self.millrace(&["migrate"])?;
        Ok(())
    }

    /// Starts a binary of the workspace as process `instance`, with `more` environment variables.
    pub fn start(
        &self,
        binary: &str,
        instance: &str,
        args: &[&str],
        more: &[(&str, &str)],
    ) -> Result<Process, Error> {
        let own = [("MILLRACE__INSTANCE", instance)];
        let shared = self.env.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let env = shared.chain(own).chain(more.iter().copied());
        Process::start(&Launch {
            program: self.binaries.join(binary),
            args: args.iter().map(OsString::from).collect(),
            env: env.map(|(key, value)| (key.into(), value.into())).collect(),
            directory: None,
            log: self.logs.join(format!("{binary}-{instance}.log")),
        })
    }

    /// Starts one process of each stage.
    pub fn start_stages(&self) -> Result<Vec<Process>, Error> {
        STAGES.iter().map(|stage| self.start(stage, "0", &[], &[])).collect()
    }
}

/// Ends the processes in the given order, each by SIGTERM.
///
/// # Errors
/// [`Error::Ended`] for the first one whose exit code is not 0.
pub fn stop(processes: &mut [Process]) -> Result<(), Error> {
    for process in processes {
        let status = process.terminate(STOP_TIMEOUT)?;
        if !status.success() {
            return Err(Error::Ended {
                program: process.name().to_owned(),
                status,
                log: process.log_tail(5),
            });
        }
    }
    Ok(())
}
