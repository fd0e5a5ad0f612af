//! `devstack demo` (`cargo demo`): the whole pipeline with simulated clients, and the check that no event was lost or
//! counted twice.
//!
//! The servers are downloaded and started while cargo compiles the stages: on a fresh clone both take minutes.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use devstack::pipeline::{Pipeline, stop};
use devstack::{
    Process, Profile, ProgressLine, Stack, StackOptions, Totals, build_binaries_with_progress, on_interrupt,
    wait_for_events,
};
use serde_json::Value;

use super::failure::Failure;

/// The configuration of ClickHouse with the live page, as it is deployed.
const CLICKHOUSE_OVERLAY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/clickhouse");
const DATABASE: &str = "millrace";
const POLL: Duration = Duration::from_millis(100);

/// Start Kafka, ClickHouse and the three stages, send simulated events, and open the live page
///
/// Runs until Ctrl-C, or until --events are sent; then prints how many events were sent, stored, duplicates and dead
/// letters. Exits 1 when the totals differ from what was sent. Run it again after an edit: it compiles what changed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo demo\n  cargo demo --events 200000\n  cargo demo --rate 20000 --seed 7"
)]
pub(crate) struct Demo {
    /// Stop after this many events [default: until Ctrl-C]
    #[arg(long)]
    events: Option<u64>,
    /// Events per second [default: 2000, or 20000 with --events]
    #[arg(long)]
    rate: Option<u64>,
    /// Seed of the simulated clients
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Demo {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let interrupted = on_interrupt()?;
        let line = ProgressLine::start();
        let Some(stack) = build_and_start_servers(&line, &interrupted)? else {
            return Ok(ExitCode::from(130));
        };
        let logs = std::env::temp_dir().join(format!("millrace-demo-{}", std::process::id()));
        let mut pipeline = Pipeline::new(&stack, DATABASE, Profile::Demo, &logs)?;
        // The demo has the stack for itself, so its topics have the names of the documentation.
        pipeline.set("MILLRACE__KAFKA__TOPIC_PREFIX", "");
        line.show("creating topics and tables");
        pipeline.create()?;
        let mut stages = pipeline.start_stages()?;
        let truth_file = logs.join("truth.json");
        let mut clients = self.start_clients(&pipeline, &truth_file)?;
        line.finish();

        let page = format!("{}/live", stack.clickhouse_url());
        print_addresses(&stack, &page, &logs)?;
        open_in_browser(&page);
        watch(&stack, &mut clients, &mut stages, &interrupted)?;
        clients.terminate(Duration::from_secs(60))?;
        let sent = sent_events(&truth_file, &clients)?;
        eprint("\nwaiting until every event is stored");
        wait_for_events(stack.clickhouse_url(), DATABASE, sent, |_| ())?;
        // The stages write what they still hold, so that an event counted twice would show.
        stop(&mut stages)?;
        let totals = Totals::read(stack.clickhouse_url(), DATABASE)?;
        let difference = i128::from(sent) - i128::from(totals.sum());
        print_table(sent, &totals, difference)?;
        // The logs are kept if the totals differ; their path was printed at the start.
        if difference == 0 {
            let _ = std::fs::remove_dir_all(&logs);
        }
        Ok(if difference == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn start_clients(&self, pipeline: &Pipeline, truth_file: &Path) -> Result<Process, Failure> {
        let rate = self.rate.unwrap_or(if self.events.is_some() { 20_000 } else { 2_000 }).to_string();
        let (seed, truth) = (self.seed.to_string(), truth_file.display().to_string());
        let mut args = vec!["simulate", "--rate", &rate, "--seed", &seed, "--truth", &truth];
        let events = self.events.map(|events| events.to_string());
        if let Some(events) = &events {
            args.extend(["--total", events]);
        }
        Ok(pipeline.start("millrace", "simulate", &args, &[])?)
    }
}

/// Builds the binaries and starts the servers at the same time; `None` if it was interrupted.
fn build_and_start_servers(line: &ProgressLine, interrupted: &AtomicBool) -> Result<Option<Stack>, Failure> {
    let (build_progress, progress) = (line.progress(), line.progress());
    let servers = thread::spawn(move || {
        Stack::start(StackOptions {
            clickhouse_overlay: Some(PathBuf::from(CLICKHOUSE_OVERLAY)),
            progress,
            ..StackOptions::default()
        })
    });
    let build = thread::spawn(move || build_binaries_with_progress(Profile::Demo, &build_progress));
    // A failure of either ends the demo at once. What the other does is abandoned; its children end with this process.
    let (mut servers, mut build) = (Some(servers), Some(build));
    let mut stack = None;
    while servers.is_some() || build.is_some() {
        if interrupted.load(Ordering::Relaxed) {
            return Ok(None);
        }
        if let Some(ended) = build.take_if(|build| build.is_finished()) {
            ended.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        if let Some(ended) = servers.take_if(|servers| servers.is_finished()) {
            stack = Some(ended.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        thread::sleep(POLL);
    }
    Ok(stack)
}

/// Returns when the clients have sent everything or the demo was interrupted. Shows the totals every second.
fn watch(
    stack: &Stack,
    clients: &mut Process,
    stages: &mut [Process],
    interrupted: &AtomicBool,
) -> Result<(), Failure> {
    let terminal = std::io::stderr().is_terminal();
    let (mut last, mut read_at) = (Totals::default(), Instant::now());
    while !interrupted.load(Ordering::Relaxed) {
        if let Some(status) = clients.exit_status()? {
            if status.success() {
                break;
            }
            return Err(format!("the simulated clients failed:\n{}", clients.log_tail(5)).into());
        }
        for stage in &mut *stages {
            if let Some(status) = stage.exit_status()? {
                let (program, log) = (stage.name().to_owned(), stage.log_tail(5));
                return Err(devstack::Error::Ended { program, status, log }.into());
            }
        }
        if read_at.elapsed() >= Duration::from_secs(1) {
            let totals = Totals::read(stack.clickhouse_url(), DATABASE)?;
            let rate = (totals.sum() - last.sum()) as f64 / read_at.elapsed().as_secs_f64();
            (last, read_at) = (totals, Instant::now());
            if terminal {
                eprint(&format!(
                    "\r{} stored, {} duplicates, {} dead letters, {rate:.0} events/s   ",
                    totals.stored, totals.duplicates, totals.dead_letters
                ));
            }
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn print_addresses(stack: &Stack, page: &str, logs: &Path) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "live page   {page}")?;
    writeln!(out, "kafka       {}", stack.brokers())?;
    writeln!(out, "clickhouse  {}", stack.clickhouse_url())?;
    writeln!(out, "logs        {}", logs.display())?;
    writeln!(out, "running until ctrl-c or until all events are sent")?;
    Ok(out.flush()?)
}

fn print_table(sent: u64, totals: &Totals, difference: i128) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{:<14}{:>14}", "sent", sent)?;
    writeln!(out, "{:<14}{:>14}", "stored", totals.stored)?;
    writeln!(out, "{:<14}{:>14}", "duplicates", totals.duplicates)?;
    writeln!(out, "{:<14}{:>14}", "dead letters", totals.dead_letters)?;
    writeln!(out, "{:<14}{:>14}", "difference", difference)?;
    if difference < 0 {
        writeln!(out, "more events arrived than the simulated clients sent: did you send events yourself?")?;
    }
    Ok(())
}

fn sent_events(truth_file: &Path, clients: &Process) -> Result<u64, Failure> {
    let missing = |reason: String| {
        format!("the simulated clients wrote no count of sent events ({reason}):\n{}", clients.log_tail(5))
    };
    let text = std::fs::read_to_string(truth_file).map_err(|error| missing(error.to_string()))?;
    let truth: Value = serde_json::from_str(&text).map_err(|error| missing(error.to_string()))?;
    let sent = truth.get("sent").and_then(Value::as_u64);
    Ok(sent.ok_or_else(|| missing("`sent` is missing".to_owned()))?)
}

/// Does nothing without a display; the address is printed in any case.
fn open_in_browser(page: &str) {
    if std::env::var_os("DISPLAY").is_some() || std::env::var_os("WAYLAND_DISPLAY").is_some() {
        let mut open = Command::new("xdg-open");
        open.arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Ok(mut child) = open.spawn() {
            thread::spawn(move || child.wait());
        }
    }
}

fn eprint(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = write!(err, "{text}").and_then(|()| err.flush());
}
