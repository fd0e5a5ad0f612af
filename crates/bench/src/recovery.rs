//! `bench recovery` (`cargo bench-recovery`): how long no event is counted after a kill, a restart and an outage of
//! ClickHouse or Kafka, measured on the real stack under a steady load, each number against its limit.

mod clients;
mod loaded_pipeline;

use std::io::Write;
use std::process::ExitCode;

use devstack::{ProgressLine, Totals, pipeline::STAGES};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use self::loaded_pipeline::{Caps, LoadedPipeline, Memory, Outage, Restart, Server};
use crate::Failure;

/// After a kill the group waits for the session timeout; this is the time from then until events are counted again.
const AFTER_SESSION_SECONDS: f64 = 2.0;
const RESTART_LIMIT_SECONDS: f64 = 2.0;
/// Enrich applies a change of the registry within 2 s; the rest is the command and the flush.
const REGISTRY_LIMIT_SECONDS: f64 = 3.0;
/// A backlog is to be counted at least this many times as fast as events arrive.
const CATCH_UP_LIMIT: f64 = 3.0;

/// Kill and restart each process, stop ClickHouse and freeze Kafka, under load, and print how long no event was counted
///
/// Also changes the activity registry, and prints how long no event was counted for a new activity.
///
/// A number is the time from the kill or start until an event received after it is in ClickHouse. Exits 1 when a limit
/// is missed or the totals are not exact.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo bench-recovery\n  cargo bench-recovery --outage 1m --json | tail -1"
)]
pub(crate) struct Recovery {
    /// Events per second
    #[arg(long, default_value_t = 5_000)]
    rate: u32,
    /// How long ClickHouse is stopped, and then Kafka frozen
    #[arg(long, default_value = "10m")]
    outage: SignedDuration,
    /// Seed of the simulated clients
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
}

struct Measured {
    caps: Caps,
    /// Seconds from the kill until events are counted, by stage.
    kills: Vec<f64>,
    restarts: Vec<Restart>,
    /// Seconds until a change of the activity registry is seen.
    registry_change: f64,
    clickhouse_stopped: Outage,
    kafka_frozen: Outage,
    sent: u64,
    totals: Totals,
}

impl Recovery {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let line = ProgressLine::start();
        let mut pipeline = LoadedPipeline::start(self.rate, self.seed, &line)?;
        let caps = pipeline.caps()?;
        let (mut kills, mut restarts) = (Vec::new(), Vec::new());
        for (nth, stage) in STAGES.iter().enumerate() {
            line.show(&format!("killing {stage}"));
            kills.push(pipeline.kill(nth)?);
        }
        for (nth, stage) in STAGES.iter().enumerate() {
            line.show(&format!("restarting {stage}"));
            restarts.push(pipeline.restart(nth)?);
        }
        line.show("changing the activity registry");
        let registry_change = pipeline.registry_change()?;
        let mut outage = |server: Server| {
            line.show(&format!("{} for {:#}", server.what(), self.outage));
            pipeline.outage(server, self.outage.unsigned_abs())
        };
        let clickhouse_stopped = outage(Server::ClickHouse)?;
        let kafka_frozen = outage(Server::Kafka)?;
        line.show("waiting until every event is stored");
        let (sent, totals) = pipeline.end()?;
        line.finish();
        let measured = Measured {
            caps,
            kills,
            restarts,
            registry_change,
            clickhouse_stopped,
            kafka_frozen,
            sent,
            totals,
        };
        let missed = measured.missed();
        measured.print(&missed)?;
        if self.json {
            writeln!(std::io::stdout(), "{}", measured.json(&missed))?;
        }
        Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Measured {
    fn kill_limit(&self) -> f64 {
        self.caps.session_timeout.as_secs_f64() + AFTER_SESSION_SECONDS
    }

    /// A sentence for each missed limit.
    fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for (stage, &seconds) in STAGES.iter().zip(&self.kills) {
            let limit = self.kill_limit();
            if seconds > limit {
                missed
                    .push(format!("{stage} counted {seconds:.2} s after kill -9, the limit is {limit:.0} s"));
            }
        }
        for (stage, restart) in STAGES.iter().zip(&self.restarts) {
            let seconds = restart.from_start;
            if seconds > RESTART_LIMIT_SECONDS {
                missed.push(format!(
                    "{stage} counted {seconds:.2} s after its start, the limit is {RESTART_LIMIT_SECONDS:.0} s"
                ));
            }
        }
        let seconds = self.registry_change;
        if seconds > REGISTRY_LIMIT_SECONDS {
            missed.push(format!(
                "a registry change was seen after {seconds:.2} s, the limit is {REGISTRY_LIMIT_SECONDS:.0} s"
            ));
        }
        let times = self.clickhouse_stopped.times_live_rate();
        if times < CATCH_UP_LIMIT {
            missed.push(format!(
                "the backlog of the outage was counted {times:.1} times as fast as events arrive, the limit is \
                 {CATCH_UP_LIMIT:.0} times"
            ));
        }
        let (sent, counted) = (self.sent, self.totals.sum());
        if sent != counted {
            missed.push(format!("{sent} events sent, but {counted} have an outcome"));
        }
        missed
    }

