//! One pipeline under load, and the trouble that is made for it.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use devstack::pipeline::{Pipeline, STAGES, stop};
use devstack::{Process, Profile, Stack, StackOptions, Totals, query, wait_for_events};
use jiff::SignedDuration;
use serde_json::Value;

use super::clients::Clients;
use super::{Failure, Spinner};

/// The name of the pipeline and of its database.
const NAME: &str = "recovery";
/// How long anything may take before the drill gives up; longer than every limit.
const PATIENCE: Duration = Duration::from_secs(180);
/// Events count live when they are in ClickHouse so soon after they were received.
const LIVE_LAG: Duration = Duration::from_secs(3);
/// Undisturbed time before each trouble.
const CALM: Duration = Duration::from_secs(5);
const ASK_EVERY: Duration = Duration::from_millis(20);
const WEIGH_EVERY: Duration = Duration::from_millis(250);
/// Settings that bound what the stages keep in memory.
const BOUNDS: [&str; 4] = ["batch_records", "dedupe_max_entries", "max_devices", "max_groups"];

pub(super) struct Drill {
    // Dropped in this order: first the processes, then what they talk to.
    stages: Vec<Process>,
    clients: Clients,
    stack: Stack,
    pipeline: Pipeline,
    logs: PathBuf,
    /// Sent before the clients began.
    sent_before: u64,
}

/// What the stages are configured to.
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
    /// From ClickHouse's end to its first answer.
    pub(super) seconds: f64,
    pub(super) memory: Vec<Memory>,
    /// From ClickHouse's first answer to the first new event in it.
    pub(super) first_counted_seconds: f64,
    /// From ClickHouse's first answer until events are live again.
    pub(super) catch_up_seconds: f64,
    /// Events per second meanwhile, waiting included.
    pub(super) catch_up_rate: f64,
    /// Events per second that the clients sent during the outage.
    pub(super) live_rate: f64,
}

impl Outage {
    pub(super) fn times_live_rate(&self) -> f64 {
        self.catch_up_rate / self.live_rate.max(1.0)
    }
}

/// What one process held, in bytes.
pub(super) struct Memory {
    pub(super) stage: String,
    pub(super) before: u64,
    pub(super) peak: u64,
}

impl Drill {
    /// Starts servers, stages and clients.
    pub(super) fn start(rate: u32, seed: u64, spinner: &Spinner) -> Result<Self, Failure> {
        let stack =
            Stack::start(StackOptions { progress: spinner.progress(), ..StackOptions::own_servers() })?;
        spinner.say("building the stages");
        let logs = std::env::temp_dir().join(format!("millrace-recovery-{}", std::process::id()));
        let pipeline = Pipeline::new(&stack, NAME, Profile::of_this_build(), &logs)?;
        pipeline.create()?;
        let stages = pipeline.start_stages()?;
        // It also fills the registry of activities, which enrich reads at each start.
        let answer = pipeline.millrace(&["simulate", "--total", "1", "--rate", "max", "--json"])?;
        let answer: Value = serde_json::from_str(answer.lines().last().unwrap_or_default())?;
        let sent_before = answer.get("sent").and_then(Value::as_u64).ok_or("simulate tells no count")?;
        let clients = Clients::start(stack.brokers(), format!("{NAME}.raw-events"), rate, seed);
        Ok(Self { stages, clients, stack, pipeline, logs, sent_before })
    }

    /// Asks a stage for its configuration.
    pub(super) fn caps(&self) -> Result<Caps, Failure> {
        let mut asked = self.pipeline.start("aggregate", "configuration", &["--check-config"], &[])?;
        asked.wait(PATIENCE)?;
        let text = asked.log_tail(usize::MAX);
        let value = |key: &str| {
            let named = |line: &&str| line.split('=').next().is_some_and(|name| name.trim() == key);
            let value = text.lines().find(named).and_then(|line| line.split('=').nth(1));
            value.map(|value| value.trim().trim_matches('"').to_owned())
        };
        let timeout = value("session_timeout").ok_or("aggregate tells no session_timeout")?;
        let settings = BOUNDS.iter().filter_map(|key| Some(((*key).to_owned(), value(key)?)));
        Ok(Caps {
            session_timeout: timeout.parse::<SignedDuration>()?.unsigned_abs(),
            settings: settings.collect(),
        })
    }

    /// Kills a stage and starts it again at once; seconds from the kill until events are counted.
    pub(super) fn kill(&mut self, stage: usize) -> Result<f64, Failure> {
        self.calm_down()?;
        let killed = Instant::now();
        self.stages[stage].kill()?;
        self.start_again(stage)?;
        Ok(killed.elapsed().as_secs_f64())
    }

