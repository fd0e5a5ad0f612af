//! What an operator meets: wrong settings end in one line that says what to do, servers that come late are waited
//! for, and a running process explains itself over HTTP.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    io::copy,
    net::{Shutdown, TcpListener, TcpStream},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use devstack::{Process, Profile, build_binaries};
use simulator::Config;
use system_tests::{
    eventually, get, http_address, pipeline, pipeline_without_topics, send, simulator, stack, start,
    start_stages, topic, wait_until_ready,
};

/// Runs a binary against the shared stack with these variables on top, until it ends by itself.
fn run(binary: &str, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let directory = build_binaries(Profile::of_this_build()).unwrap();
    let mut command = Command::new(directory.join(binary));
    command
        .args(args)
        .env("MILLRACE__KAFKA__BROKERS", stack().brokers())
        .env("MILLRACE__CLICKHOUSE__URL", stack().clickhouse_url())
        .env("MILLRACE__HTTP__LISTEN", "127.0.0.1:0")
        .env("MILLRACE__KAFKA__TOPIC_PREFIX", "nobody-made-these.")
        .env("MILLRACE__STARTUP_TIMEOUT", "3s")
        .envs(variables.iter().copied());
    command.output().unwrap()
}

#[track_caller]
fn check_failure(binary: &str, variables: &[(&str, &str)], code: i32, words: &[&str]) {
    let started = Instant::now();
    let output = run(binary, &[], variables);
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(code), "{binary} {variables:?}: {errors}");
    for word in words {
        assert!(errors.contains(word), "{binary} {variables:?} does not say {word:?}: {last}");
    }
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{binary} {variables:?} took {:?}",
        started.elapsed()
    );
}

#[test]
fn a_wrong_setting_ends_in_one_line_that_names_it_and_the_right_exit_code() {
    let pipeline = pipeline("errors");
    let prefix = format!("{}.", pipeline.name());
    let topics = ("MILLRACE__KAFKA__TOPIC_PREFIX", prefix.as_str());
    let tables = ("MILLRACE__CLICKHOUSE__DATABASE", pipeline.name());
    let nobody = "127.0.0.1:1";
    for stage in ["ingest", "enrich", "aggregate"] {
        check_failure(
            stage,
            &[("MILLRACE__KAFKA__BROKER", nobody)],
            78,
            &["MILLRACE__KAFKA__BROKER", "kafka.brokers"],
        );
        check_failure(stage, &[("MILLRACE__HTTP__LISTEN", "everywhere")], 78, &["http.listen", "everywhere"]);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        check_failure(
            stage,
            &[("MILLRACE__HTTP__LISTEN", &address)],
            1,
            &[&address, "MILLRACE__HTTP__LISTEN"],
        );
        check_failure(
            stage,
            &[("MILLRACE__KAFKA__BROKERS", nobody), topics, tables],
            1,
            &[nobody, "kafka.brokers"],
        );
    }
    for stage in ["ingest", "enrich"] {
        check_failure(stage, &[], 1, &["nobody-made-these.", "millrace topics create"]);
    }
    let wrong_user = [("MILLRACE__CLICKHOUSE__USER", "nobody"), topics];
    check_failure("aggregate", &wrong_user, 1, &["clickhouse.user", "clickhouse.password"]);
    let no_tables = [("MILLRACE__CLICKHOUSE__DATABASE", "nowhere"), topics];
    check_failure("aggregate", &no_tables, 1, &["nowhere", "millrace migrate"]);
    let no_server = [("MILLRACE__CLICKHOUSE__URL", "http://127.0.0.1:1"), topics];
    check_failure("aggregate", &no_server, 1, &["http://127.0.0.1:1", "clickhouse.url"]);
    check_failure(
        "aggregate",
        &[("MILLRACE__AGGREGATE__LANES", "lvie"), topics, tables],
        1,
        &["lvie", "live"],
    );
}