    fn print(&self, missed: &[String]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{:<44}{:>10}{:>10}", "seconds until counted again", "measured", "limit")?;
        let mut row = |what: String, seconds: f64, limit: Option<f64>| {
            let limit = limit.map_or("-".to_owned(), |limit| format!("{limit:.0}"));
            writeln!(out, "{what:<44}{seconds:>10.2}{limit:>10}")
        };
        for (stage, &seconds) in STAGES.iter().zip(&self.kills) {
            row(format!("{stage} kill -9, from the kill"), seconds, Some(self.kill_limit()))?;
        }
        for (stage, restart) in STAGES.iter().zip(&self.restarts) {
            row(format!("{stage} restart, from the start"), restart.from_start, Some(RESTART_LIMIT_SECONDS))?;
            row(format!("{stage} restart, from SIGTERM"), restart.from_stop, None)?;
        }
        row("registry change seen".to_owned(), self.registry_change, Some(REGISTRY_LIMIT_SECONDS))?;
        for outage in [&self.clickhouse_stopped, &self.kafka_frozen] {
            let what = outage.server.what();
            row(format!("{what}, from its first response"), outage.first_counted_seconds, None)?;
            row(format!("{what}, until all are live again"), outage.catch_up_seconds, None)?;
        }
        for outage in [&self.clickhouse_stopped, &self.kafka_frozen] {
            let what = format!("memory, {} for {:.0} s", outage.server.what(), outage.seconds);
            writeln!(out, "\n{what:<44}{:>10}{:>10}", "before MB", "peak MB")?;
            for memory in &outage.memory {
                let [before, peak] = [memory.before, memory.peak].map(|bytes| bytes / (1024 * 1024));
                writeln!(out, "{:<44}{before:>10}{peak:>10}", memory.stage)?;
            }
        }
        for (key, value) in &self.caps.settings {
            writeln!(out, "  bounded by {key} = {value}")?;
        }
        let outage = &self.clickhouse_stopped;
        writeln!(
            out,
            "\ncatch-up {:.0} events/s in {:.1} s, {:.1} times the live rate of {:.0} events/s (limit {CATCH_UP_LIMIT:.0})\n",
            outage.catch_up_rate,
            outage.catch_up_seconds,
            outage.times_live_rate(),
            outage.live_rate
        )?;
        let Totals { stored, duplicates, dead_letters } = self.totals;
        for (what, events) in [
            ("sent", self.sent),
            ("stored", stored),
            ("duplicates", duplicates),
            ("dead letters", dead_letters),
        ] {
            writeln!(out, "{what:<44}{events:>10}")?;
        }
        for what in missed {
            writeln!(out, "missed: {what}")?;
        }
        Ok(out.flush()?)
    }

    fn json(&self, missed: &[String]) -> Value {
        let by_stage = |values: Vec<Value>| {
            STAGES.iter().map(|stage| (*stage).to_owned()).zip(values).collect::<Map<_, _>>()
        };
        let restart = |restart: &Restart| json!({"seconds_from_start": restart.from_start, "seconds_from_sigterm": restart.from_stop});
        let outage = &self.clickhouse_stopped;
        let memory = |outage: &Outage| {
            let numbers =
                |memory: &Memory| json!({"before_rss_bytes": memory.before, "peak_rss_bytes": memory.peak});
            let by_stage = outage.memory.iter().map(|memory| (memory.stage.clone(), numbers(memory)));
            by_stage.collect::<Map<_, _>>()
        };
        let frozen = &self.kafka_frozen;
        let Totals { stored, duplicates, dead_letters } = self.totals;
        json!({
            "kill_seconds": by_stage(self.kills.iter().map(|&seconds| seconds.into()).collect()),
            "kill_limit_seconds": self.kill_limit(),
            "restart": by_stage(self.restarts.iter().map(restart).collect()),
            "restart_limit_seconds": RESTART_LIMIT_SECONDS,
            "registry_change_seconds": self.registry_change,
            "registry_change_limit_seconds": REGISTRY_LIMIT_SECONDS,
            "outage": {
                "seconds": outage.seconds,
                "memory": memory(outage),
                "bounded_by": self.caps.settings.iter().map(|(key, value)| (key.clone(), json!(value))).collect::<Map<_, _>>(),
                "first_counted_seconds": outage.first_counted_seconds,
                "catch_up_seconds": outage.catch_up_seconds,
                "catch_up_events_per_second": outage.catch_up_rate,
                "live_events_per_second": outage.live_rate,
                "times_live_rate": outage.times_live_rate(),
                "times_live_rate_limit": CATCH_UP_LIMIT,
            },
            "kafka_frozen": {
                "seconds": frozen.seconds,
                "memory": memory(frozen),
                "first_counted_seconds": frozen.first_counted_seconds,
                "catch_up_seconds": frozen.catch_up_seconds,
            },
            "sent": self.sent, "stored": stored, "duplicates": duplicates, "dead_letters": dead_letters,
            "missed": missed,
        })
    }
}
