//! Aggregate recovers without changing a number: restarted with other cubes, with lost replies, cut off from ClickHouse,
//! with records removed by retention. A partition that cannot continue halts with an error, and the others continue.

use std::{thread, time::Duration};

use devstack::{Process, Totals, pipeline::Pipeline, query};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};
use simulator::{Config, Truth};
use system_tests::{
    WAIT,
    compare::assert_equal_to_truth,
    eventually, get, http_address, metric, pipeline,
    proxy::{Proxy, RequestFault},
    send, settle, simulator, stack, start, start_stages, topic, wait_until_ready,
};

fn start_with(pipeline: &Pipeline, variables: &[(&str, &str)]) -> Process {
    pipeline.start("aggregate", "0", &[], variables).unwrap()
}

fn answer(sql: &str) -> String {
    query(stack().clickhouse_url(), sql).unwrap().trim().to_owned()
}

/// The ledger of each lane's table has the same totals as its rows.
fn assert_ledger(pipeline: &Pipeline) {
    let name = pipeline.name();
    let totals = Totals::read(stack().clickhouse_url(), name).unwrap();
    let ledger = |table: &str, column: &str| -> u64 {
        let sql = format!("SELECT sum({column}) FROM {name}.{table} WHERE src LIKE '1/%'");
        answer(&sql).parse().unwrap()
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
fn other_cubes_after_a_kill_change_no_number() {
    let pipeline = pipeline("other_cubes");
    let mut simulator = simulator(&pipeline, Config { seed: 42, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cubes.toml");
    for (nth, failpoint) in ["after:insert@2", "before:insert@2"].into_iter().enumerate() {
        stages[2].terminate(WAIT).unwrap();
        // The failpoint must be in lane live: other cubes do not change dead letters.
        let live_only = ("MILLRACE__AGGREGATE__LANES", "live");
        stages[2] = start_with(&pipeline, &[("MILLRACE_FAILPOINT", failpoint), live_only]);
        while stages[2].exit_status().unwrap().is_none() {
            send(&pipeline, &mut simulator, 500, None);
            thread::sleep(Duration::from_millis(100));
        }
        // The same columns, other rows.
        let days = format!("live = {}", 100 + nth);
        std::fs::write(&file, aggregate::cube::BUILT_IN.replace("live = 90", &days)).unwrap();
        let cubes = ("MILLRACE__AGGREGATE__CUBES_FILE", file.to_str().unwrap());
        stages[2] = start_with(&pipeline, &[cubes, ("MILLRACE__AGGREGATE__LONGEST_INSERT", "3s")]);
        wait_until_ready(&mut stages[2]);
        eventually("recovered", WAIT, || {
            let log = stages[2].log_tail(usize::MAX);
            (log.matches("builds other rows").count() > nth && log.matches("\"recovered\"").count() > nth)
                .then_some(())
        });
    }
    settle_and_compare(&pipeline, &simulator.truth(), stages);
}

#[test]
fn a_partition_whose_records_were_removed_halts_and_the_others_continue() {
    let pipeline = pipeline("records_gone");
    let mut simulator = simulator(&pipeline, Config { seed: 43, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    send(&pipeline, &mut simulator, 5_000, None);
    let sent = simulator.truth().counts.sent;
    eventually("counted", WAIT, || {
        let totals = Totals::read(stack().clickhouse_url(), pipeline.name()).ok()?;
        (totals.sum() >= sent).then_some(())
    });
    stages[2].terminate(WAIT).unwrap();
    let before = Totals::read(stack().clickhouse_url(), pipeline.name()).unwrap();
    let end = end_of(&pipeline, "enriched-events", 0);
    send(&pipeline, &mut simulator, 5_000, None);
    eventually("enriched", WAIT, || (end_of(&pipeline, "enriched-events", 0) > end + 1).then_some(()));
    delete_records(&pipeline, "enriched-events", 0);
    stages[2] = start(&pipeline, "aggregate", "0");
    wait_until_ready(&mut stages[2]);
    let address = http_address(&stages[2]).unwrap();
    eventually("halted", WAIT, || {
        let metric = "millrace_aggregate_partition_halted{lane=\"live\",partition=\"0\"} 1";
        get(&address, "/metrics").1.contains(metric).then_some(())
    });
    let status = get(&address, "/status").1;
    assert!(status.contains("records were removed before they were counted"), "{status}");
    assert!(stages[2].log_tail(usize::MAX).contains("partition halted"));
    // The other partitions continue, and the process is ready.
    eventually("more counted", WAIT, || {
        let totals = Totals::read(stack().clickhouse_url(), pipeline.name()).ok()?;
        (totals.sum() > before.sum() + 1_000).then_some(())
    });
    assert_eq!((get(&address, "/readyz").0, get(&address, "/livez").0), (200, 200));
    devstack::pipeline::stop(&mut stages).unwrap();
}

#[test]
fn lost_replies_and_a_stop_without_clickhouse_change_no_number() {
    let mut pipeline = pipeline("cut_off");
    let proxy = Proxy::start(stack().clickhouse_url()).unwrap();
    pipeline.set("MILLRACE__CLICKHOUSE__URL", &proxy.url());
    let mut simulator = simulator(&pipeline, Config { seed: 44, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    for _ in 0..6 {
        proxy.order_for_any_request(0, RequestFault::LostReply, 3);
        send(&pipeline, &mut simulator, 2_000, None);
        eventually("lost", WAIT, || (proxy.pending() == 0).then_some(()));
    }
    eventually("markers found", WAIT, || {
        (metric(&stages[2], "millrace_aggregate_markers_found_total") > 0.0).then_some(())
    });
    proxy.cut_off(true);
    send(&pipeline, &mut simulator, 5_000, None);
    eventually("retrying", WAIT, || {
        stages[2].log_tail(usize::MAX).contains("retrying until clickhouse accepts it").then_some(())
    });
    thread::sleep(Duration::from_secs(2));
    let status = stages[2].terminate(WAIT).unwrap();
    assert!(status.success(), "{}", stages[2].log_tail(5));
    assert!(stages[2].log_tail(usize::MAX).contains("the rest is written at the next start"));
    proxy.cut_off(false);
    stages[2] = start(&pipeline, "aggregate", "0");
    settle_and_compare(&pipeline, &simulator.truth(), stages);
}

#[test]
fn a_query_at_the_start_is_retried_when_its_reply_is_lost() {
    let mut pipeline = pipeline("lost_at_start");
    let proxy = Proxy::start(stack().clickhouse_url()).unwrap();
    pipeline.set("MILLRACE__CLICKHOUSE__URL", &proxy.url());
    // Version, table, columns, settings, two inserts and their sum, for the first of two lanes.
    for replies_before in 0..8 {
        proxy.order_for_any_request(replies_before, RequestFault::LostReply, 1);
        let mut process = start(&pipeline, "aggregate", "0");
        wait_until_ready(&mut process);
        assert_eq!(proxy.pending(), 0, "no reply was lost");
        process.terminate(WAIT).unwrap();
    }
}

/// The next offset of a partition.
fn end_of(pipeline: &Pipeline, name: &str, partition: i32) -> i64 {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", stack().brokers()).create().unwrap();
    consumer.fetch_watermarks(&topic(pipeline, name), partition, WAIT).unwrap().1
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
