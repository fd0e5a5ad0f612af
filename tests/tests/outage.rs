//! Kafka or ClickHouse is killed: no event is lost, none counts twice, and every process still stops.

use devstack::{Process, Totals, pipeline::Pipeline};
use simulator::Config;
use std::{thread, time::Duration};
use system_tests::{
    WAIT, assert_none_ended, compare::assert_equal_to_truth, eventually, get, http_address, own_stack,
    pipeline, send, settle, simulator, stack, start_stages,
};

/// A process may exit when its server is down, but then its last log line is the reason.
fn assert_ended_with_a_reason(process: &Process, code: Option<i32>) {
    let log = process.log_tail(3);
    assert_eq!(code, Some(1), "{}: {log}", process.name());
    let last = log.lines().next_back().unwrap_or_default();
    let says_why = last.contains("stage failed") || last.contains("stop took too long");
    assert!(says_why && last.contains("ERROR"), "{}: {log}", process.name());
}

fn wait_until_counted(pipeline: &Pipeline, sent: u64, stages: &mut [Process]) {
    eventually("counted", 2 * WAIT, || {
        assert_none_ended(stages);
        let totals = Totals::read(stack().clickhouse_url(), pipeline.name()).ok()?;
        (totals.sum() >= sent).then_some(())
    });
}

#[test]
fn processes_stop_while_kafka_is_down() {
    let mut servers = own_stack();
    let pipeline = pipeline("stop_without_kafka");
    let mut simulator = simulator(&pipeline, Config { seed: 21, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    // Enough that every stage has records in progress.
    send(&pipeline, &mut simulator, 60_000, None);
    servers.kill_kafka().unwrap();
    thread::sleep(Duration::from_secs(2));
    thread::scope(|scope| {
        for process in &mut stages {
            scope.spawn(|| {
                let status = process.terminate(WAIT).unwrap();
                if !status.success() {
                    assert_ended_with_a_reason(process, status.code());
                }
            });
        }
    });
    servers.restart_kafka().unwrap();
    let mut stages = start_stages(&pipeline);
    let truth = simulator.truth();
    wait_until_counted(&pipeline, truth.counts.sent, &mut stages);
    settle(&pipeline, &truth, stages);
    assert_equal_to_truth(&pipeline, &truth);
}

#[test]
fn processes_wait_for_a_clickhouse_that_was_killed_and_no_number_changes() {
    let mut servers = own_stack();
    let pipeline = pipeline("without_clickhouse");
    let mut simulator = simulator(&pipeline, Config { seed: 22, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    thread::scope(|scope| {
        let sender = scope.spawn(|| send(&pipeline, &mut simulator, 60_000, Some(5_000.0)));
        thread::sleep(Duration::from_secs(2));
        servers.kill_clickhouse().unwrap();
        thread::sleep(Duration::from_secs(8));
        servers.restart_clickhouse().unwrap();
        sender.join().unwrap();
    });
    let truth = simulator.truth();
    assert_none_ended(&mut stages);
    assert!(
        stages[2].log_tail(usize::MAX).contains("retrying until clickhouse accepts it"),
        "no insert met the outage"
    );
    settle(&pipeline, &truth, stages);
    assert_equal_to_truth(&pipeline, &truth);
}

#[test]
fn a_kafka_that_was_killed_and_restarted_loses_no_event_and_none_counts_twice() {
    let mut servers = own_stack();
    let pipeline = pipeline("without_kafka");
    let mut simulator = simulator(&pipeline, Config { seed: 23, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    for _ in 0..2 {
        send(&pipeline, &mut simulator, 60_000, None);
        servers.kill_kafka().unwrap();
        thread::sleep(Duration::from_secs(4));
        servers.restart_kafka().unwrap();
        wait_until_counted(&pipeline, simulator.truth().counts.sent, &mut stages);
    }
    let truth = simulator.truth();
    settle(&pipeline, &truth, stages);
    assert_equal_to_truth(&pipeline, &truth);
}

#[test]
fn a_kafka_that_was_frozen_for_longer_than_any_timeout_ends_no_process() {
    let mut servers = own_stack();
    let pipeline = pipeline("frozen_kafka");
    let mut simulator = simulator(&pipeline, Config { seed: 24, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    // Enough that every stage has records in progress.
    send(&pipeline, &mut simulator, 60_000, None);
    servers.pause_kafka().unwrap();
    for process in &stages {
        eventually("degraded", WAIT, || {
            let address = http_address(process)?;
            let (_, metrics) = get(&address, "/metrics");
            let is_degraded = |line: &str| line.starts_with("millrace_degraded{") && !line.ends_with(" 0");
            (get(&address, "/readyz").0 == 503 && metrics.lines().any(is_degraded)).then_some(())
        });
    }
    // Longer than a transaction may be open, and than any call is repeated.
    thread::sleep(Duration::from_secs(60));
    assert_none_ended(&mut stages);
    servers.resume_kafka().unwrap();
    send(&pipeline, &mut simulator, 5_000, None);
    let truth = simulator.truth();
    wait_until_counted(&pipeline, truth.counts.sent, &mut stages);
    for process in &mut stages {
        system_tests::wait_until_ready(process);
    }
    settle(&pipeline, &truth, stages);
    assert_equal_to_truth(&pipeline, &truth);
}
