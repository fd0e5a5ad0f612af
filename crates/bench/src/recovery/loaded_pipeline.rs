//! One pipeline under load, whose processes are killed and restarted.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use devstack::pipeline::{Pipeline, STAGES, stop};
use devstack::{Process, Profile, ProgressLine, Stack, StackOptions, Totals, query, wait_for_events};
use jiff::SignedDuration;
use serde_json::Value;

use super::clients::Clients;
use crate::Failure;

/// A server that does not answer for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// It is stopped, and its port refuses connections.
    ClickHouse,
    /// It is frozen (SIGSTOP), and its connections stay open. The clients wait.
    Kafka,
}

impl Server {
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::ClickHouse => "clickhouse stopped",
            Self::Kafka => "kafka frozen",
        }
    }
}

/// The name of the pipeline and of its database.
const NAME: &str = "recovery";
/// How long a step may take before the measurement fails; longer than every limit.
const TIMEOUT: Duration = Duration::from_secs(180);
/// Events count as live when they are in ClickHouse this soon after they were received.
const LIVE_LAG: Duration = Duration::from_secs(3);
/// Time without a kill before each measurement.
const SETTLE: Duration = Duration::from_secs(5);
const QUERY_EVERY: Duration = Duration::from_millis(20);
const MEASURE_MEMORY_EVERY: Duration = Duration::from_millis(250);
/// Settings that bound what the stages keep in memory.
const BOUNDS: [&str; 4] = ["batch_records", "dedupe_max_entries", "max_devices", "max_groups"];

pub(super) struct LoadedPipeline {
    // Dropped in this order: first the processes, then the servers they are connected to.
    stages: Vec<Process>,
    clients: Clients,
    stack: Stack,
    pipeline: Pipeline,
    logs: PathBuf,
    /// Sent before the clients began.
    sent_before: u64,
    /// Events per second that the clients send.
    rate: u32,
}

/// Settings of the stages.
pub(super) struct Caps {
    pub(super) session_timeout: Duration,
    /// Key and value of each setting that bounds memory.
    pub(super) settings: Vec<(String, String)>,
}

/// Seconds until events were counted again.
pub(super) struct Restart {
    pub(super) from_start: f64,
    pub(super) from_stop: f64,
}

pub(super) struct Outage {
    pub(super) server: Server,
    /// From the server's end to its first response.
    pub(super) seconds: f64,
    pub(super) memory: Vec<Memory>,
    /// From the server's first response to the first new event in ClickHouse.
    pub(super) first_counted_seconds: f64,
    /// From the server's first response until events are live again.
    pub(super) catch_up_seconds: f64,
    /// Events counted per second in that time.
    pub(super) catch_up_rate: f64,
    /// Events per second that the clients sent during the outage.
    pub(super) live_rate: f64,
}

impl Outage {
    pub(super) fn times_live_rate(&self) -> f64 {
        self.catch_up_rate / self.live_rate.max(1.0)
    }
}

/// Resident memory of one process, in bytes.
pub(super) struct Memory {
    pub(super) stage: String,
    pub(super) before: u64,
    pub(super) peak: u64,
}

impl LoadedPipeline {
    /// Starts servers, stages and clients.
    pub(super) fn start(rate: u32, seed: u64, line: &ProgressLine) -> Result<Self, Failure> {
        let stack = Stack::start(StackOptions { progress: line.progress(), ..StackOptions::own_servers() })?;
        line.show("compiling the stages");
        let logs = std::env::temp_dir().join(format!("millrace-recovery-{}", std::process::id()));
        let pipeline = Pipeline::new(&stack, NAME, Profile::of_this_build(), &logs)?;
        pipeline.create()?;
        let stages = pipeline.start_stages()?;
        // It also fills the registry of activities, which enrich reads at each start.
        let output = pipeline.millrace(&["simulate", "--total", "1", "--rate", "max", "--json"])?;
        let counts: Value = serde_json::from_str(output.lines().last().unwrap_or_default())?;
        let sent_before = counts.get("sent").and_then(Value::as_u64).ok_or("simulate printed no count")?;
        let clients = Clients::start(stack.brokers(), format!("{NAME}.raw-events"), rate, seed);
        Ok(Self { stages, clients, stack, pipeline, logs, sent_before, rate })
    }

