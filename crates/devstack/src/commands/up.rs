//! `devstack up`: both servers until Ctrl-C.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use devstack::{ProgressLine, Stack, StackOptions, on_interrupt};

use super::failure::Failure;

const POLL: Duration = Duration::from_millis(50);

/// Start Kafka and ClickHouse, print their addresses and keep them until Ctrl-C
///
/// The first start downloads them (about 230 MB). Their data is removed at the end. Servers named by
/// MILLRACE_TEST_KAFKA (brokers) and MILLRACE_TEST_CLICKHOUSE (URL) are used instead of starting them.
#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// Directory with config.d, users.d and user_files for ClickHouse
    #[arg(long, value_name = "DIRECTORY")]
    clickhouse_overlay: Option<PathBuf>,
}

impl Up {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let interrupted = on_interrupt()?;
        let line = ProgressLine::start();
        let options = StackOptions {
            clickhouse_overlay: self.clickhouse_overlay,
            progress: line.progress(),
            ..StackOptions::default()
        };
        let start = thread::spawn(|| Stack::start(options));
        while !start.is_finished() {
            if interrupted.load(Ordering::Relaxed) {
                // The start is abandoned; its children end with this process.
                return Ok(ExitCode::from(130));
            }
            thread::sleep(POLL);
        }
        let stack = start.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        line.finish();
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "kafka       {}", stack.brokers())?;
        writeln!(stdout, "clickhouse  {}", stack.clickhouse_url())?;
        writeln!(stdout, "running until ctrl-c")?;
        stdout.flush()?;
        while !interrupted.load(Ordering::Relaxed) {
            thread::sleep(POLL);
        }
        Ok(ExitCode::SUCCESS)
    }
}
