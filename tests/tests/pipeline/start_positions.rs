//! Where groups start: `kafka.start = "latest"` skips what was there before ingest first started, and nothing else.
use std::time::{Duration, Instant};

use devstack::{Totals, pipeline::Pipeline};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewPartitions},
    client::DefaultClientContext,
};
use simulator::{Config, Simulator};
use system_tests::{
    WAIT, eventually, metric, pipeline, send, simulator, stack, start, start_stages, topic, wait_until_ready,
};

/// New partitions are read this soon, on a busy machine. Without a setting it takes up to 5 minutes.
const SOON: Duration = Duration::from_secs(45);

fn add_partitions(pipeline: &Pipeline, count: usize) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", stack().brokers()).create().unwrap();
    let topic = topic(pipeline, "raw-events");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let request = [NewPartitions::new(&topic, count)];
    let answers = runtime.block_on(admin.create_partitions(&request, &AdminOptions::new())).unwrap();
    answers.into_iter().for_each(|answer| _ = answer.unwrap());
}

/// Waits until every event of the simulator is accounted for, and none besides.
fn wait_for(pipeline: &Pipeline, simulator: &Simulator, within: Duration) {
    let sent = simulator.truth().counts.sent;
    let started = Instant::now();
    let mut sum = 0;
    while sum < sent && started.elapsed() < within {
        sum = Totals::read(stack().clickhouse_url(), pipeline.name()).unwrap().sum();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(sum, sent, "after {:?}", started.elapsed());
}

#[test]
fn latest_loses_nothing_of_quiet_and_of_new_partitions() {
    let mut pipeline = pipeline("start_latest");
    pipeline.set("MILLRACE__KAFKA__START", "latest");
    let mut skipped = simulator(&pipeline, Config { seed: 51, ..Config::default() });
    send(&pipeline, &mut skipped, 200, None);
    let mut stages = start_stages(&pipeline);

    // No partition has had a record when ingest restarts.
    let mut simulator = Simulator::new(Config { seed: 52, ..Config::default() });
    stages[0].terminate(WAIT).unwrap();
    send(&pipeline, &mut simulator, 400, None);
    stages[0] = start(&pipeline, "ingest", "0");
    wait_until_ready(&mut stages[0]);
    wait_for(&pipeline, &simulator, WAIT);

    // Partitions are added while ingest runs.
    add_partitions(&pipeline, 6);
    send(&pipeline, &mut simulator, 600, None);
    wait_for(&pipeline, &simulator, SOON);

    // Partitions are added while ingest restarts.
    stages[0].terminate(WAIT).unwrap();
    add_partitions(&pipeline, 9);
    send(&pipeline, &mut simulator, 600, None);
    stages[0] = start(&pipeline, "ingest", "0");
    wait_until_ready(&mut stages[0]);
    wait_for(&pipeline, &simulator, SOON);
    devstack::pipeline::stop(&mut stages).unwrap();
}

#[test]
fn stages_that_start_later_lose_nothing_whatever_kafka_start_says() {
    let mut pipeline = pipeline("start_later");
    pipeline.set("MILLRACE__KAFKA__START", "latest");
    let mut simulator = simulator(&pipeline, Config { seed: 53, ..Config::default() });
    let mut stages = vec![start(&pipeline, "ingest", "0")];
    wait_until_ready(&mut stages[0]);
    send(&pipeline, &mut simulator, 400, None);
    for stage in ["enrich", "aggregate"] {
        let before = &stages[stages.len() - 1];
        eventually("processed", WAIT, || {
            let committed = metric(before, "millrace_transactions_total{").min(1.0);
            (committed > 0.0).then_some(())
        });
        std::thread::sleep(Duration::from_secs(1));
        let mut process = start(&pipeline, stage, "0");
        wait_until_ready(&mut process);
        stages.push(process);
    }
    wait_for(&pipeline, &simulator, WAIT);
    devstack::pipeline::stop(&mut stages).unwrap();
}