#[test]
fn check_config_prints_every_key_and_no_secret() {
    let secret = ("MILLRACE__CLICKHOUSE__PASSWORD", "s3cret-of-ours");
    for stage in ["ingest", "enrich", "aggregate"] {
        let output = run(stage, &["--check-config"], &[secret]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert!(text.contains("max_event_age") && text.contains("nobody-made-these."), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
        assert_eq!(run(stage, &["--no-such-flag"], &[]).status.code(), Some(2));
    }
}

#[test]
fn a_running_process_answers_about_itself() {
    let pipeline = pipeline("answers");
    let mut simulator = simulator(&pipeline, Config { seed: 31, bad: 0.05, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    send(&pipeline, &mut simulator, 5_000, None);
    for process in &stages {
        let address = http_address(process).unwrap();
        assert_eq!(get(&address, "/livez"), (200, "alive\n".into()));
        let (code, status) = get(&address, "/status");
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        assert_eq!((code, &status["stage"], &status["ready"]), (200, &process.name().into(), &true.into()));
    }
    let accepted = simulator.truth().counts.sent - simulator.truth().counts.rejected;
    check_metrics(
        &stages[0],
        "millrace_ingest_events_total",
        accepted,
        &[
            r#"millrace_ingest_time_source_total{time_source="client"}"#,
            r#"millrace_dead_letters_total{stage="ingest",code="#,
            r#"millrace_transactions_total{stage="ingest",outcome="committed"}"#,
            r#"millrace_process_seconds_bucket{stage="ingest",le="0.001"}"#,
            r#"millrace_commit_seconds_bucket{stage="ingest",le="+Inf"}"#,
            "millrace_consumer_lag_records{group=",
        ],
    );
    check_metrics(
        &stages[1],
        "millrace_enrich_events_total",
        accepted,
        &[
            r#"millrace_enrich_events_total{kind="duplicate"}"#,
            "millrace_enrich_activities ",
            "millrace_enrich_dedupe_entries ",
            "millrace_consumer_lag_records{group=",
        ],
    );
    check_metrics(
        &stages[2],
        "millrace_aggregate_events_total",
        accepted,
        &[
            r#"millrace_aggregate_newest_received_timestamp_seconds{lane="live"}"#,
            r#"millrace_aggregate_newest_received_timestamp_seconds{lane="dead_letters"}"#,
            r#"millrace_aggregate_insert_seconds_bucket{lane="live",le="0.001"}"#,
            r#"millrace_aggregate_rows_total{lane="live"}"#,
            "millrace_consumer_lag_records{group=",
        ],
    );
    devstack::pipeline::stop(&mut stages).unwrap();
}

/// The process has counted at least `events` in `counter`, shows these series, and explains every one it shows.
fn check_metrics(process: &Process, counter: &str, events: u64, series: &[&str]) {
    let address = http_address(process).unwrap();
    let mut text = String::new();
    let complete = |text: &str| {
        let counted = text.lines().filter(|line| line.starts_with(counter));
        let sum: f64 = counted.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum();
        sum >= events as f64 && series.iter().all(|series| text.lines().any(|line| line.starts_with(series)))
    };
    let started = Instant::now();
    // Lag is reported every few seconds.
    while !complete(&text) {
        assert!(started.elapsed() < Duration::from_secs(30), "{} shows only:\n{text}", process.name());
        thread::sleep(Duration::from_millis(200));
        text = get(&address, "/metrics").1;
    }
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(text.contains(&format!("# HELP {name} ")), "{} does not explain {name}", process.name());
            assert_ne!(kind, "summary", "{name} has no buckets");
        }
    }
}

#[test]
fn a_worker_without_a_partition_is_ready() {
    let mut pipeline = pipeline("idle");
    // Four partitions.
    pipeline.set("MILLRACE__WORKERS", "6");
    let mut stages = start_stages(&pipeline);
    devstack::pipeline::stop(&mut stages).unwrap();
}

#[test]
fn a_kafka_and_a_clickhouse_that_come_later_are_waited_for() {
    let mut pipeline = pipeline("later");
    let kafka = Later::new(stack().brokers());
    let clickhouse = Later::new(stack().clickhouse_url().trim_start_matches("http://"));
    pipeline.set("MILLRACE__KAFKA__BROKERS", &kafka.address);
    pipeline.set("MILLRACE__CLICKHOUSE__URL", &format!("http://{}", clickhouse.address));
    let mut stages: Vec<_> =
        ["ingest", "enrich", "aggregate"].map(|stage| start(&pipeline, stage, "0")).into();
    for process in &mut stages {
        eventually("waiting", Duration::from_secs(20), || {
            process.log_tail(20).contains("waiting for").then_some(())
        });
        assert_eq!(process.exit_status().unwrap(), None, "{}", process.log_tail(5));
    }
    kafka.come();
    clickhouse.come();
    stages.iter_mut().for_each(wait_until_ready);
    devstack::pipeline::stop(&mut stages).unwrap();
}

#[test]
fn topics_and_tables_can_be_created_again_and_a_missing_topic_is_found() {
    let pipeline = pipeline_without_topics("again");
    let error = pipeline.millrace(&["topics", "check"]).unwrap_err().to_string();
    assert!(error.contains(&topic(&pipeline, "raw-events")), "{error}");
    pipeline.create().unwrap();
    pipeline.create().unwrap();
    pipeline.millrace(&["topics", "check"]).unwrap();
}

/// An address at which a server answers only from a certain moment on.
struct Later {
    address: String,
    server: String,
}

impl Later {
    fn new(server: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { address: free.local_addr().unwrap().to_string(), server: server.to_owned() }
    }

    /// Forwards every connection from now on, for as long as the test binary runs.
    fn come(&self) {
        let listener = TcpListener::bind(&self.address).unwrap();
        let server = self.server.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                forward(client.try_clone().unwrap(), server.try_clone().unwrap());
                forward(server, client);
            }
        });
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        // Either side may hang up at any time; the other is told.
        let _ = copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}
