//! One run: clients send, faults strike as scheduled, then everything calms down and is compared with the truth.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::PathBuf,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::Receiver,
    },
    thread,
    time::{Duration, Instant},
};

use devstack::{Profile, Stack, Totals, pipeline::Pipeline};
use simulator::{Config, Simulator};

use super::{
    books::books,
    clients::Clients,
    members::Members,
    proxy::Proxy,
    recovery::{self, Recoveries, Sample},
    report::Report,
    schedule::{Action, Fault, Kind, schedule},
    servers::{Done, Order, Servers},
    window::{Step, Window},
};
use crate::{
    Error,
    compare::{Place, differences},
};

const TICK: Duration = Duration::from_millis(50);
const PARTITIONS: i32 = 4;
/// Of Kafka, for members that are silent. Short, so that many of them lose their partitions.
const SESSION_TIMEOUT: Duration = Duration::from_secs(8);
/// Share of records that clients repeat when nothing is wrong with them.
const USUAL_REPEATS: f64 = 0.02;
/// Nothing may change for so long before everything counts as arrived; longer than any flush interval.
const SETTLED: Duration = Duration::from_secs(5);
/// How long nothing may move after all faults before waiting is given up.
const PATIENCE: Duration = Duration::from_secs(120);
const AGGREGATE: usize = 2;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Decides about faults and clients.
    pub seed: u64,
    /// How long faults strike.
    pub length: Duration,
    /// Which faults.
    pub kinds: Vec<Kind>,
    /// Whose processes they meet: indexes into [`devstack::pipeline::STAGES`].
    pub stages: Vec<usize>,
    /// Events per second.
    pub rate: f64,
    /// Processes of each stage, guests not counted.
    pub members: usize,
    /// Which binaries.
    pub profile: Profile,
    /// Where logs go; the directory is made.
    pub logs: PathBuf,
}

/// How it goes.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Since the first fault could strike.
    pub elapsed: Duration,
    /// Whether all faults are over.
    pub is_draining: bool,
    /// Events sent.
    pub sent: u64,
    /// Events accounted for.
    pub counted: u64,
    /// Faults so far.
    pub faults: u64,
}

/// Who hears what happens.
pub trait Audience {
    /// A line about something that has just happened.
    fn hear(&self, line: &str);
    /// How it goes, several times a second.
    fn see(&self, progress: Progress);
}

/// Runs it on the servers of `stack`, which get killed, until all is compared. `stop` ends the faults early.
///
/// # Errors
/// The run cannot be judged: something it needs itself does not work. Differences are no error.
pub fn run(
    options: &Options,
    stack: &mut Stack,
    audience: &dyn Audience,
    stop: &AtomicBool,
) -> Result<Report, Error> {
    let (brokers, clickhouse_url) = (stack.brokers().to_owned(), stack.clickhouse_url().to_owned());
    let name = format!("chaos_{}_{}", options.seed, std::process::id());
    let proxy = Proxy::start(&clickhouse_url).map_err(system("start the proxy"))?;
    let mut pipeline = Pipeline::new(stack, &name, options.profile, &options.logs)?;
    let session_timeout = format!("{}s", SESSION_TIMEOUT.as_secs());
    for (key, value) in [
        ("MILLRACE__KAFKA__PARTITIONS", PARTITIONS.to_string().as_str()),
        ("MILLRACE__KAFKA__SESSION_TIMEOUT", &session_timeout),
        ("MILLRACE__KAFKA__TRANSACTION_TIMEOUT", "6s"),
        ("MILLRACE__STARTUP_TIMEOUT", "60s"),
        ("MILLRACE__CLICKHOUSE__URL", &proxy.url()),
    ] {
        pipeline.set(key, value);
    }
    pipeline.create()?;
    let config = Config { seed: options.seed, duplicates: USUAL_REPEATS, ..Config::default() };
    let mut simulator = crate::simulator(&pipeline, config);
    let samples = recovery::watch(&pipeline, &brokers, PARTITIONS)?;
    let log = options.logs.join("chaos.log");
    let mut conductor = Conductor {
        members: Members::start(&pipeline, options.members, SESSION_TIMEOUT)?,
        recoveries: Recoveries::default(),
        window: Window::Usual,
        calm_clients_at: None,
        injected: BTreeMap::new(),
        missed: 0,
        log: File::create(log).map_err(system("create the log"))?,
        started: Instant::now(),
        asked: Instant::now(),
        counted: 0,
        samples,
        audience,
        clients: &Clients::new(USUAL_REPEATS),
        proxy: &proxy,
        place: Place { brokers: &brokers, clickhouse_url: &clickhouse_url, pipeline: &name },
    };

    let topic = format!("{name}.raw-events");
    let clients = conductor.clients;
    let mut drain = Duration::ZERO;
    let finished = thread::scope(|scope| -> Result<Duration, Error> {
        // Whatever happens, the scope ends only when the clients do.
        let _end = EndClients(clients);
        let simulator: &mut Simulator = &mut simulator;
        let sender = scope.spawn(|| clients.run(simulator, &brokers, &topic, options.rate));
        let mut servers = Servers::start(scope, stack, name.clone());
        let faults = schedule(options.seed, options.length, &options.kinds, &options.stages);
        let is_failing = |servers: &Servers<'_>| servers.has_ended() || sender.is_finished();
        conductor.strike(&faults, options.length, &servers, || {
            stop.load(Ordering::Relaxed) || is_failing(&servers)
        })?;
        let length = conductor.started.elapsed().min(options.length);
        let calm = Instant::now();
        conductor.calm_down(&mut servers);
        while !(servers.has_ended() && sender.is_finished()) {
            conductor.tick(&servers)?;
        }
        sender.join().unwrap_or(Err(Error::Panicked("clients")))?;
        conductor.tick(&servers)?;
        servers.finish()?;
        conductor.drain(clients.sent())?;
        drain = calm.elapsed();
        Ok(length)
    });
    let length = finished?;
    conductor.members.stop()?;
    let truth = simulator.truth();
    let mut wrong = differences(conductor.place, &truth)?;
    wrong.extend(books(&pipeline, &truth.counts)?);
    let mut injected = conductor.injected;
    injected.extend(proxy.met());
    Ok(Report {
        seed: options.seed,
        length,
        drain,
        injected,
        missed: conductor.missed,
        seen: conductor.members.seen,
        sent: truth.counts,
        totals: Totals::read(&clickhouse_url, &name)?,
        differences: wrong,
        recoveries: conductor.recoveries.times,
        logs: options.logs.clone(),
    })
}

