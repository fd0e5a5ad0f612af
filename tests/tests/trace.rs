//! The lane `events` holds every event once, whatever dies; `millrace trace` tells the whole way of one event, from
//! its rows or from the topics.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use devstack::{pipeline::Pipeline, query, wait_for_events};
use simulator::Config;
use system_tests::{eventually, pipeline, send, simulator, stack, start, start_stages, wait_until_ready};

const PATIENCE: Duration = Duration::from_secs(60);

fn number(sql: &str) -> u64 {
    query(stack().clickhouse_url(), sql).unwrap().trim().parse().unwrap()
}

fn pipeline_with_events(test: &str) -> Pipeline {
    let mut pipeline = pipeline(test);
    pipeline.set("MILLRACE__AGGREGATE__LANES", "live,dead_letters,events");
    pipeline.set("MILLRACE__AGGREGATE__EVENTS_FLUSH_INTERVAL", "300ms");
    pipeline.millrace(&["migrate"]).unwrap_or_else(|error| panic!("{error}"));
    pipeline
}

#[test]
fn the_lane_events_holds_every_event_once_although_aggregate_is_killed_again_and_again() {
    let pipeline = pipeline_with_events("trace_rows");
    let mut simulator = simulator(&pipeline, Config { seed: 41, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    for _ in 0..4 {
        send(&pipeline, &mut simulator, 5_000, Some(10_000.0));
        let aggregate = stages.last_mut().unwrap();
        aggregate.kill().unwrap();
        *aggregate = start(&pipeline, "aggregate", "0");
        wait_until_ready(aggregate);
    }
    let counts = simulator.truth().counts.clone();
    wait_for_events(stack().clickhouse_url(), pipeline.name(), counts.sent, |_| ())
        .unwrap_or_else(|error| panic!("{error}"));
    let view = format!("{}.events", pipeline.name());
    let accepted = counts.sent - counts.rejected;
    eventually("every event in the table", PATIENCE, || {
        (number(&format!("SELECT count() FROM {view}")) >= accepted).then_some(())
    });
    devstack::pipeline::stop(&mut stages).unwrap_or_else(|error| panic!("{error}"));

    for (what, expected) in [
        ("count()", accepted),
        ("uniqExact(enriched_partition, enriched_offset, enriched_row)", accepted),
        ("uniqExact(origin_partition, origin_offset, origin_index)", accepted),
        ("countIf(kind = 'duplicate')", counts.duplicates),
    ] {
        assert_eq!(number(&format!("SELECT {what} FROM {view}")), expected, "{what}");
    }
    let ledger = format!("SELECT sum(ledger_events) FROM {view}_local WHERE startsWith(src, '1/')");
    assert_eq!(number(&ledger), accepted, "the ledger of the lane");
}
