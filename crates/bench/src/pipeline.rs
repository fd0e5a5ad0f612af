//! `bench pipeline` (`cargo bench-pipeline`): CPU time per event of the three release binaries on the real stack.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use devstack::pipeline::{self, stop};
use devstack::{Process, Profile, ProgressLine, Stack, StackOptions, Totals, wait_for_events};
use serde_json::{Map, json};
use simulator::{Config, Detail, Simulator, produce};

use crate::Failure;

/// Preload events, run the three release binaries over them, and print the CPU time of each per event
///
/// CPU time is user and system time of the process, from its start to its end; that of the servers is what they used
/// in that time. Exits 1 when the totals are not exact.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo bench-pipeline --events 2000000\n  cargo bench-pipeline --json | tail -1"
)]
pub(crate) struct Pipeline {
    /// Events to preload
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Seed of the simulated clients
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
}

/// The result of a run. CPU times are of all threads of a process, user and system.
struct Measured {
    events: u64,
    bytes: u64,
    seconds: f64,
    stages: Vec<StageCost>,
    kafka_cpu_us_per_event: f64,
    clickhouse_cpu_us_per_event: f64,
}

struct StageCost {
    name: String,
    cpu_us_per_event: f64,
    peak_rss_bytes: u64,
}

impl Pipeline {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let line = ProgressLine::start();
        let stack = Stack::start(StackOptions { progress: line.progress(), ..StackOptions::own_servers() })?;
        line.show("compiling the stages");
        let logs = std::env::temp_dir().join(format!("millrace-bench-{}", std::process::id()));
        let pipeline = pipeline::Pipeline::new(&stack, "bench", Profile::Release, &logs)?;
        pipeline.create()?;
        line.show("sending the events");
        let (sent, bytes) = self.preload(&stack, &pipeline)?;

        line.show("running the stages");
        let servers = [stack.kafka_cpu_seconds()?, stack.clickhouse_cpu_seconds()?];
        let started = Instant::now();
        let mut stages = pipeline.start_stages()?;
        wait_for_events(stack.clickhouse_url(), pipeline.name(), sent, |_| ())?;
        let seconds = started.elapsed().as_secs_f64();
        let peaks = stages.iter().map(Process::peak_rss_bytes).collect::<Result<Vec<_>, _>>()?;
        stop(&mut stages)?;
        line.finish();

        let totals = Totals::read(stack.clickhouse_url(), pipeline.name())?;
        let per_event = |cpu_seconds: f64| cpu_seconds * 1e6 / sent as f64;
        let cost = |(stage, peak_rss_bytes): (&Process, u64)| -> Result<StageCost, Failure> {
            let cpu_us_per_event = per_event(stage.cpu_seconds()?);
            Ok(StageCost { name: stage.name().to_owned(), cpu_us_per_event, peak_rss_bytes })
        };
        let measured = Measured {
            events: sent,
            bytes,
            seconds,
            stages: stages.iter().zip(peaks).map(cost).collect::<Result<_, _>>()?,
            kafka_cpu_us_per_event: per_event(stack.kafka_cpu_seconds()? - servers[0]),
            clickhouse_cpu_us_per_event: per_event(stack.clickhouse_cpu_seconds()? - servers[1]),
        };
        measured.print(self.json)?;
        let _ = std::fs::remove_dir_all(&logs);
        if totals.sum() == sent {
            return Ok(ExitCode::SUCCESS);
        }
        Err(format!("{sent} events sent, but {} have an outcome: {totals:?}", totals.sum()).into())
    }

    /// Sends all events before a stage runs; returns their number and bytes.
    fn preload(&self, stack: &Stack, pipeline: &pipeline::Pipeline) -> Result<(u64, u64), Failure> {
        let detail = Detail { devices: false, minutes: false, dead_letters: false };
        let mut simulator = Simulator::new(Config { seed: self.seed, detail, ..Config::default() });
        let topic = format!("{}.raw-events", pipeline.name());
        let mut target = produce::Target::new(stack.brokers(), topic);
        target.events = Some(self.events);
        produce::run(&mut simulator, &target, &AtomicBool::new(false), |_| ())?;
        let counts = simulator.counts();
        Ok((counts.sent, counts.bytes))
    }
}

impl Measured {
    fn print(&self, as_json: bool) -> Result<(), Failure> {
        let stages: f64 = self.stages.iter().map(|stage| stage.cpu_us_per_event).sum();
        let events_per_second = self.events as f64 / self.seconds;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} events, {} bytes each on average", self.events, self.bytes / self.events.max(1))?;
        writeln!(out, "{:<12}{:>14}{:>10}", "process", "CPU µs/event", "peak MB")?;
        for stage in &self.stages {
            let megabytes = stage.peak_rss_bytes / (1024 * 1024);
            writeln!(out, "{:<12}{:>14.2}{:>10}", stage.name, stage.cpu_us_per_event, megabytes)?;
        }
        writeln!(out, "{:<12}{stages:>14.2}  = {:.0} events/s per core", "together", 1e6 / stages)?;
        writeln!(out, "{:<12}{:>14.2}", "kafka", self.kafka_cpu_us_per_event)?;
        writeln!(out, "{:<12}{:>14.2}", "clickhouse", self.clickhouse_cpu_us_per_event)?;
        writeln!(out, "{events_per_second:.0} events/s end to end, in {:.1} s", self.seconds)?;
        if as_json {
            let stage = |stage: &StageCost| {
                let StageCost { name, cpu_us_per_event, peak_rss_bytes } = stage;
                (
                    name.clone(),
                    json!({"cpu_us_per_event": cpu_us_per_event, "peak_rss_bytes": peak_rss_bytes}),
                )
            };
            let object = json!({
                "events": self.events,
                "seconds": self.seconds,
                "events_per_second": events_per_second,
                "cpu_us_per_event": stages,
                "stages": self.stages.iter().map(stage).collect::<Map<_, _>>(),
                "kafka_cpu_us_per_event": self.kafka_cpu_us_per_event,
                "clickhouse_cpu_us_per_event": self.clickhouse_cpu_us_per_event,
            });
            writeln!(out, "{object}")?;
        }
        Ok(out.flush()?)
    }
}
