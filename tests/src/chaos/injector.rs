//! Injects the faults of a schedule, and does what is due between them: restarts processes, moves the deduplication
//! window, measures recoveries, reports progress.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    sync::mpsc::Receiver,
    thread,
    time::{Duration, Instant},
};

use devstack::{Totals, pipeline::Pipeline};

use super::{
    clients::Clients,
    dedupe_window::{DedupeWindow, WindowChange},
    fault::{Fault, FaultAction, FaultKind},
    member::ProcessCounts,
    members::Members,
    options::{ChaosOptions, ChaosProgress, Observer},
    recovery::{OffsetSample, Recoveries, RecoveryTimes},
    servers::{ServerEvent, ServerOrder, Servers},
};
use crate::{Error, proxy::Proxy, result_source::ResultSource};

const TICK: Duration = Duration::from_millis(50);
/// Of Kafka, for members without a heartbeat. Short, so that many of them lose their partitions.
pub(super) const SESSION_TIMEOUT: Duration = Duration::from_secs(8);
/// Everything has arrived when no number has changed for this long; longer than any flush interval.
const SETTLED: Duration = Duration::from_secs(5);
/// The drain gives up when no number has changed for this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);
const AGGREGATE: usize = 2;

/// What an injector works on.
pub(super) struct Run<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) samples: Receiver<OffsetSample>,
    pub(super) observer: &'a dyn Observer,
    pub(super) clients: &'a Clients,
    pub(super) proxy: &'a Proxy,
    pub(super) source: ResultSource<'a>,
    pub(super) options: &'a ChaosOptions,
}

/// What happened in a run.
pub(super) struct Outcome {
    pub(super) injected: BTreeMap<FaultKind, u64>,
    pub(super) missed: u64,
    pub(super) processes: ProcessCounts,
    pub(super) recoveries: RecoveryTimes,
}

/// The state of a run.
pub(super) struct Injector<'a> {
    run: Run<'a>,
    members: Members<'a>,
    recoveries: Recoveries,
    window: DedupeWindow,
    /// When clients send as few duplicates as usual again.
    duplicates_end: Option<Instant>,
    usual_duplicates: f64,
    /// Faults by kind, without those of requests: the proxy counts them.
    injected: BTreeMap<FaultKind, u64>,
    missed: u64,
    log: File,
    started: Instant,
    /// When ClickHouse was last queried for the number of events.
    queried: Instant,
    counted: u64,
}

impl<'a> Injector<'a> {
    /// Starts the processes of all stages.
    pub(super) fn new(run: Run<'a>) -> Result<Self, Error> {
        let log = File::create(run.options.logs.join("chaos.log"))
            .map_err(|source| Error::System { doing: "create the log", source })?;
        Ok(Self {
            members: Members::start(run.pipeline, run.options.members, SESSION_TIMEOUT)?,
            recoveries: Recoveries::default(),
            window: DedupeWindow::Usual,
            duplicates_end: None,
            usual_duplicates: run.clients.share(),
            injected: BTreeMap::new(),
            missed: 0,
            log,
            started: Instant::now(),
            queried: Instant::now(),
            counted: 0,
            run,
        })
    }

    /// Time since the start of the faults.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Injects each fault at its time, for the length of the run or until `stop`.
    pub(super) fn inject_all(
        &mut self,
        faults: &[Fault],
        servers: &Servers<'_>,
        stop: impl Fn() -> bool,
    ) -> Result<(), Error> {
        self.started = Instant::now();
        let mut faults = faults.iter().peekable();
        while self.started.elapsed() < self.run.options.length && !stop() {
            while let Some(fault) = faults.next_if(|fault| fault.at <= self.started.elapsed()) {
                self.inject(fault, servers)?;
            }
            self.tick(servers)?;
            self.report_progress(false, Duration::from_secs(5));
        }
        Ok(())
    }

    /// Everything but new faults; takes [`TICK`].
    pub(super) fn tick(&mut self, servers: &Servers<'_>) -> Result<(), Error> {
        while let Ok(event) = servers.events.try_recv() {
            self.note(event);
        }
        match self.window.next_change(Instant::now(), self.members.has_zombies(AGGREGATE)) {
            Some(WindowChange::Shrink) => {
                self.run.proxy.drop_abandoned(true);
                servers.order(ServerOrder::ShrinkWindow);
            }
            Some(WindowChange::Restore) => servers.order(ServerOrder::RestoreWindow),
            Some(WindowChange::AllowOldInserts) => self.run.proxy.drop_abandoned(false),
            None => (),
        }
        if self.duplicates_end.is_some_and(|at| at <= Instant::now()) {
            self.duplicates_end = None;
            self.run.clients.send_duplicates(self.usual_duplicates);
        }
        self.supervise()
    }

    /// Ends every fault that lasts, and lets everything come back.
    pub(super) fn end_faults(&mut self, servers: &mut Servers<'_>) {
        self.message("no more faults");
        self.run.clients.end();
        self.run.proxy.cancel();
        self.members.end_faults();
        self.window = DedupeWindow::Growing;
        servers.order(ServerOrder::RestoreWindow);
        servers.close();
    }

    /// Waits until everything is counted and no number changes any more, or gives up after [`DRAIN_TIMEOUT`].
    pub(super) fn drain(&mut self, sent: u64) -> Result<(), Error> {
        let (mut last, mut changed) = (self.counted, Instant::now());
        loop {
            self.supervise()?;
            self.report_progress(true, Duration::from_millis(500));
            if self.counted != last {
                (last, changed) = (self.counted, Instant::now());
            }
            if last >= sent && changed.elapsed() > SETTLED && self.members.are_all_running() {
                return Ok(());
            }
            if changed.elapsed() > DRAIN_TIMEOUT {
                let (waited, states) = (DRAIN_TIMEOUT.as_secs(), self.members.states());
                let finding = format!("{last} of {sent} events counted, no change for {waited} s: {states}");
                self.members.counts.findings.push(finding);
                return Ok(());
            }
        }
    }