struct EndClients<'a>(&'a Clients);

impl Drop for EndClients<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn system(doing: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::System { doing, source }
}

struct Conductor<'a> {
    members: Members<'a>,
    recoveries: Recoveries,
    window: Window,
    /// When clients repeat no more than usual again.
    calm_clients_at: Option<Instant>,
    injected: BTreeMap<Kind, u64>,
    missed: u64,
    log: File,
    started: Instant,
    /// When ClickHouse was last asked how much it has counted.
    asked: Instant,
    counted: u64,
    samples: Receiver<Sample>,
    audience: &'a dyn Audience,
    clients: &'a Clients,
    proxy: &'a Proxy,
    place: Place<'a>,
}

impl Conductor<'_> {
    fn strike(
        &mut self,
        faults: &[Fault],
        length: Duration,
        servers: &Servers<'_>,
        stop: impl Fn() -> bool,
    ) -> Result<(), Error> {
        self.started = Instant::now();
        let mut faults = faults.iter().peekable();
        while self.started.elapsed() < length && !stop() {
            while let Some(fault) = faults.next_if(|fault| fault.at <= self.started.elapsed()) {
                self.inject(fault, servers)?;
            }
            self.tick(servers)?;
            self.look(false, Duration::from_secs(5));
        }
        Ok(())
    }

    fn inject(&mut self, fault: &Fault, servers: &Servers<'_>) -> Result<(), Error> {
        let now = Instant::now();
        let struck = match fault.action {
            Action::Kill { victim, away } => self
                .members
                .kill(victim, away)?
                .map(|name| (name, Some(victim.stage), format!("kill -9, back after {}", seconds(away)))),
            Action::Term { victim, away } => self
                .members
                .terminate(victim, away)?
                .map(|name| (name, Some(victim.stage), format!("SIGTERM, back after {}", seconds(away)))),
            Action::Freeze { victim, frozen, replaced_after } => {
                if victim.stage == AGGREGATE && !self.window.allows_zombies() {
                    self.missed += 1;
                    return Ok(());
                }
                let replacement = replaced_after.map_or(String::new(), |after| {
                    format!(", another under its name after {}", seconds(after))
                });
                self.members.freeze(victim, frozen, replaced_after)?.map(|name| {
                    (name, Some(victim.stage), format!("frozen for {}{replacement}", seconds(frozen)))
                })
            }
            Action::Join { stage, stay } => self
                .members
                .join(stage, stay)?
                .map(|name| (name, Some(stage), format!("joins for {}", seconds(stay)))),
            // Counted and measured when they are really gone.
            Action::KillKafka { away } => {
                servers.order(Order::Kafka(away));
                return Ok(());
            }
            Action::KillClickHouse { away } => {
                servers.order(Order::ClickHouse(away));
                return Ok(());
            }
            Action::ShrinkWindow { lasting } => {
                if self.window.allows_zombies() {
                    self.window = Window::Wanted { lasting, calm_since: None };
                }
                return Ok(());
            }
            // Counted by the proxy when a request meets it.
            Action::Trouble { trouble, requests } => {
                self.proxy.order(trouble, requests);
                self.tell(&format!("the next {requests} inserts: {trouble}"));
                return Ok(());
            }
            Action::Repeat { share, lasting } => {
                self.clients.repeat(share);
                self.calm_clients_at = Some(now + lasting);
                Some(("clients".to_owned(), None, format!("repeat {share} for {}", seconds(lasting))))
            }
        };
        let Some((name, stage, what)) = struck else {
            self.missed += 1;
            return Ok(());
        };
        self.struck(fault.kind, stage.as_slice(), now);
        self.tell(&format!("{name} {what}"));
        Ok(())
    }

    fn struck(&mut self, kind: Kind, stages: &[usize], at: Instant) {
        *self.injected.entry(kind).or_default() += 1;
        for &stage in stages {
            self.recoveries.begin(kind, stage, at);
        }
    }

    /// Everything but new faults; takes [`TICK`].
    fn tick(&mut self, servers: &Servers<'_>) -> Result<(), Error> {
        while let Ok(done) = servers.done.try_recv() {
            match done {
                Done::KafkaKilled(at) => {
                    self.struck(Kind::Kafka, &[0, 1, 2], at);
                    self.tell("kafka kill -9");
                }
                Done::ClickHouseKilled(at) => {
                    self.struck(Kind::ClickHouse, &[AGGREGATE], at);
                    self.tell("clickhouse kill -9");
                }
                Done::ClickHouseCrashed(words) => {
                    self.tell(&words);
                    *self.members.seen.exits.entry(("clickhouse", words)).or_default() += 1;
                }
                Done::Restarted(server, after) => {
                    self.tell(&format!("{server} answers again after {}", seconds(after)));
                }
                Done::WindowShrunk => {
                    self.window.shrunk(Instant::now());
                    self.struck(Kind::Window, &[], Instant::now());
                    self.tell("clickhouse remembers three inserts");
                }
                Done::WindowRestored => {
                    self.window.restored(Instant::now());
                    self.tell("clickhouse remembers again");
                }
            }
        }
        match self.window.step(Instant::now(), self.members.has_zombies(AGGREGATE)) {
            Some(Step::Shrink) => {
                self.proxy.drop_abandoned(true);
                servers.order(Order::ShrinkWindow);
            }
            Some(Step::Restore) => servers.order(Order::RestoreWindow),
            Some(Step::Release) => self.proxy.drop_abandoned(false),
            None => (),
        }
        if self.calm_clients_at.is_some_and(|at| at <= Instant::now()) {
            self.calm_clients_at = None;
            self.clients.repeat(USUAL_REPEATS);
        }
        self.supervise()
    }

    fn supervise(&mut self) -> Result<(), Error> {
        while let Ok(sample) = self.samples.try_recv() {
            self.recoveries.add(&sample);
        }
        let progressed = self.recoveries.progressed();
        self.members.supervise(progressed)?;
        thread::sleep(TICK);
        Ok(())
    }

    fn calm_down(&mut self, servers: &mut Servers<'_>) {
        self.tell("no more faults");
        self.clients.end();
        self.proxy.cancel();
        self.members.calm_down();
        self.window = Window::Growing;
        servers.order(Order::RestoreWindow);
        servers.close();
    }

    /// Waits until everything is counted and nothing changes any more, or nothing moves for too long.
    fn drain(&mut self, sent: u64) -> Result<(), Error> {
        let (mut last, mut moved) = (self.counted, Instant::now());
        loop {
            self.supervise()?;
            self.look(true, Duration::from_millis(500));
            if self.counted != last {
                (last, moved) = (self.counted, Instant::now());
            }
            let is_settled = last >= sent && moved.elapsed() > SETTLED && self.members.are_all_running();
            if is_settled {
                return Ok(());
            }
            if moved.elapsed() > PATIENCE {
                let (waited, states) = (PATIENCE.as_secs(), self.members.states());
                let finding =
                    format!("{last} of {sent} events counted, and nothing moved for {waited} s: {states}");
                self.members.seen.findings.push(finding);
                return Ok(());
            }
        }
    }

    /// Asks how much is counted, if that is due, and shows how it goes.
    fn look(&mut self, is_draining: bool, every: Duration) {
        if self.asked.elapsed() > every {
            // A server that is gone has counted what it had counted.
            if let Ok(totals) = Totals::read(self.place.clickhouse_url, self.place.pipeline) {
                self.counted = totals.sum();
            }
            self.asked = Instant::now();
        }
        self.audience.see(Progress {
            elapsed: self.started.elapsed(),
            is_draining,
            sent: self.clients.sent(),
            counted: self.counted,
            faults: self.injected.values().chain(self.proxy.met().values()).sum(),
        });
    }

    fn tell(&mut self, what: &str) {
        let line = format!("{:>7.1} s  {what}", self.started.elapsed().as_secs_f64());
        // The log is for people; a full disk shows elsewhere.
        let _ = writeln!(self.log, "{line}");
        self.audience.hear(&line);
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
