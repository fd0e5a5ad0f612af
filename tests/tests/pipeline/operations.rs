//! What operators see: an error about a wrong setting is one line that says what to do, processes wait for servers that
//! start later, and a running process reports its state over HTTP.

use std::{
    net::TcpListener,
    process::{Command, Output},
};

use devstack::{Process, Profile, build_binaries};
use simulator::Config;
use system_tests::{
    WAIT, eventually, get, http_address, pipeline, pipeline_without_topics,
    proxy::{Proxy, TcpForward},
    send, simulator, stack, start, start_stages, topic, wait_until_ready,
};

/// Runs a binary on the shared stack with additional environment variables, until it exits.
fn run(binary: &str, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let directory = build_binaries(Profile::of_this_build()).unwrap();
    let mut command = Command::new(directory.join(binary));
    command
        .args(args)
        .env("MILLRACE__KAFKA__BROKERS", stack().brokers())
        .env("MILLRACE__CLICKHOUSE__URL", stack().clickhouse_url())
        .env("MILLRACE__HTTP__LISTEN", "127.0.0.1:0")
        .env("MILLRACE__ENRICH__IDENTITY_SECRET", "a secret of more than 16 characters")
        .env("MILLRACE__KAFKA__TOPIC_PREFIX", "nobody-made-these.")
        .env("MILLRACE__STARTUP_TIMEOUT", "3s")
        .envs(variables.iter().copied());
    command.output().unwrap()
}

#[track_caller]
fn check_failure(binary: &str, variables: &[(&str, &str)], code: i32, words: &[&str]) {
    let output = run(binary, &[], variables);
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(code), "{binary} {variables:?}: {errors}");
    for word in words {
        assert!(errors.contains(word), "{binary} {variables:?} does not say {word:?}: {last}");
    }
}

#[test]
fn a_wrong_setting_gives_one_line_that_names_it_and_the_right_exit_code() {
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
        78,
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
fn a_running_process_reports_its_state() {
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

/// The process has counted at least `events` in `counter`, has these series, and every series has a help text.
fn check_metrics(process: &Process, counter: &str, events: u64, series: &[&str]) {
    let address = http_address(process).unwrap();
    let mut text = String::new();
    let complete = |text: &str| {
        let counted = text.lines().filter(|line| line.starts_with(counter));
        let sum: f64 = counted.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum();
        sum >= events as f64 && series.iter().all(|series| text.lines().any(|line| line.starts_with(series)))
    };
    // Lag is reported every few seconds.
    eventually(&format!("complete: the metrics of {}", process.name()), WAIT, || {
        text = get(&address, "/metrics").1;
        complete(&text).then_some(())
    });
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(text.contains(&format!("# HELP {name} ")), "{} has no help for {name}", process.name());
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
fn processes_wait_for_a_kafka_and_a_clickhouse_that_start_later() {
    let mut pipeline = pipeline("later");
    let brokers = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let clickhouse = Proxy::start(stack().clickhouse_url()).unwrap();
    clickhouse.cut_off(true);
    pipeline.set("MILLRACE__KAFKA__BROKERS", &brokers);
    pipeline.set("MILLRACE__CLICKHOUSE__URL", &clickhouse.url());
    let mut stages: Vec<_> =
        ["ingest", "enrich", "aggregate"].map(|stage| start(&pipeline, stage, "0")).into();
    for process in &mut stages {
        eventually("waiting", WAIT, || process.log_tail(20).contains("waiting for").then_some(()));
        assert_eq!(process.exit_status().unwrap(), None, "{}", process.log_tail(5));
    }
    let _kafka = TcpForward::start(&brokers, stack().brokers()).unwrap();
    clickhouse.cut_off(false);
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
