//! What the whole-system tests share: one stack per test binary, one pipeline with its own topics and database per test,
//! and the comparison of everything in ClickHouse and Kafka with the simulator's truth.
//!
//! A test waits for a state with [`eventually`] and compares then. It makes no promise about time: a busy machine is slow.
//! `cargo bench-recovery` and `cargo bench-pipeline` measure times.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

pub mod cells;
pub mod certificates;
pub mod chaos;
pub mod compare;
mod error;
pub mod hostile;
pub mod metrics;
pub mod proxy;
pub mod raw;
pub mod reference;
mod result_source;
pub mod secure;
pub mod tls_proxy;

pub use error::Error;
pub use result_source::ResultSource;

use devstack::{
    ClickHouseUser, Process, Profile, Stack, StackOptions,
    pipeline::{Pipeline, STAGES},
    query, wait_for_events,
};
use simulator::{
    Config, Simulator, Truth, default_activities,
    produce::{self, Pace, Target},
};
use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, OnceLock, atomic::AtomicBool},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How long a test waits for a state. Far longer than a busy machine needs, so that only an error takes this long.
pub const WAIT: Duration = Duration::from_secs(120);

/// A user of the shared ClickHouse who has a password.
pub const CLICKHOUSE_USER: &str = "with_password";
/// That password.
pub const CLICKHOUSE_PASSWORD: &str = "canary-clickhouse-1f86c3a9d0";

static STACK: OnceLock<Stack> = OnceLock::new();

/// The stack of this test binary. The first call starts it.
pub fn stack() -> &'static Stack {
    let user = ClickHouseUser { name: CLICKHOUSE_USER.to_owned(), password: CLICKHOUSE_PASSWORD.to_owned() };
    let options = StackOptions { clickhouse_users: vec![user], ..StackOptions::default() };
    STACK.get_or_init(|| Stack::start(options).unwrap_or_else(|error| panic!("{error}")))
}

/// From now on all functions here use `own`.
pub fn use_stack(own: Stack) {
    STACK.set(own).unwrap_or_else(|_| panic!("the shared stack is in use already"));
}

/// A stack whose servers may be killed: no other binary uses them, and the tests that hold it run one after the other.
/// From then on all functions here use it.
pub fn own_stack() -> MutexGuard<'static, Stack> {
    static OWN: OnceLock<Mutex<Stack>> = OnceLock::new();
    let own = OWN.get_or_init(|| {
        let own = Stack::start(StackOptions::own_servers()).unwrap_or_else(|error| panic!("{error}"));
        let (kafka, clickhouse) = (own.brokers().to_owned(), own.clickhouse_url().to_owned());
        let same =
            StackOptions { kafka: Some(kafka), clickhouse: Some(clickhouse), ..StackOptions::own_servers() };
        use_stack(Stack::start(same).unwrap());
        Mutex::new(own)
    });
    own.lock().unwrap_or_else(|poisoned| {
        // A test that failed may have left them stopped.
        let mut own = poisoned.into_inner();
        own.restart_kafka().and_then(|()| own.restart_clickhouse()).unwrap_or_else(|error| panic!("{error}"));
        own
    })
}

/// A pipeline with its own topics and tables. Its logs stay in the temporary directory when the test fails.
pub fn pipeline(test: &str) -> Pipeline {
    let pipeline = pipeline_without_topics(test);
    pipeline.create().unwrap_or_else(|error| panic!("{error}"));
    pipeline
}

/// As [`pipeline`], without topics and tables.
pub fn pipeline_without_topics(test: &str) -> Pipeline {
    // The name must not be that of an earlier run on the same servers.
    let name = format!("{test}_{}", std::process::id());
    let mut pipeline = Pipeline::new(stack(), &name, Profile::of_this_build(), &logs_of(&name))
        .unwrap_or_else(|error| panic!("{error}"));
    pipeline.set("MILLRACE__KAFKA__PARTITIONS", "4");
    pipeline.set("MILLRACE__STARTUP_TIMEOUT", "60s");
    // The default of 15 s would make every test slow.
    pipeline.set("MILLRACE__AGGREGATE__REPORT_FLUSH_INTERVAL", "1s");
    pipeline
}

/// The directory of the logs of a pipeline.
pub fn logs(pipeline: &Pipeline) -> PathBuf {
    logs_of(pipeline.name())
}

fn logs_of(pipeline: &str) -> PathBuf {
    std::env::temp_dir().join("millrace-tests").join(pipeline)
}

/// A simulator. Registers its activities in the pipeline.
pub fn simulator(pipeline: &Pipeline, config: Config) -> Simulator {
    let activities = default_activities(now_ms());
    for activity in &activities {
        let starts = rfc3339(activity.starts_at);
        let ends = rfc3339(activity.ends_at);
        let mut args = vec!["activity", "create", "--id", &activity.activity_id, "--name", &activity.name];
        args.extend(["--type", activity.kind.as_str(), "--starts", &starts, "--ends", &ends]);
        for app in &activity.app_ids {
            args.extend(["--app", app]);
        }
        let events: Vec<String> = activity.events.iter().map(|key| format!("{key}={key}")).collect();
        for event in &events {
            args.extend(["--event", event]);
        }
        pipeline.millrace(&args).unwrap_or_else(|error| panic!("{error}"));
    }
    Simulator::new(Config { activities, ..config })
}

