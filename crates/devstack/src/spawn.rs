//! Starts children that the kernel kills when this process ends, also after `kill -9`.
//!
//! The kernel sends the parent-death signal when the *thread* that started a child ends, so one thread that never ends
//! starts all children. The child requests the signal itself, as `devstack host-exec`: so no code runs between `fork`
//! and `exec`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::thread;

/// File name of the binary that requests the signal.
pub(crate) const HOST_NAME: &str = "devstack";

/// The `devstack` binary that every child starts as.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    executable: PathBuf,
}

impl Host {
    pub(crate) fn new(executable: PathBuf) -> Self {
        Self { executable }
    }

    /// This process, if it is `devstack`. The link stays valid when cargo replaces the file.
    pub(crate) fn this_process() -> Option<Self> {
        let executable = std::env::current_exe().ok()?;
        let name = executable.file_name()?.to_string_lossy().into_owned();
        let is_devstack = name == HOST_NAME || name == format!("{HOST_NAME} (deleted)");
        is_devstack.then(|| Self::new(PathBuf::from("/proc/self/exe")))
    }

    /// A command that becomes `program` once it is bound to this process.
    pub(crate) fn exec(&self, program: &Path) -> Command {
        let mut command = self.subcommand("host-exec");
        command.arg("--").arg(program);
        command
    }

    /// A command that becomes a ClickHouse server by calling the library at `library`.
    pub(crate) fn clickhouse(&self, library: &Path) -> Command {
        let mut command = self.subcommand("host-clickhouse");
        command.arg("--library").arg(library).arg("--");
        command
    }

    fn subcommand(&self, name: &str) -> Command {
        let mut command = Command::new(&self.executable);
        command.arg0(HOST_NAME);
        command.arg(OsStr::new(name)).arg("--parent").arg(std::process::id().to_string());
        // A process group of its own: Ctrl-C in the terminal reaches this process only, which stops the children in order.
        command.process_group(0).stdin(Stdio::null());
        command
    }
}

type Job = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Starts `command` from the thread that never ends.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, child) in jobs {
                // The receiver is gone only if its thread panicked.
                let _ = child.send(command.spawn());
            }
        });
        sender
    });
    let (sender, child) = mpsc::sync_channel(1);
    spawner
        .send((command, sender))
        .map_err(|_| io::Error::other("the thread that starts children has ended"))?;
    child.recv().map_err(|_| io::Error::other("the thread that starts children has ended"))?
}
