//! A server of the stack: started until it is ready, killed and restarted on the same port and data.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::process::Process;

const READY_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(25);

/// How to start one server and to see that it is ready.
pub(crate) trait Plan {
    /// `kafka` or `clickhouse`.
    const NAME: &'static str;
    /// The command that becomes the server.
    fn command(&self) -> Command;
    /// File for its output.
    fn log(&self) -> PathBuf;
    /// Whether it is ready for clients, and not another server on the same port. `output` is what it has written
    /// since its start.
    fn is_ready(&self, output: &str) -> bool;
    /// The line of its output that holds the error it ended with.
    fn error_line(output: &str) -> Option<&str>;
}

/// A server that runs, or is dead until it is restarted.
pub(crate) struct Server<P: Plan> {
    plan: P,
    process: Process,
    cpu_seconds_before_restart: f64,
}

impl<P: Plan> Server<P> {
    pub(crate) fn start(plan: P) -> Result<Self, Error> {
        let process = launch(&plan)?;
        Ok(Self { plan, process, cpu_seconds_before_restart: 0.0 })
    }

    /// # Errors
    /// [`Error::ServerStopped`] when it has ended and was not killed by [`Server::kill`].
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        check_runs::<P>(&mut self.process)
    }

    pub(crate) fn kill(&mut self) -> Result<(), Error> {
        self.process.kill().map(|_| ())
    }

    pub(crate) fn pause(&mut self) -> Result<(), Error> {
        self.process.pause()
    }

    pub(crate) fn resume(&mut self) -> Result<(), Error> {
        self.process.resume()
    }

    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        self.kill()?;
        let cpu_seconds = self.process.cpu_seconds()?;
        self.process = launch(&self.plan)?;
        self.cpu_seconds_before_restart += cpu_seconds;
        Ok(())
    }

    /// CPU time of all its processes, those before a restart included.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, Error> {
        Ok(self.cpu_seconds_before_restart + self.process.cpu_seconds()?)
    }

    pub(crate) fn plan(&self) -> &P {
        &self.plan
    }
}

fn launch<P: Plan>(plan: &P) -> Result<Process, Error> {
    let mut process = Process::start_bound(P::NAME.to_owned(), plan.command(), &plan.log())?;
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        // In this order: a server that answers may be another one, on the port that made ours end.
        let is_ready = plan.is_ready(&process.output());
        check_runs::<P>(&mut process)?;
        if is_ready {
            return Ok(process);
        }
        if Instant::now() >= deadline {
            let seconds = READY_TIMEOUT.as_secs();
            return Err(Error::ServerNotReady { server: P::NAME, seconds, detail: reason::<P>(&process) });
        }
        thread::sleep(POLL);
    }
}

fn check_runs<P: Plan>(process: &mut Process) -> Result<(), Error> {
    match process.exit_status()? {
        Some(status) => Err(Error::ServerStopped { server: P::NAME, status, detail: reason::<P>(process) }),
        None => Ok(()),
    }
}

fn reason<P: Plan>(process: &Process) -> String {
    let output = process.log_tail(200);
    let line = P::error_line(&output).or_else(|| output.lines().next_back());
    line.unwrap_or("it wrote nothing").trim().to_owned()
}
