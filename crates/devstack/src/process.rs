//! A child process: started, signalled, measured, and killed when its [`Process`] is dropped.
//!
//! It is reaped only after its CPU time was read: the kernel removes the counters of a reaped process.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::error::{Error, io_error};
use crate::spawn::{HOST_NAME, Host, spawn};

const POLL: Duration = Duration::from_millis(5);

/// What to start: a program built by [`crate::build_binaries`], with its environment and where its output goes.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// Path of the program; the `devstack` binary must stand beside it.
    pub program: PathBuf,
    /// Arguments, without the program's name.
    pub args: Vec<OsString>,
    /// Variables set on top of the environment of this process.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory; that of this process if none.
    pub directory: Option<PathBuf>,
    /// File that stdout and stderr are appended to.
    pub log: PathBuf,
}

/// A running (or ended) process that is killed when this value is dropped or this process dies, however it dies.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    child: Child,
    log: PathBuf,
    /// Length of the log before this process wrote to it.
    log_start: u64,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy)]
struct End {
    status: ExitStatus,
    cpu_seconds: f64,
}

impl Process {
    /// Starts a program of the pipeline.
    pub fn start(launch: &Launch) -> Result<Self, Error> {
        let program = launch.program.canonicalize().map_err(io_error("start", &launch.program))?;
        let host = Host::new(program.with_file_name(HOST_NAME));
        let mut command = host.exec(&program);
        command.args(&launch.args).envs(launch.env.iter().map(|(key, value)| (key, value)));
        if let Some(directory) = &launch.directory {
            command.current_dir(directory);
        }
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::start_bound(name, command, &launch.log)
    }

    /// Starts a command made by [`Host`].
    pub(crate) fn start_bound(name: String, mut command: Command, log: &Path) -> Result<Self, Error> {
        let output = File::options().create(true).append(true).open(log).map_err(io_error("open", log))?;
        let errors = output.try_clone().map_err(io_error("open", log))?;
        let log_start = output.metadata().map_err(io_error("inspect", log))?.len();
        command.stdout(output).stderr(errors);
        let program = PathBuf::from(command.get_program());
        let child = spawn(command).map_err(io_error("start", &program))?;
        Ok(Self { name, pid: Pid::from_child(&child), child, log: log.to_path_buf(), log_start, end: None })
    }

    /// The program's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// How it ended, or `None` while it runs.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>, Error> {
        if let Some(end) = self.end {
            return Ok(Some(end.status));
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let ended =
            waitid(WaitId::Pid(self.pid), options).map_err(|error| self.io("wait for")(error.into()))?;
        if ended.is_none() {
            return Ok(None);
        }
        let cpu_seconds = cpu_seconds(self.pid).map_err(self.io("measure"))?;
        let status = self.child.wait().map_err(|source| self.io("wait for")(source))?;
        self.end = Some(End { status, cpu_seconds });
        Ok(Some(status))
    }

    /// Waits until it ends by itself, at most `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.exit_status()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                let seconds = timeout.as_secs();
                return Err(Error::StillRunning { program: self.name.clone(), pid: self.pid(), seconds });
            }
            std::thread::sleep(POLL);
        }
    }

    /// Sends SIGTERM and returns at once; [`Process::exit_status`] shows when it has ended.
    pub fn send_sigterm(&mut self) -> Result<(), Error> {
        self.signal(Signal::TERM)
    }

    /// Sends SIGTERM and waits until it has ended, at most `timeout`; after that it is still running.
    pub fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus, Error> {
        self.signal(Signal::TERM)?;
        self.wait(timeout)
    }

    /// Sends SIGKILL and waits until it has ended.
    pub fn kill(&mut self) -> Result<ExitStatus, Error> {
        self.signal(Signal::KILL)?;
        self.wait(Duration::from_secs(30))
    }

    /// Stops it (SIGSTOP), as a long pause of the machine would.
    pub fn pause(&mut self) -> Result<(), Error> {
        self.signal(Signal::STOP)
    }

    /// Continues it (SIGCONT) after [`Process::pause`].
    pub fn resume(&mut self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    /// CPU time of all its threads so far, user and system, in seconds; the final value once it has ended.
    pub fn cpu_seconds(&self) -> Result<f64, Error> {
        match self.end {
            Some(end) => Ok(end.cpu_seconds),
            None => cpu_seconds(self.pid).map_err(self.io("measure")),
        }
    }

    /// Memory it holds now, in bytes; 0 once it has ended.
    pub fn rss_bytes(&self) -> Result<u64, Error> {
        self.status_bytes("VmRSS:")
    }

    /// The most memory it has held, in bytes; 0 once it has ended, so read it before.
    pub fn peak_rss_bytes(&self) -> Result<u64, Error> {
        self.status_bytes("VmHWM:")
    }

    /// The last `lines` lines of its output.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = self.read_log(0);
        let skip = text.lines().count().saturating_sub(lines);
        text.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }

    /// What it has written since its start.
    pub(crate) fn output(&self) -> String {
        self.read_log(self.log_start)
    }

    fn read_log(&self, start: u64) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(bytes.len());
        String::from_utf8_lossy(&bytes[start..]).into_owned()
    }

    fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        // Once it has ended its id may belong to another process.
        if self.exit_status()?.is_some() {
            return Ok(());
        }
        kill_process(self.pid, signal).map_err(|error| self.io("signal")(error.into()))
    }

    fn status_bytes(&self, field: &str) -> Result<u64, Error> {
        if self.end.is_some() {
            return Ok(0);
        }
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid())).map_err(self.io("measure"))?;
        let kilobytes =
            status.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse().ok());
        Ok(kilobytes.unwrap_or(0_u64) * 1024)
    }

    fn io(&self, doing: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        io_error(doing, Path::new(&format!("{} (process {})", self.name, self.pid())))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // If this fails, the kernel still ends it together with this process.
        let _ = self.kill();
    }
}

/// User and system time of all threads, in seconds, from `/proc/PID/stat`.
fn cpu_seconds(pid: Pid) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    let ticks = cpu_ticks(&stat).ok_or_else(|| io::Error::other("/proc/PID/stat cannot be parsed"))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    // The name in parentheses may contain spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_a_name_with_parentheses() {
        let stat = "4908 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 590 84 0 0 20 0";
        assert_eq!(cpu_ticks(stat), Some(674));
        assert_eq!(cpu_ticks("4908"), None);
    }
}
