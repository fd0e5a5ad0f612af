//! `devstack up`: both servers until Ctrl-C.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use devstack::{Stack, StackOptions};
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, spinner::Spinner};

/// Start Kafka and ClickHouse, print their addresses and keep them until Ctrl-C
///
/// The first start downloads them (about 230 MB). Their data is gone afterwards. Servers named by
/// MILLRACE_TEST_KAFKA (brokers) and MILLRACE_TEST_CLICKHOUSE (URL) are used instead of own ones.
#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// Directory with config.d, users.d and user_files for ClickHouse
    #[arg(long, value_name = "DIRECTORY")]
    clickhouse_overlay: Option<PathBuf>,
}

impl Up {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let code = runtime.block_on(self.start_and_wait());
        // A start that was interrupted is not waited for; its children end with this process.
        runtime.shutdown_background();
        code
    }

    async fn start_and_wait(self) -> Result<ExitCode, Failure> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut stopped = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };

        let spinner = Spinner::new();
        let options = StackOptions {
            clickhouse_overlay: self.clickhouse_overlay,
            progress: spinner.progress(),
            ..StackOptions::default()
        };
        let stack = tokio::select! {
            stack = tokio::task::spawn_blocking(|| Stack::start(options)) => stack??,
            () = stopped() => return Ok(ExitCode::from(130)),
        };
        spinner.finish();
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "kafka       {}", stack.brokers())?;
        writeln!(stdout, "clickhouse  {}", stack.clickhouse_url())?;
        writeln!(stdout, "running until ctrl-c")?;
        stdout.flush()?;
        stopped().await;
        Ok(ExitCode::SUCCESS)
    }
}