    /// Reads the configuration that a stage prints.
    pub(super) fn caps(&self) -> Result<Caps, Failure> {
        let mut check = self.pipeline.start("aggregate", "configuration", &["--check-config"], &[])?;
        check.wait(TIMEOUT)?;
        let text = check.log_tail(usize::MAX);
        let value = |key: &str| {
            let named = |line: &&str| line.split('=').next().is_some_and(|name| name.trim() == key);
            let value = text.lines().find(named).and_then(|line| line.split('=').nth(1));
            value.map(|value| value.trim().trim_matches('"').to_owned())
        };
        let timeout = value("session_timeout").ok_or("aggregate printed no session_timeout")?;
        let settings = BOUNDS.iter().filter_map(|key| Some(((*key).to_owned(), value(key)?)));
        Ok(Caps {
            session_timeout: timeout.parse::<SignedDuration>()?.unsigned_abs(),
            settings: settings.collect(),
        })
    }

    /// Kills a stage and starts it again at once; seconds from the kill until events are counted.
    pub(super) fn kill(&mut self, stage: usize) -> Result<f64, Failure> {
        self.settle()?;
        let killed = Instant::now();
        self.stages[stage].kill()?;
        self.start_again(stage)?;
        Ok(killed.elapsed().as_secs_f64())
    }

    /// Stops a stage with SIGTERM and starts it again.
    pub(super) fn restart(&mut self, stage: usize) -> Result<Restart, Failure> {
        self.settle()?;
        let stopped = Instant::now();
        stop(&mut self.stages[stage..=stage])?;
        let started = Instant::now();
        self.start_again(stage)?;
        Ok(Restart {
            from_start: started.elapsed().as_secs_f64(),
            from_stop: stopped.elapsed().as_secs_f64(),
        })
    }

    /// Registers an activity with a rule; seconds from the start of the command until an event is counted for it.
    pub(super) fn registry_change(&mut self) -> Result<f64, Failure> {
        self.settle()?;
        let started = Instant::now();
        let rule = ["--event", "seen=Seen", "--rule", "key=seen,event=content_view"];
        let create = ["activity", "create", "--id", "registry-change", "--name", "Registry change"];
        self.pipeline.millrace(&[&create[..], &rule].concat())?;
        let counted = format!("SELECT count() FROM {NAME}.activity WHERE activity_id = 'registry-change'");
        while query(self.stack.clickhouse_url(), &counted)?.trim() == "0" {
            self.check_processes()?;
            if started.elapsed() > TIMEOUT {
                let seconds = TIMEOUT.as_secs();
                return Err(format!("no event was counted for a new activity within {seconds} s").into());
            }
            std::thread::sleep(QUERY_EVERY);
        }
        Ok(started.elapsed().as_secs_f64())
    }

    /// Stops a server for `length`.
    pub(super) fn outage(&mut self, server: Server, length: Duration) -> Result<Outage, Failure> {
        self.settle()?;
        let mut memory = Vec::new();
        for stage in &self.stages {
            let before = stage.rss_bytes()?;
            memory.push(Memory { stage: stage.name().to_owned(), before, peak: before });
        }
        let (sent_at_start, started) = (self.clients.sent(), Instant::now());
        match server {
            Server::ClickHouse => self.stack.kill_clickhouse()?,
            Server::Kafka => self.stack.pause_kafka()?,
        }
        while started.elapsed() < length {
            self.check_processes()?;
            for (stage, memory) in self.stages.iter().zip(&mut memory) {
                memory.peak = memory.peak.max(stage.rss_bytes()?);
            }
            std::thread::sleep(MEASURE_MEMORY_EVERY);
        }
        let sent_meanwhile = self.clients.sent() - sent_at_start;
        let live_rate = sent_meanwhile as f64 / started.elapsed().as_secs_f64();
        match server {
            Server::ClickHouse => self.stack.restart_clickhouse()?,
            Server::Kafka => self.stack.resume_kafka()?,
        }
        let (seconds, returned) = (started.elapsed().as_secs_f64(), Instant::now());
        let returned_at = now_ms();
        let first = self.totals()?.sum();
        let mut first_counted = None;
        loop {
            let counted = self.totals()?.sum();
            if counted > first {
                first_counted.get_or_insert_with(|| returned.elapsed());
            }
            let live = f64::from(self.rate) * LIVE_LAG.as_secs_f64();
            let is_live = counted as f64 + live >= (self.sent_before + self.clients.sent()) as f64;
            if is_live && self.newest_received()? >= returned_at {
                let catch_up_seconds = returned.elapsed().as_secs_f64();
                return Ok(Outage {
                    server,
                    seconds,
                    memory,
                    first_counted_seconds: first_counted.unwrap_or_default().as_secs_f64(),
                    catch_up_seconds,
                    catch_up_rate: (counted - first) as f64 / catch_up_seconds,
                    live_rate,
                });
            }
            if returned.elapsed() > TIMEOUT + length {
                let seconds = returned.elapsed().as_secs();
                return Err(format!("the backlog was not counted within {seconds} s").into());
            }
            self.check_processes()?;
            for (stage, memory) in self.stages.iter().zip(&mut memory) {
                memory.peak = memory.peak.max(stage.rss_bytes()?);
            }
            std::thread::sleep(QUERY_EVERY);
        }
    }