    /// Stops a stage in good order and starts it again.
    pub(super) fn restart(&mut self, stage: usize) -> Result<Restart, Failure> {
        self.calm_down()?;
        let stopped = Instant::now();
        stop(&mut self.stages[stage..=stage])?;
        let started = Instant::now();
        self.start_again(stage)?;
        Ok(Restart {
            from_start: started.elapsed().as_secs_f64(),
            from_stop: stopped.elapsed().as_secs_f64(),
        })
    }

    /// Takes ClickHouse away for so long.
    pub(super) fn outage(&mut self, length: Duration) -> Result<Outage, Failure> {
        self.calm_down()?;
        let mut memory = Vec::new();
        for stage in &self.stages {
            let before = stage.rss_bytes()?;
            memory.push(Memory { stage: stage.name().to_owned(), before, peak: before });
        }
        let (sent_at_start, started) = (self.clients.sent(), Instant::now());
        self.stack.kill_clickhouse()?;
        while started.elapsed() < length {
            self.check_processes()?;
            for (stage, memory) in self.stages.iter().zip(&mut memory) {
                memory.peak = memory.peak.max(stage.rss_bytes()?);
            }
            std::thread::sleep(WEIGH_EVERY);
        }
        let sent_meanwhile = self.clients.sent() - sent_at_start;
        let live_rate = sent_meanwhile as f64 / started.elapsed().as_secs_f64();
        self.stack.restart_clickhouse()?;
        let (seconds, returned) = (started.elapsed().as_secs_f64(), Instant::now());
        let first = self.totals()?.sum();
        let mut first_counted = None;
        loop {
            let counted = self.totals()?.sum();
            if counted > first {
                first_counted.get_or_insert_with(|| returned.elapsed());
            }
            let live = live_rate * LIVE_LAG.as_secs_f64();
            if counted as f64 + live >= (self.sent_before + self.clients.sent()) as f64 {
                let catch_up_seconds = returned.elapsed().as_secs_f64();
                return Ok(Outage {
                    seconds,
                    memory,
                    first_counted_seconds: first_counted.unwrap_or_default().as_secs_f64(),
                    catch_up_seconds,
                    catch_up_rate: (counted - first) as f64 / catch_up_seconds,
                    live_rate,
                });
            }
            if returned.elapsed() > PATIENCE + length {
                let seconds = returned.elapsed().as_secs();
                return Err(format!("the backlog was not counted within {seconds} s").into());
            }
            self.check_processes()?;
            for (stage, memory) in self.stages.iter().zip(&mut memory) {
                memory.peak = memory.peak.max(stage.rss_bytes()?);
            }
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// Ends clients and stages; returns what was sent and what became of it.
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

    /// As a supervisor would; returns when an event that was received after now is counted.
    fn start_again(&mut self, stage: usize) -> Result<(), Failure> {
        let since = now_ms();
        self.stages[stage] = self.pipeline.start(STAGES[stage], "0", &[], &[])?;
        self.wait_for_event_of(|| since)
    }

    /// Waits until events are live, and a little longer.
    fn calm_down(&mut self) -> Result<(), Failure> {
        self.wait_for_event_of(|| now_ms() - LIVE_LAG.as_millis() as i64)?;
        std::thread::sleep(CALM);
        self.wait_for_event_of(|| now_ms() - LIVE_LAG.as_millis() as i64)
    }

    /// Waits until an event that was received at this time (epoch milliseconds) or later is counted.
    fn wait_for_event_of(&mut self, received: impl Fn() -> i64) -> Result<(), Failure> {
        let started = Instant::now();
        while self.newest_received()? < received() {
            self.check_processes()?;
            if started.elapsed() > PATIENCE {
                let tails =
                    self.stages.iter().map(|stage| format!("{}:\n{}", stage.name(), stage.log_tail(3)));
                let (seconds, tails) = (PATIENCE.as_secs(), tails.collect::<Vec<_>>().join("\n"));
                return Err(format!("no new event was counted within {seconds} s\n{tails}").into());
            }
            std::thread::sleep(ASK_EVERY);
        }
        Ok(())
    }

    /// When the newest counted event was received, in epoch milliseconds.
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

    /// Whoever ends uncalled ends the drill.
    fn check_processes(&mut self) -> Result<(), Failure> {
        for stage in &mut self.stages {
            if let Some(status) = stage.exit_status()? {
                let (name, log) = (stage.name(), stage.log_tail(5));
                return Err(format!("{name} ended with {status}; its last words:\n{log}").into());
            }
        }
        if self.clients.gave_up() {
            return Err("the simulated clients gave up; is kafka well?".into());
        }
        Ok(())
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}