    /// Stops all processes.
    pub(super) fn stop(mut self) -> Result<Outcome, Error> {
        self.members.stop()?;
        for fault in self.run.proxy.injected() {
            *self.injected.entry(fault.into()).or_default() += 1;
        }
        Ok(Outcome {
            injected: self.injected,
            missed: self.missed,
            processes: self.members.counts,
            recoveries: self.recoveries.times,
        })
    }

    fn inject(&mut self, fault: &Fault, servers: &Servers<'_>) -> Result<(), Error> {
        let now = Instant::now();
        let (name, stage, what) = match fault.action {
            FaultAction::Kill { victim, away } => {
                let name = self.members.kill(victim, away)?;
                (name, Some(victim.stage), format!("kill -9, restarts after {}", seconds(away)))
            }
            FaultAction::Term { victim, away } => {
                let name = self.members.terminate(victim, away)?;
                (name, Some(victim.stage), format!("SIGTERM, restarts after {}", seconds(away)))
            }
            FaultAction::Freeze { victim, .. }
                if victim.stage == AGGREGATE && !self.window.allows_old_inserts() =>
            {
                (None, None, String::new())
            }
            FaultAction::Freeze { victim, frozen, replaced_after } => {
                let name = self.members.freeze(victim, frozen, replaced_after)?;
                let replacement = replaced_after.map_or(String::new(), |after| {
                    format!(", another process with its name starts after {}", seconds(after))
                });
                (name, Some(victim.stage), format!("frozen for {}{replacement}", seconds(frozen)))
            }
            FaultAction::Join { stage, stay } => {
                (self.members.join(stage, stay)?, Some(stage), format!("joins for {}", seconds(stay)))
            }
            FaultAction::Repeat { share, lasting } => {
                self.run.clients.send_duplicates(share);
                self.duplicates_end = Some(now + lasting);
                let what = format!("send {:.0} % of records twice for {}", share * 100.0, seconds(lasting));
                (Some("clients".to_owned()), None, what)
            }
            // These are counted when they happen: see `note` and the proxy.
            FaultAction::KillKafka { away } => {
                servers.order(ServerOrder::KillKafka(away));
                return Ok(());
            }
            FaultAction::KillClickHouse { away } => {
                servers.order(ServerOrder::KillClickHouse(away));
                return Ok(());
            }
            FaultAction::ShrinkWindow { lasting } => {
                self.window.request(lasting);
                return Ok(());
            }
            FaultAction::Request { fault, requests } => {
                self.run.proxy.order(fault, requests);
                self.message(&format!("the next {requests} inserts: {fault}"));
                return Ok(());
            }
        };
        match name {
            Some(name) => {
                self.count(fault.kind, stage.as_slice(), now);
                self.message(&format!("{name} {what}"));
            }
            None => self.missed += 1,
        }
        Ok(())
    }

    fn count(&mut self, kind: FaultKind, stages: &[usize], at: Instant) {
        *self.injected.entry(kind).or_default() += 1;
        for &stage in stages {
            self.recoveries.begin(kind, stage, at);
        }
    }

    /// Notes what has happened to a server.
    fn note(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::KafkaKilled(at) => {
                self.count(FaultKind::Kafka, &[0, 1, 2], at);
                self.message("kafka kill -9");
            }
            ServerEvent::ClickHouseKilled(at) => {
                self.count(FaultKind::ClickHouse, &[AGGREGATE], at);
                self.message("clickhouse kill -9");
            }
            ServerEvent::ClickHouseCrashed(log) => {
                self.message(&log);
                *self.members.counts.exits.entry(("clickhouse", log)).or_default() += 1;
            }
            ServerEvent::Restarted(server, after) => {
                self.message(&format!("{server} is ready again after {}", seconds(after)));
            }
            ServerEvent::WindowShrunk => {
                self.window.shrunk(Instant::now());
                self.count(FaultKind::Window, &[], Instant::now());
                self.message("clickhouse keeps the tokens of three inserts");
            }
            ServerEvent::WindowRestored => {
                self.window.restored(Instant::now());
                self.message("clickhouse keeps all tokens again");
            }
        }
    }

    fn supervise(&mut self) -> Result<(), Error> {
        while let Ok(sample) = self.run.samples.try_recv() {
            self.recoveries.add(&sample);
        }
        let progressed = self.recoveries.progressed();
        self.members.supervise(progressed)?;
        thread::sleep(TICK);
        Ok(())
    }

    /// Reports progress; queries ClickHouse first when the last query is older than `every`.
    fn report_progress(&mut self, is_draining: bool, every: Duration) {
        if self.queried.elapsed() > every {
            // The number stays the same while ClickHouse does not answer.
            if let Ok(totals) = Totals::read(self.run.source.clickhouse_url, self.run.source.pipeline) {
                self.counted = totals.sum();
            }
            self.queried = Instant::now();
        }
        self.run.observer.progress(ChaosProgress {
            elapsed: self.started.elapsed(),
            is_draining,
            sent: self.run.clients.sent(),
            counted: self.counted,
            faults: self.injected.values().sum::<u64>() + self.run.proxy.injected().len() as u64,
        });
    }

    fn message(&mut self, what: &str) {
        let line = format!("{:>7.1} s  {what}", self.started.elapsed().as_secs_f64());
        // The log is for people: the run does not depend on it.
        let _ = writeln!(self.log, "{line}");
        self.run.observer.message(&line);
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
