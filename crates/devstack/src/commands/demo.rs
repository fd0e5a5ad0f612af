//! `devstack demo` (`cargo demo`): the whole pipeline at work, and the proof that it lost and doubled nothing.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use devstack::pipeline::{Pipeline, stop};
use devstack::{Process, Profile, Stack, StackOptions, Totals, on_interrupt, wait_for_events};
use serde_json::Value;

use super::{Failure, spinner::Spinner};

/// The configuration of ClickHouse that serves the live page, as it is deployed.
const CLICKHOUSE_OVERLAY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/clickhouse");
const DATABASE: &str = "millrace";

/// Start Kafka, ClickHouse and the three stages, let simulated clients send events, and open the live page
///
/// Ends on Ctrl-C, or by itself after --events, with a table that proves sent = stored + duplicates + dead letters;
/// exits 1 when they differ.
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
        let spinner = Spinner::new();
        spinner.say("building (the first time takes some minutes)");
        let logs = std::env::temp_dir().join(format!("millrace-demo-{}", std::process::id()));
        let stack = Stack::start(StackOptions {
            clickhouse_overlay: Some(PathBuf::from(CLICKHOUSE_OVERLAY)),
            progress: spinner.progress(),
            ..StackOptions::default()
        })?;
        spinner.say("building the stages");
        let mut pipeline = Pipeline::new(&stack, DATABASE, Profile::Release, &logs)?;
        // The demo is the only tenant of its stack, so it can use the names of the documentation.
        pipeline.set("MILLRACE__KAFKA__TOPIC_PREFIX", "");
        spinner.say("creating topics and tables");
        pipeline.create()?;
        let mut stages = pipeline.start_stages()?;
        let truth_file = logs.join("truth.json");
        let mut clients = self.start_clients(&pipeline, &truth_file)?;
        spinner.finish();

        let page = format!("{}/live", stack.clickhouse_url());
        announce(&stack, &page, &logs)?;
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
        // Kept when something is wrong; the paths were printed at the start.
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

/// Watches until the clients have sent everything or somebody pressed Ctrl-C; one line a second says how it goes.
fn watch(
    stack: &Stack,
    clients: &mut Process,
    stages: &mut [Process],
    interrupted: &AtomicBool,
) -> Result<(), Failure> {
    let terminal = std::io::stderr().is_terminal();
    let (mut last, mut asked) = (Totals::default(), Instant::now());
    while !interrupted.load(Ordering::Relaxed) {
        if let Some(status) = clients.exit_status()? {
            if status.success() {
                break;
            }
            return Err(format!("the simulated clients failed:\n{}", clients.log_tail(5)).into());
        }
        for stage in &mut *stages {
            if let Some(status) = stage.exit_status()? {
                let (name, log) = (stage.name(), stage.log_tail(5));
                return Err(format!("{name} ended with {status}; its last words:\n{log}").into());
            }
        }
        if asked.elapsed() >= Duration::from_secs(1) {
            let totals = Totals::read(stack.clickhouse_url(), DATABASE)?;
            let rate = (totals.sum() - last.sum()) as f64 / asked.elapsed().as_secs_f64();
            (last, asked) = (totals, Instant::now());
            if terminal {
                eprint(&format!(
                    "\r{} stored, {} duplicates, {} dead letters, {rate:.0} events/s   ",
                    totals.stored, totals.duplicates, totals.dead_letters
                ));
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn announce(stack: &Stack, page: &str, logs: &Path) -> Result<(), Failure> {
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
        writeln!(out, "more arrived than the simulated clients sent: did you send events of your own?")?;
    }
    Ok(())
}

fn sent_events(truth_file: &Path, clients: &Process) -> Result<u64, Failure> {
    let missing =
        |why: String| format!("the simulated clients left no truth ({why}):\n{}", clients.log_tail(5));
    let text = std::fs::read_to_string(truth_file).map_err(|error| missing(error.to_string()))?;
    let truth: Value = serde_json::from_str(&text).map_err(|error| missing(error.to_string()))?;
    let sent = truth.get("sent").and_then(Value::as_u64);
    Ok(sent.ok_or_else(|| missing("no count of sent events".to_owned()))?)
}

/// Only where there is a screen; the address is printed anyway.
fn open_in_browser(page: &str) {
    if std::env::var_os("DISPLAY").is_some() || std::env::var_os("WAYLAND_DISPLAY").is_some() {
        let mut open = Command::new("xdg-open");
        open.arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Ok(mut child) = open.spawn() {
            std::thread::spawn(move || child.wait());
        }
    }
}

fn eprint(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = write!(err, "{text}").and_then(|()| err.flush());
}
