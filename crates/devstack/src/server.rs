//! A server of the stack: started until it answers, killed and restarted on the same port and data.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::process::Process;

const READY_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(25);

/// How to start one server and to see that it is the one that answers.
pub(crate) trait Plan {
    /// `kafka` or `clickhouse`.
    const NAME: &'static str;
    /// The command that becomes the server.
    fn command(&self) -> Command;
    /// File for its output.
    fn log(&self) -> PathBuf;
    /// Whether it answers, and not somebody else on the same port.
    fn answers(&self) -> bool;
    /// The line of its output that tells why it ended.
    fn telling_line(output: &str) -> Option<&str>;
}

/// A server that runs, or is dead until it is restarted.
pub(crate) struct Server<P: Plan> {
    plan: P,
    process: Process,
    cpu_seconds_of_earlier_lives: f64,
}

impl<P: Plan> Server<P> {
    pub(crate) fn start(plan: P) -> Result<Self, Error> {
        let process = launch(&plan)?;
        Ok(Self { plan, process, cpu_seconds_of_earlier_lives: 0.0 })
    }

    /// # Errors
    /// [`Error::ServerStopped`] when it has ended and nobody killed it.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        check_runs::<P>(&mut self.process)
    }

    pub(crate) fn kill(&mut self) -> Result<(), Error> {
        self.process.kill().map(|_| ())
    }

    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        self.kill()?;
        let cpu_seconds = self.process.cpu_seconds()?;
        self.process = launch(&self.plan)?;
        self.cpu_seconds_of_earlier_lives += cpu_seconds;
        Ok(())
    }

    pub(crate) fn cpu_seconds(&self) -> Result<f64, Error> {
        Ok(self.cpu_seconds_of_earlier_lives + self.process.cpu_seconds()?)
    }

    pub(crate) fn plan(&self) -> &P {
        &self.plan
    }
}

fn launch<P: Plan>(plan: &P) -> Result<Process, Error> {
    let mut process = Process::start_bound(P::NAME.to_owned(), plan.command(), &plan.log())?;
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        // In this order: what answers may be another server on the port that made ours end.
        let is_answering = plan.answers();
        check_runs::<P>(&mut process)?;
        if is_answering {
            return Ok(process);
        }
        if Instant::now() >= deadline {
            let seconds = READY_TIMEOUT.as_secs();
            return Err(Error::ServerNotReady { server: P::NAME, seconds, detail: why::<P>(&process) });
        }
        thread::sleep(POLL);
    }
}

fn check_runs<P: Plan>(process: &mut Process) -> Result<(), Error> {
    match process.exit_status()? {
        Some(status) => Err(Error::ServerStopped { server: P::NAME, status, detail: why::<P>(process) }),
        None => Ok(()),
    }
}

fn why<P: Plan>(process: &Process) -> String {
    let output = process.log_tail(200);
    let line = P::telling_line(&output).or_else(|| output.lines().next_back());
    line.unwrap_or("it wrote nothing").trim().to_owned()
}
