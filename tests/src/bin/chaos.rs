//! `cargo chaos`: injects faults into a pipeline, and proves that no kill, restart, rebalance, zombie or lost reply
//! changes a number.

use std::{
    cell::Cell,
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use clap::{Parser, builder::PossibleValuesParser};
use devstack::{Profile, Stack, StackOptions, on_interrupt, pipeline::STAGES};
use indicatif::{ProgressBar, ProgressStyle};
use system_tests::{
    chaos::{ChaosOptions, ChaosProgress, FaultKind, Observer, run},
    secure::Secure,
};

/// Inject faults into a pipeline on real servers, and compare every number with what the clients sent
///
/// Kills, stops, freezes and adds processes, kills Kafka and ClickHouse, loses replies and resets connections between
/// aggregate and ClickHouse. Then waits until every event is counted, and compares every cube cell, every dead letter
/// and the ledger with the truth. Exits 1 on any difference, with --hostile also on any finding. Ctrl-C ends the faults early and still compares.
#[derive(Debug, Parser)]
#[command(
    name = "cargo chaos",
    bin_name = "cargo chaos",
    after_help = "Examples:\n  cargo chaos --minutes 10\n  cargo chaos --minutes 2 --seed 7 --faults kill,kafka\n  cargo chaos --hostile --minutes 2"
)]
struct Arguments {
    /// How long faults are injected
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Determines the faults and the events [default: a new one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Kinds of faults, separated by commas [default: all]
    #[arg(long, value_delimiter = ',')]
    faults: Vec<FaultKind>,
    /// Stages whose processes are killed, stopped and frozen, separated by commas [default: all]
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(STAGES))]
    stages: Vec<String>,
    /// Events per second
    #[arg(long, default_value_t = 11_000.0)]
    rate: f64,
    /// Processes of each stage
    #[arg(long, default_value_t = 2)]
    members: usize,
    /// Send hostile records too: no process may end by itself, or use more than 1.25 times its memory limit
    #[arg(long)]
    hostile: bool,
    /// Run over TLS with passwords and ACLs: Kafka with SASL_SSL, ClickHouse with HTTPS
    #[arg(long)]
    secure: bool,
    /// Memory limit of each process
    #[arg(long, default_value = "512MiB")]
    memory_limit: ByteSize,
    /// Directory for the logs [default: a temporary one, removed after a run without differences]
    #[arg(long)]
    logs: Option<PathBuf>,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match run_chaos(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_chaos(arguments: Arguments) -> Result<ExitCode, Failure> {
    let seed = arguments.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ now_seconds());
    let are_logs_wanted = arguments.logs.is_some();
    let logs = arguments.logs.unwrap_or_else(|| std::env::temp_dir().join(format!("millrace-chaos-{seed}")));
    let mut out = std::io::stdout().lock();
    writeln!(out, "seed {seed}, logs in {}", logs.display())?;
    out.flush()?;

    let stop = on_interrupt()?;
    let minutes = arguments.minutes;
    let length = Duration::try_from_secs_f64(minutes * 60.0)
        .map_err(|error| format!("--minutes {minutes} is not a valid duration: {error}"))?;
    let secure = if arguments.secure { Some(Arc::new(Secure::new()?)) } else { None };
    let kafka_security = secure.as_ref().map(|secure| secure.kafka.clone());
    let mut stack = Stack::start(StackOptions { kafka_security, ..StackOptions::own_servers() })?;
    let is_selected =
        |stage: &str| arguments.stages.is_empty() || arguments.stages.iter().any(|s| s == stage);
    let options = ChaosOptions {
        seed,
        length,
        kinds: if arguments.faults.is_empty() { FaultKind::ALL.to_vec() } else { arguments.faults },
        stages: (0..STAGES.len()).filter(|&stage| is_selected(STAGES[stage])).collect(),
        rate: arguments.rate,
        members: arguments.members,
        hostile: arguments.hostile,
        secure,
        memory_limit: arguments.memory_limit,
        profile: Profile::of_this_build(),
        logs,
    };
    let display = ProgressDisplay::new(length);
    let report = run(&options, &mut stack, &display, &stop)?;
    display.finish();
    write!(out, "\n{report}")?;
    if report.is_exact() && report.processes.findings.is_empty() && !are_logs_wanted {
        let _ = std::fs::remove_dir_all(&report.logs);
    } else {
        writeln!(out, "logs are in {}", report.logs.display())?;
    }
    if arguments.json {
        writeln!(out, "{}", report.json())?;
    }
    out.flush()?;
    let has_passed = report.is_exact() && !(arguments.hostile && report.has_findings());
    Ok(if has_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows the progress: as a bar on a terminal, otherwise as a line every ten seconds.
struct ProgressDisplay {
    bar: Option<ProgressBar>,
    printed: Cell<Instant>,
}

impl ProgressDisplay {
    fn new(length: Duration) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(length.as_secs()).with_style(style)
        });
        Self { bar, printed: Cell::new(Instant::now()) }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for ProgressDisplay {
    fn message(&self, line: &str) {
        if let Some(bar) = &self.bar {
            bar.println(line);
        }
    }

    fn progress(&self, progress: ChaosProgress) {
        let ChaosProgress { elapsed, is_draining, sent, counted, faults } = progress;
        let phase = if is_draining { "draining" } else { "injecting faults" };
        let line = format!("{phase}: {sent} sent, {counted} counted, {faults} faults");
        if let Some(bar) = &self.bar {
            bar.set_position(elapsed.as_secs());
            bar.set_message(line);
        } else if self.printed.get().elapsed() >= Duration::from_secs(10) {
            self.printed.set(Instant::now());
            let _ = writeln!(std::io::stderr(), "{:>5} s  {line}", elapsed.as_secs());
        }
    }
}

fn now_seconds() -> u64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