/// Sends at least `events` more events, at `rate` per second or as fast as possible.
pub fn send(pipeline: &Pipeline, simulator: &mut Simulator, events: u64, rate: Option<f64>) {
    let mut target = Target::new(stack().brokers(), topic(pipeline, "raw-events"));
    target.events = Some(events);
    target.pace = rate.map_or(Pace::Full, Pace::Steady);
    produce::run(simulator, &target, &AtomicBool::new(false), |_| ())
        .unwrap_or_else(|error| panic!("{error}"));
}

/// The full name of a pipeline's topic.
pub fn topic(pipeline: &Pipeline, name: &str) -> String {
    format!("{}.{name}", pipeline.name())
}

/// Starts one process of each stage. Returns when all are ready.
pub fn start_stages(pipeline: &Pipeline) -> Vec<Process> {
    let mut processes: Vec<Process> = STAGES.iter().map(|stage| start(pipeline, stage, "0")).collect();
    for process in &mut processes {
        wait_until_ready(process);
    }
    processes
}

/// Starts one process.
pub fn start(pipeline: &Pipeline, stage: &str, instance: &str) -> Process {
    pipeline.start(stage, instance, &[], &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until `/readyz` returns 200.
pub fn wait_until_ready(process: &mut Process) {
    eventually("ready", WAIT, || {
        if let Some(status) = process.exit_status().unwrap() {
            panic!("{} exited with {status}:\n{}", process.name(), process.log_tail(20));
        }
        let ready = http_address(process).is_some_and(|address| get(&address, "/readyz").0 == 200);
        ready.then_some(())
    });
}

/// The HTTP address of a process, from its log.
pub fn http_address(process: &Process) -> Option<String> {
    let log = process.log_tail(usize::MAX);
    // A restarted process appends to the same file: the last start is the current one.
    log.lines().rev().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let fields = line.get("fields")?;
        (fields.get("message")?.as_str()? == "started")
            .then(|| fields.get("http")?.as_str().map(str::to_owned))?
    })
}

/// The value of a metric of a process, summed over all series with this beginning; 0 when there is none.
pub fn metric(process: &Process, series: &str) -> f64 {
    http_address(process).map_or(0.0, |address| metric_at(&address, series))
}

/// [`metric`] of the process at this HTTP address. For a process that another one of its name has replaced: the two share
/// a log.
pub fn metric_at(address: &str, series: &str) -> f64 {
    let (_, text) = get(address, "/metrics");
    let values = text.lines().filter(|line| line.starts_with(series));
    values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// Status and body of a GET; status 0 when there is no response.
pub fn get(address: &str, path: &str) -> (u16, String) {
    // A frozen process accepts a connection and never responds.
    let timeout = Some(Duration::from_secs(5));
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(timeout).build();
    let agent = ureq::Agent::from(config);
    match agent.get(format!("http://{address}{path}")).call() {
        Ok(mut response) => {
            (response.status().as_u16(), response.body_mut().read_to_string().unwrap_or_default())
        }
        Err(_) => (0, String::new()),
    }
}

/// Waits until every event is accounted for, then stops the processes, so that they write what they have in memory.
pub fn settle(pipeline: &Pipeline, truth: &Truth, mut processes: Vec<Process>) {
    let settled = wait_for_events(stack().clickhouse_url(), pipeline.name(), truth.counts.sent, |_| ());
    if let Err(error) = settled {
        let logs: Vec<String> =
            processes.iter().map(|process| format!("{}:\n{}", process.name(), process.log_tail(5))).collect();
        panic!("{error}\n{}", logs.join("\n"));
    }
    wait_for_report(pipeline, &processes);
    devstack::pipeline::stop(&mut processes).unwrap_or_else(|error| panic!("{error}"));
}

/// Waits until lane report has written as many events as lane live, if one of the processes has that lane.
fn wait_for_report(pipeline: &Pipeline, processes: &[Process]) {
    let has_lane = |address: String| get(&address, "/status").1.contains("\"report-0\"");
    if !processes.iter().filter_map(http_address).any(has_lane) {
        return;
    }
    let written = |lane: &str| {
        let database = pipeline.name();
        let ledger = "sumIf(ledger_events, NOT startsWith(src, 'probe'))";
        let sql = format!("SELECT {ledger} FROM {database}.{lane}_local WHERE src != ''");
        query(stack().clickhouse_url(), &sql).ok()?.trim().parse::<u64>().ok()
    };
    eventually("all in lane report", WAIT, || (written("report")? >= written("live")?).then_some(()));
}

/// Fails with the end of its log if a process has ended.
pub fn assert_none_ended(stages: &mut [Process]) {
    for process in stages {
        let status = process.exit_status().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(status, None, "{}: {}", process.name(), process.log_tail(5));
    }
}

/// Calls `attempt` until it returns a value; fails after `timeout`.
pub fn eventually<T>(what: &str, timeout: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(started.elapsed() < timeout, "not {what} after {timeout:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The time, in epoch milliseconds.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}