    /// Ends clients and stages; returns the number of events sent and their outcomes.
    pub(super) fn end(mut self) -> Result<(u64, Totals), Failure> {
        let sent = self.sent_before + self.clients.end()?;
        wait_for_events(self.stack.clickhouse_url(), NAME, sent, |_| ())?;
        // The stages write what they still hold, so that an event counted twice would show.
        stop(&mut self.stages)?;
        let totals = Totals::read(self.stack.clickhouse_url(), NAME)?;
        if totals.sum() == sent {
            let _ = std::fs::remove_dir_all(&self.logs);
        }
        Ok((sent, totals))
    }

    /// Starts a stage, as a supervisor would; returns when an event received after now is counted.
    fn start_again(&mut self, stage: usize) -> Result<(), Failure> {
        let since = now_ms();
        self.stages[stage] = self.pipeline.start(STAGES[stage], "0", &[], &[])?;
        self.wait_for_event_of(|| since)
    }

    /// Waits until events are live, and then for [`SETTLE`].
    fn settle(&mut self) -> Result<(), Failure> {
        self.wait_for_event_of(|| now_ms() - LIVE_LAG.as_millis() as i64)?;
        std::thread::sleep(SETTLE);
        self.wait_for_event_of(|| now_ms() - LIVE_LAG.as_millis() as i64)
    }

    /// Waits until an event that was received at this time (milliseconds since the epoch) or later is counted.
    fn wait_for_event_of(&mut self, received: impl Fn() -> i64) -> Result<(), Failure> {
        let started = Instant::now();
        while self.newest_received()? < received() {
            self.check_processes()?;
            if started.elapsed() > TIMEOUT {
                let tails =
                    self.stages.iter().map(|stage| format!("{}:\n{}", stage.name(), stage.log_tail(3)));
                let (seconds, tails) = (TIMEOUT.as_secs(), tails.collect::<Vec<_>>().join("\n"));
                return Err(format!("no new event was counted within {seconds} s\n{tails}").into());
            }
            std::thread::sleep(QUERY_EVERY);
        }
        Ok(())
    }

    /// When the newest counted event was received, in milliseconds since the epoch.
    fn newest_received(&self) -> Result<i64, Failure> {
        let sql = format!(
            "SELECT toUnixTimestamp64Milli(max(received_max)) FROM {NAME}.quality \
             WHERE pane = '60s' AND kind IN ('event', 'test', 'bot', 'duplicate')"
        );
        Ok(query(self.stack.clickhouse_url(), &sql)?.trim().parse()?)
    }

    fn totals(&self) -> Result<Totals, Failure> {
        Ok(Totals::read(self.stack.clickhouse_url(), NAME)?)
    }

    /// # Errors
    /// A stage has ended, or the clients have.
    fn check_processes(&mut self) -> Result<(), Failure> {
        for stage in &mut self.stages {
            if let Some(status) = stage.exit_status()? {
                let (program, log) = (stage.name().to_owned(), stage.log_tail(5));
                return Err(devstack::Error::Ended { program, status, log }.into());
            }
        }
        if self.clients.have_failed() {
            return Err("the simulated clients ended with an error".into());
        }
        Ok(())
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}
