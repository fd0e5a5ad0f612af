//! The process shell around a stage: arguments, configuration, logs, metrics, HTTP, signals, exit code.
use clap::Parser;
use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    Error,
    config::{self, ConfigError, Settings, Written},
    crash,
    health::Health,
    http::{self, Pages},
    metric,
    shutdown::Shutdown,
    telemetry,
};

/// A stop takes no longer than this, even if a server does not answer or a client cannot be closed. Orchestrators kill after
/// 30 s; ending before that leaves a log line. The parts of a process give up earlier.
const STOP_WITHIN: Duration = Duration::from_secs(18);

/// How often samples are added to the histograms' buckets. Without it they use memory until the next scrape.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Settings come from the built-in defaults, then --config FILE, then MILLRACE__SECTION__KEY in the environment.
///
/// Exit codes: 0 clean end, 1 failed, 2 wrong usage, 78 wrong configuration.
#[derive(Debug, Parser)]
struct Arguments {
    /// TOML file that overrides the built-in defaults
    #[arg(long, value_name = "FILE", env = "MILLRACE_CONFIG")]
    config: Option<PathBuf>,
    /// Check the configuration and the files it names, print the result with secrets masked, and exit
    #[arg(long)]
    check_config: bool,
    /// Accept a missing or short identity secret, and secret files that every user can read
    #[arg(long)]
    insecure_demo: bool,
    /// Print the version and exit
    #[arg(long, short = 'V')]
    version: bool,
}

/// Checks what a stage needs of its configuration beyond the values of the keys: the files that it names.
pub type Check = fn(&Settings) -> Result<(), ConfigError>;
/// Runs a stage. Must return soon after the shutdown is requested.
pub type Run = fn(Settings, Shutdown, Health) -> Result<(), Error>;

/// The whole of a stage's `main`. Calls `run` on the main thread inside a Tokio context
/// (`tokio::runtime::Handle::current()` works). `--check-config` ends with the errors that a start ends with.
pub fn main(stage: &'static str, check: Check, run: Run) -> ExitCode {
    let name = [OsString::from(stage)];
    let arguments = Arguments::parse_from(name.into_iter().chain(std::env::args_os().skip(1)));
    if arguments.version {
        print_line(&format!("{stage} {}", env!("CARGO_PKG_VERSION")));
        return ExitCode::SUCCESS;
    }
    let (shown, settings) = match read(&arguments, check) {
        Ok(read) => read,
        Err(error) => return fail(&error.into()),
    };
    if arguments.check_config {
        for warning in &settings.warnings {
            print_error(&format!("warning: {warning}"));
        }
        print_line(&shown);
        return ExitCode::SUCCESS;
    }
    telemetry::log(&settings.log);
    crash::abort_on_panic();
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    match start(stage, settings, run) {
        Ok(()) => {
            tracing::info!(stage, "stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(stage, %error, "stage failed");
            ExitCode::from(error.exit_code())
        }
    }
}

/// The configuration as it is printed, and as it is used.
fn read(arguments: &Arguments, check: Check) -> Result<(String, Settings), ConfigError> {
    let insecure_demo = ("MILLRACE__INSECURE_DEMO".to_owned(), "true".to_owned());
    let environment = config::environment().chain(arguments.insecure_demo.then_some(insecure_demo));
    let written = Written::read_from(arguments.config.as_deref(), environment)?;
    let (shown, origins) = (written.masked(), written.origins.clone());
    let settings = Settings::resolve(written)?;
    check(&settings).map_err(|error| error.located(&origins))?;
    Ok((shown, settings))
}

fn start(stage: &'static str, settings: Settings, run: Run) -> Result<(), Error> {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|source| Error::System { action: "starting the asynchronous runtime", source })?;
    let metrics = telemetry::metrics().map_err(|error| Error::Stage(format!("metrics: {error}")))?;
    let (health, shutdown) = (Health::default(), Shutdown::default());
    let pages = Pages {
        stage,
        pipeline: settings.pipeline.clone(),
        instance: settings.instance.clone(),
        metrics: metrics.clone(),
        health: health.clone(),
    };
    let address = settings.http.listen.unwrap_or_else(|| default_address(stage));
    let bound = tokio.block_on(http::serve(address, pages))?;
    tracing::info!(stage, version = env!("CARGO_PKG_VERSION"), http = %bound, instance = settings.instance, "started");
    metric::describe();
    metrics::gauge!("millrace_build_info", "stage" => stage, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    tokio.spawn(async move {
        loop {
            tokio::time::sleep(METRICS_UPKEEP).await;
            metrics.run_upkeep();
        }
    });
    tokio.spawn(stop_on_signal(shutdown.clone()));
    tokio.spawn(limit_stop(shutdown.clone()));
    let ended = {
        let _context = tokio.enter();
        run(settings, shutdown, health)
    };
    // Dropping the runtime would wait for blocking tasks, such as the lookup of a host name.
    tokio.shutdown_background();
    ended
}

async fn limit_stop(shutdown: Shutdown) {
    shutdown.wait().await;
    tokio::time::sleep(STOP_WITHIN).await;
    let seconds = STOP_WITHIN.as_secs();
    tracing::error!(
        seconds,
        "stop took too long, exiting; unfinished work will be done again at the next start"
    );
    std::process::exit(1);
}

fn default_address(stage: &str) -> SocketAddr {
    let port = match stage {
        "ingest" => 9464,
        "enrich" => 9465,
        _ => 9466,
    };
    (Ipv4Addr::LOCALHOST, port).into()
}

async fn stop_on_signal(shutdown: Shutdown) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received, only SIGKILL stops this process");
        return;
    };
    let mut received = 0;
    loop {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
        received += 1;
        if received > 1 {
            tracing::warn!(
                "second signal, exiting at once; unfinished work will be done again at the next start"
            );
            std::process::exit(1);
        }
        tracing::info!("stopping, finishing the work in progress");
        shutdown.trigger();
    }
}

fn fail(error: &Error) -> ExitCode {
    for line in error.to_string().lines() {
        print_error(&format!("error: {line}"));
    }
    ExitCode::from(error.exit_code())
}

fn print_error(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn print_line(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}
