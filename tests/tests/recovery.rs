//! Aggregate killed at every step of its protocol, restarted with other cubes, cut off from ClickHouse, and met by
//! records that are gone: no number changes, and what cannot go on says so and leaves the rest alone.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use devstack::{Process, Totals, pipeline::Pipeline, query};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};
use simulator::{Config, Truth};
use system_tests::{
    compare::assert_equal_to_truth, eventually, get, http_address, pipeline, send, settle, simulator, stack,
    start, start_stages, topic, wait_until_ready,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn start_with(pipeline: &Pipeline, variables: &[(&str, &str)]) -> Process {
    pipeline.start("aggregate", "0", &[], variables).unwrap()
}

/// The sum of a counter over all its labels.
fn counter(process: &Process, name: &str) -> f64 {
    let Some(address) = http_address(process) else { return 0.0 };
    let (_, text) = get(&address, "/metrics");
    let series = text.lines().filter(|line| line.starts_with(name));
    series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

fn ask(sql: &str) -> String {
    query(stack().clickhouse_url(), sql).unwrap().trim().to_owned()
}

/// The ledger of each lane's table says what its rows say.
fn assert_ledger(pipeline: &Pipeline) {
    let name = pipeline.name();
    let totals = Totals::read(stack().clickhouse_url(), name).unwrap();
    let ledger = |table: &str, column: &str| -> u64 {
        let sql = format!("SELECT sum({column}) FROM {name}.{table} WHERE src LIKE '1/%'");
        ask(&sql).parse().unwrap()
    };
    assert_eq!(ledger("live_local", "ledger_events"), totals.stored + totals.duplicates);
    assert_eq!(ledger("live_local", "ledger_duplicates"), totals.duplicates);
    assert_eq!(ledger("dead_letters_local", "ledger_events"), totals.dead_letters);
}

fn settle_and_compare(pipeline: &Pipeline, truth: &Truth, stages: Vec<Process>) {
    settle(pipeline, truth, stages);
    assert_equal_to_truth(pipeline, truth);
    assert_ledger(pipeline);
}

#[test]
fn killed_before_or_after_every_step_it_counts_each_event_once() {
    let pipeline = pipeline("crash_points");
    let mut simulator = simulator(&pipeline, Config { seed: 41, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    for failpoint in [
        "before:intent@3",
        "after:intent@2",
        "before:insert@3",
        "after:insert@5",
        // Two lanes ask at their start; the third to ask is a flush that was left unfinished.
        "before:read_markers@3",
        "after:read_markers@3",
        "after:insert@1",
        "before:done@1",
        "after:done@3",
        "before:read_markers@1",
    ] {
        stages[2].terminate(PATIENCE).unwrap();
        stages[2] = start_with(&pipeline, &[("MILLRACE_FAILPOINT", failpoint)]);
        let started = Instant::now();
        while stages[2].exit_status().unwrap().is_none() {
            assert!(started.elapsed() < PATIENCE, "{failpoint} was not reached: {}", stages[2].log_tail(5));
            send(&pipeline, &mut simulator, 500, None);
            thread::sleep(Duration::from_millis(100));
        }
        assert!(stages[2].log_tail(3).contains("failpoint reached"), "{}", stages[2].log_tail(3));
    }
    stages[2] = start(&pipeline, "aggregate", "0");
    let log = stages[2].log_tail(usize::MAX);
    assert!(log.contains("intent replayed"), "no kill left an intent");
    settle_and_compare(&pipeline, &simulator.truth(), stages);
}

#[test]
fn other_cubes_than_those_of_the_killed_process_change_no_number() {
    let pipeline = pipeline("other_cubes");
    let mut simulator = simulator(&pipeline, Config { seed: 42, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cubes.toml");
    for (nth, failpoint) in ["after:insert@2", "before:insert@2"].into_iter().enumerate() {
        stages[2].terminate(PATIENCE).unwrap();
        // Other cubes change nothing about dead letters, so these must not be what it dies of.
        let live_only = ("MILLRACE__AGGREGATE__LANES", "live");
        stages[2] = start_with(&pipeline, &[("MILLRACE_FAILPOINT", failpoint), live_only]);
        while stages[2].exit_status().unwrap().is_none() {
            send(&pipeline, &mut simulator, 500, None);
            thread::sleep(Duration::from_millis(100));
        }
        // The same columns, other bytes.
        let days = format!("live = {}", 100 + nth);
        std::fs::write(&file, aggregate::cube::BUILT_IN.replace("live = 90", &days)).unwrap();
        let cubes = ("MILLRACE__AGGREGATE__CUBES_FILE", file.to_str().unwrap());
        stages[2] = start_with(&pipeline, &[cubes, ("MILLRACE__AGGREGATE__LONGEST_INSERT", "3s")]);
        wait_until_ready(&mut stages[2]);
        eventually("recovered", PATIENCE, || {
            let log = stages[2].log_tail(usize::MAX);
            (log.matches("builds other rows").count() > nth && log.matches("\"recovered\"").count() > nth)
                .then_some(())
        });
    }
    settle_and_compare(&pipeline, &simulator.truth(), stages);
}

#[test]
fn a_partition_whose_records_are_gone_halts_and_the_others_go_on() {
    let pipeline = pipeline("records_gone");
    let mut simulator = simulator(&pipeline, Config { seed: 43, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    send(&pipeline, &mut simulator, 5_000, None);
    let sent = simulator.truth().counts.sent;
    eventually("counted", PATIENCE, || {
        let totals = Totals::read(stack().clickhouse_url(), pipeline.name()).ok()?;
        (totals.sum() >= sent).then_some(())
    });
    stages[2].terminate(PATIENCE).unwrap();
    let before = Totals::read(stack().clickhouse_url(), pipeline.name()).unwrap();
    let end = end_of(&pipeline, "enriched-events", 0);
    send(&pipeline, &mut simulator, 5_000, None);
    eventually("enriched", PATIENCE, || (end_of(&pipeline, "enriched-events", 0) > end + 1).then_some(()));
    delete_records(&pipeline, "enriched-events", 0);
    stages[2] = start(&pipeline, "aggregate", "0");
    wait_until_ready(&mut stages[2]);
    let address = http_address(&stages[2]).unwrap();
    eventually("halted", PATIENCE, || {
        let metric = "millrace_aggregate_partition_halted{lane=\"live\",partition=\"0\"} 1";
        get(&address, "/metrics").1.contains(metric).then_some(())
    });
    let status = get(&address, "/status").1;
    assert!(status.contains("records were removed before they were counted"), "{status}");
    assert!(stages[2].log_tail(usize::MAX).contains("partition halted, the others go on"));
    // The others count on, and the process is well.
    eventually("more counted", PATIENCE, || {
        let totals = Totals::read(stack().clickhouse_url(), pipeline.name()).ok()?;
        (totals.sum() > before.sum() + 1_000).then_some(())
    });
    assert_eq!((get(&address, "/readyz").0, get(&address, "/livez").0), (200, 200));
    devstack::pipeline::stop(&mut stages).unwrap();
}

#[test]
fn lost_answers_and_a_stop_while_clickhouse_is_gone_change_no_number() {
    let mut pipeline = pipeline("behind_a_gate");
    let gate = Gate::new(stack().clickhouse_url());
    pipeline.set("MILLRACE__CLICKHOUSE__URL", &gate.url);
    let mut simulator = simulator(&pipeline, Config { seed: 44, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    for _ in 0..6 {
        gate.to_lose.store(3, Ordering::SeqCst);
        send(&pipeline, &mut simulator, 2_000, None);
        eventually("lost", PATIENCE, || (gate.to_lose.load(Ordering::SeqCst) == 0).then_some(()));
    }
    eventually("markers found", PATIENCE, || {
        (counter(&stages[2], "millrace_aggregate_markers_found_total") > 0.0).then_some(())
    });
    gate.open.store(false, Ordering::SeqCst);
    send(&pipeline, &mut simulator, 5_000, None);
    eventually("in trouble", PATIENCE, || {
        stages[2].log_tail(usize::MAX).contains("repeating it until it does").then_some(())
    });
    thread::sleep(Duration::from_secs(2));
    let started = Instant::now();
    let status = stages[2].terminate(PATIENCE).unwrap();
    assert!(started.elapsed() < Duration::from_secs(8), "a stop took {:?}", started.elapsed());
    assert_eq!(status.code(), Some(1), "{}", stages[2].log_tail(5));
    assert!(stages[2].log_tail(5).contains("the rest is written at the next start"));
    gate.open.store(true, Ordering::SeqCst);
    stages[2] = start(&pipeline, "aggregate", "0");
    settle_and_compare(&pipeline, &simulator.truth(), stages);
}

#[test]
fn an_answer_lost_at_the_start_is_asked_for_again() {
    let mut pipeline = pipeline("lost_at_start");
    let gate = Gate::new(stack().clickhouse_url());
    pipeline.set("MILLRACE__CLICKHOUSE__URL", &gate.url);
    // Version, table, columns, settings, two inserts and their sum, for the first of two lanes.
    for answers_before in 0..8 {
        gate.to_pass.store(answers_before, Ordering::SeqCst);
        gate.to_lose.store(1, Ordering::SeqCst);
        let mut process = start(&pipeline, "aggregate", "0");
        wait_until_ready(&mut process);
        assert_eq!(gate.to_lose.load(Ordering::SeqCst), 0, "no answer was lost");
        process.terminate(PATIENCE).unwrap();
    }
}

/// The end of a partition.
fn end_of(pipeline: &Pipeline, name: &str, partition: i32) -> i64 {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", stack().brokers()).create().unwrap();
    consumer.fetch_watermarks(&topic(pipeline, name), partition, PATIENCE).unwrap().1
}

/// Removes all records of a partition, as retention does.
fn delete_records(pipeline: &Pipeline, name: &str, partition: i32) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", stack().brokers()).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic(pipeline, name), partition, Offset::End).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(admin.delete_records(&list, &AdminOptions::new())).unwrap();
}

/// Stands before ClickHouse: can be shut, and loses answers on request, after the server has done its work.
struct Gate {
    url: String,
    open: Arc<AtomicBool>,
    to_lose: Arc<AtomicU32>,
    /// Answers that pass before the next one is lost.
    to_pass: Arc<AtomicU32>,
}

impl Gate {
    fn new(server: &str) -> Self {
        let server = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (open, to_lose) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
        let to_pass = Arc::new(AtomicU32::new(0));
        let gate = Self {
            url,
            open: Arc::clone(&open),
            to_lose: Arc::clone(&to_lose),
            to_pass: Arc::clone(&to_pass),
        };
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                if !open.load(Ordering::SeqCst) {
                    continue;
                }
                let server = TcpStream::connect(&server).unwrap();
                let (requests, answers) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (is_open, open) = (Arc::clone(&open), Arc::clone(&open));
                let (to_lose, to_pass) = (Arc::clone(&to_lose), Arc::clone(&to_pass));
                thread::spawn(move || pass(requests, server, || is_open.load(Ordering::SeqCst)));
                thread::spawn(move || {
                    let take_one = |left: u32| left.checked_sub(1);
                    let take = |left: &AtomicU32| {
                        left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take_one).is_ok()
                    };
                    let lost = || to_lose.load(Ordering::SeqCst) > 0 && !take(&to_pass) && take(&to_lose);
                    pass(answers, client, || open.load(Ordering::SeqCst) && !lost());
                });
            }
        });
        gate
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, passes: impl Fn() -> bool) {
    let mut buffer = [0; 65_536];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 || !passes() || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
