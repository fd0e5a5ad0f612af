//! What waits is visible, whoever holds it up: the lag, `millrace status` and `millrace reconcile` count to the high watermark
//! of every partition.

use std::time::Duration;

use devstack::{Process, Totals, pipeline::Pipeline};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewPartitions},
    client::DefaultClientContext,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::Value;
use simulator::Config;
use system_tests::{
    WAIT, eventually, http_address, metric, pipeline, send, simulator, stack, start_stages, topic,
};

/// The report of a command, and whether it exited with 0.
fn report(pipeline: &Pipeline, command: &str) -> (bool, Value) {
    let (success, text) = match pipeline.millrace(&[command, "--json"]) {
        Ok(printed) => (true, printed),
        Err(error) => (false, error.to_string()),
    };
    let report = text.lines().find_map(|line| serde_json::from_str(&line[line.find('{')?..]).ok());
    (success, report.unwrap_or_else(|| panic!("no report in {text}")))
}

/// `millrace status` asks these processes.
fn name_processes(pipeline: &mut Pipeline, stages: &[Process]) {
    let addresses: Vec<String> = stages.iter().filter_map(http_address).collect();
    pipeline.set("MILLRACE__HTTP__PROCESSES", &addresses.join(","));
}

fn client() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stack().brokers());
    config
}

fn accounted_for(pipeline: &Pipeline) -> u64 {
    Totals::read(stack().clickhouse_url(), pipeline.name()).unwrap().sum()
}

/// 500 events waited with lag 0.
#[test]
fn records_behind_the_open_transaction_of_a_client_are_visible_everywhere() {
    let mut pipeline = pipeline("open_transaction");
    let mut simulator = simulator(&pipeline, Config { seed: 51, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    name_processes(&mut pipeline, &stages);
    send(&pipeline, &mut simulator, 1_000, None);
    let sent = simulator.truth().counts.sent;
    eventually("all stored", WAIT, || (accounted_for(&pipeline) == sent).then_some(()));
    let (success, status) = report(&pipeline, "status");
    assert!(success, "{status:#}");

    let raw = topic(&pipeline, "raw-events");
    let producer: BaseProducer = client().set("transactional.id", pipeline.name()).create().unwrap();
    producer.init_transactions(WAIT).unwrap();
    producer.begin_transaction().unwrap();
    for _ in 0..500 {
        producer.send(BaseRecord::<(), str>::to(&raw).partition(2).payload("{}")).unwrap();
    }
    producer.flush(WAIT).unwrap();
    let (success, status) = report(&pipeline, "status");
    let ingest = &status["stages"][0];
    assert_eq!(
        (&ingest["lag"], &ingest["behind_open_transactions"]),
        (&500.into(), &500.into()),
        "{status:#}"
    );
    assert!(success, "an open transaction alone is no problem: {status:#}");
    let (success, reconciled) = report(&pipeline, "reconcile");
    assert!(success && reconciled["waiting"][0]["behind_open_transactions"] == 500, "{reconciled:#}");
    eventually("lag in the metrics", WAIT, || {
        let lag = metric(&stages[0], "millrace_consumer_lag_records");
        let open = metric(&stages[0], "millrace_open_transaction_seconds");
        (lag >= 500.0 && open > 4.0).then_some(())
    });
    let (_, status) = report(&pipeline, "status");
    let expected = format!("{raw} partition 2: 500 records wait behind a transaction that is open for");
    assert!(status["notes"].to_string().contains(&expected), "{status:#}");
    assert_eq!(accounted_for(&pipeline), sent, "no reader sees them");

    producer.commit_transaction(WAIT).unwrap();
    eventually("500 dead letters more", WAIT, || (accounted_for(&pipeline) == sent + 500).then_some(()));
    let (success, reconciled) = report(&pipeline, "reconcile");
    assert!(success && reconciled["waiting"][0]["lag"] == 0, "{reconciled:#}");
    eventually("no open transaction", WAIT, || {
        (metric(&stages[0], "millrace_open_transaction_seconds") == 0.0).then_some(())
    });
    devstack::pipeline::stop(&mut stages).unwrap();
}

#[test]
fn partitions_that_are_added_are_read_and_status_has_nothing_to_say() {
    let mut pipeline = pipeline("added_partitions");
    let mut stages = start_stages(&pipeline);
    name_processes(&mut pipeline, &stages);
    let raw = topic(&pipeline, "raw-events");
    let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
    let more = NewPartitions::new(&raw, 6);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(admin.create_partitions([&more], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    let producer: BaseProducer = client().create().unwrap();
    for _ in 0..7 {
        producer.send(BaseRecord::<(), str>::to(&raw).partition(5).payload("{}")).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
    eventually("read", WAIT, || (accounted_for(&pipeline) == 7).then_some(()));
    let (success, status) = report(&pipeline, "status");
    assert!(success && status["stages"][0]["lag"] == 0, "{status:#}");
    pipeline.millrace(&["topics", "check"]).unwrap();
    devstack::pipeline::stop(&mut stages).unwrap();
}
