//! Every cell and every dead letter equal what clients sent, also with restarts and with several processes.

use simulator::Config;
use system_tests::{
    WAIT,
    compare::{assert_equal_to_truth, assert_minutes},
    pipeline, send, settle, simulator, start, start_stages, wait_until_ready,
};

#[test]
fn two_hundred_thousand_events_are_counted_exactly_and_every_dead_letter_keeps_its_bytes() {
    let pipeline = pipeline("exact");
    // Some records are larger than librdkafka's default limit of 1 MB: they must become dead letters too.
    let config =
        Config { seed: 11, duplicates: 0.02, bad: 0.01, largest_bad_bytes: 1_500_000, ..Config::default() };
    let mut simulator = simulator(&pipeline, config);
    let stages = start_stages(&pipeline);
    send(&pipeline, &mut simulator, 200_000, None);
    let truth = simulator.truth();
    assert!(truth.rejected_by_code.len() >= 13, "every code: {:?}", truth.rejected_by_code);
    settle(&pipeline, &truth, stages);
    assert_equal_to_truth(&pipeline, &truth);
}

#[test]
fn events_of_clients_with_correct_clocks_count_in_their_own_minute() {
    let pipeline = pipeline("minutes");
    let config =
        Config { seed: 12, skewed: 0.0, untrusted: 0.0, future: 0.0, late: 0.05, ..Config::default() };
    let mut simulator = simulator(&pipeline, config);
    let stages = start_stages(&pipeline);
    send(&pipeline, &mut simulator, 20_000, None);
    let truth = simulator.truth();
    settle(&pipeline, &truth, stages);
    assert_minutes(&pipeline, &truth);
}

#[test]
fn a_clean_restart_of_ingest_and_aggregate_changes_no_number() {
    let pipeline = pipeline("restart");
    let mut simulator = simulator(&pipeline, Config { seed: 13, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    for _ in 0..3 {
        send(&pipeline, &mut simulator, 10_000, None);
        for (index, name) in [(0, "ingest"), (2, "aggregate")] {
            let status = stages[index].terminate(WAIT).unwrap();
            assert!(status.success(), "{name} ended with {status}:\n{}", stages[index].log_tail(10));
            stages[index] = start(&pipeline, name, "0");
        }
    }
    send(&pipeline, &mut simulator, 10_000, None);
    let truth = simulator.truth();
    settle(&pipeline, &truth, stages);
    assert_equal_to_truth(&pipeline, &truth);
}

#[test]
fn two_processes_of_each_stage_share_the_work_and_change_no_number() {
    let pipeline = pipeline("pairs");
    let mut simulator = simulator(&pipeline, Config { seed: 14, ..Config::default() });
    let mut stages = Vec::new();
    for instance in ["0", "1"] {
        for stage in ["ingest", "enrich", "aggregate"] {
            stages.push(start(&pipeline, stage, instance));
        }
    }
    stages.iter_mut().for_each(wait_until_ready);
    send(&pipeline, &mut simulator, 20_000, Some(10_000.0));
    // More processes of the stages without state join.
    for stage in ["ingest", "aggregate"] {
        stages.push(start(&pipeline, stage, "2"));
    }
    send(&pipeline, &mut simulator, 20_000, Some(10_000.0));
    let truth = simulator.truth();
    settle(&pipeline, &truth, stages);
    assert_equal_to_truth(&pipeline, &truth);
}
