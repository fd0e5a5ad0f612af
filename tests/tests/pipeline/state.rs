//! The state of enrich survives kill -9 and a change of the owner: no number of new devices, sessions or duplicates changes.
//! It does not grow without limit: devices that were not seen for long are removed.

use std::{thread, time::Duration};

use devstack::{Process, pipeline::Pipeline};
use enrich::device::{
    Device, DeviceContext, DeviceEvent, active::Definitions, shared::Shared, touch::EventChannels,
};
use event::LedgerCounts as Counts;
use rdkafka::{
    ClientConfig, Message, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};
use simulator::Config;
use system_tests::{
    WAIT, compare::assert_equal_to_truth, eventually, get, http_address, pipeline, send, settle, simulator,
    stack, start, start_stages, topic, wait_until_ready,
};

/// Many of the events are sent twice, soon or much later: lost state changes the numbers.
fn repeated(seed: u64) -> Config {
    Config { seed, duplicates: 0.2, devices: 5_000, ..Config::default() }
}

/// The committed offset and ledger of each partition of a stage's input.
fn ledgers(pipeline: &Pipeline, stage: &str, input: &str) -> Vec<(i64, Counts)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stack().brokers())
        .set("group.id", format!("{}-{stage}", pipeline.name()))
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_range(&topic(pipeline, input), 0, 3);
    let found = consumer.committed_offsets(partitions, WAIT).unwrap();
    let read = |offset: rdkafka::Offset, metadata: &str| match offset {
        rdkafka::Offset::Offset(next) => (next, Counts::parse(metadata).unwrap()),
        _ => (0, Counts::default()),
    };
    found.elements().iter().map(|element| read(element.offset(), element.metadata())).collect()
}

fn total(ledgers: &[(i64, Counts)]) -> Counts {
    let mut total = Counts::default();
    ledgers.iter().for_each(|(_, counts)| total.add(counts));
    total
}

/// Transactions a process has committed since its start.
fn committed(process: &Process) -> u64 {
    let metrics = http_address(process).map(|address| get(&address, "/metrics").1).unwrap_or_default();
    let is_committed = |line: &&str| {
        line.starts_with("millrace_transactions_total{") && line.contains("outcome=\"committed\"")
    };
    let line = metrics.lines().find(is_committed).and_then(|line| line.rsplit_once(' '));
    line.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

/// Whether the process has restored devices at some assignment.
fn restored_something(process: &Process) -> bool {
    let restored = |line: &str| line.contains("state restored") && !line.contains("\"devices\":0,");
    process.log_tail(usize::MAX).lines().any(restored)
}

#[test]
fn kill_9_of_enrich_changes_no_new_device_no_session_and_no_duplicate() {
    let pipeline = pipeline("killed");
    let mut simulator = simulator(&pipeline, repeated(41));
    let mut stages = start_stages(&pipeline);
    for round in 0..3 {
        wait_until_ready(&mut stages[1]);
        thread::scope(|scope| {
            let sender = scope.spawn(|| send(&pipeline, &mut simulator, 12_000, Some(4_000.0)));
            eventually("in the middle", WAIT, || (committed(&stages[1]) > 1).then_some(()));
            stages[1].kill().unwrap();
            stages[1] = start(&pipeline, "enrich", "0");
            if round == 1 {
                // Also in the middle of a restore.
                thread::sleep(Duration::from_millis(700));
                stages[1].kill().unwrap();
                stages[1] = start(&pipeline, "enrich", "0");
            }
            sender.join().unwrap();
        });
    }
    let truth = simulator.truth();
    assert!(truth.counts.duplicates > 3_000, "{:?}", truth.counts);
    let restored = restored_something(&stages[1]);
    settle(&pipeline, &truth, stages);
    assert_equal_to_truth(&pipeline, &truth);
    assert!(restored, "no start of enrich has restored a device");

    let raw = ledgers(&pipeline, "ingest", "raw-events");
    for (next, counts) in &raw {
        assert_eq!(counts.records, *next as u64, "only clients write to raw-events");
    }
    let (raw, clean) = (total(&raw), total(&ledgers(&pipeline, "enrich", "clean-events")));
    assert_eq!((raw.records, raw.events), (truth.counts.records, truth.counts.sent));
    assert_eq!((raw.rejected, raw.emitted), (truth.counts.rejected, clean.events));
    assert_eq!((clean.emitted, clean.duplicates, clean.rejected), (clean.events, truth.counts.duplicates, 0));
}

/// A device with one event, long ago.
pub(crate) fn some_device() -> Device {
    let (direct, mut shared) = (Default::default(), Shared::default());
    let channels = EventChannels { own: None, first: None, fallback: &direct };
    let event = DeviceEvent { session: Some(7), ..DeviceEvent::at(20_000, 1_728_000_000_000, channels) };
    let definitions = &Definitions::default();
    Device::new(&event, &mut DeviceContext { definitions, window_ms: 3_600_000, shared: &mut shared }).0
}

#[test]
fn a_device_that_was_not_seen_for_long_is_removed_from_the_changelog_too() {
    let pipeline = pipeline("forgotten");
    let state = topic(&pipeline, "enrich-state");
    let mut value = Vec::new();
    some_device().encode(&mut value);
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", stack().brokers()).create().unwrap();
    let record = BaseRecord::to(&state).partition(2).key(&[7_u8; 8]).payload(&value);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(WAIT).unwrap();

    let mut simulator = simulator(&pipeline, repeated(44));
    let mut stages = ["ingest", "enrich"].map(|stage| start(&pipeline, stage, "0"));
    stages.iter_mut().for_each(wait_until_ready);
    assert!(restored_something(&stages[1]));
    send(&pipeline, &mut simulator, 2_000, None);
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stack().brokers())
        .set("group.id", "millrace-tests")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&state, 2, rdkafka::Offset::Beginning).unwrap();
    reader.assign(&assignment).unwrap();
    eventually("removed", WAIT, || {
        let message = reader.poll(Duration::from_millis(100))?.unwrap();
        (message.key() == Some(&[7_u8; 8]) && message.payload().is_none()).then_some(())
    });
    devstack::pipeline::stop(&mut stages).unwrap();
}

#[test]
fn when_one_of_two_processes_is_killed_the_other_restores_its_devices() {
    let mut pipeline = pipeline("taken");
    pipeline.set("MILLRACE__KAFKA__SESSION_TIMEOUT", "6s");
    pipeline.set("MILLRACE__KAFKA__TRANSACTION_TIMEOUT", "5s");
    let mut simulator = simulator(&pipeline, repeated(43));
    let mut stages = start_stages(&pipeline);
    let mut other = start(&pipeline, "enrich", "1");
    wait_until_ready(&mut other);
    thread::scope(|scope| {
        let sender = scope.spawn(|| send(&pipeline, &mut simulator, 20_000, Some(5_000.0)));
        eventually("in the middle", WAIT, || {
            (committed(&stages[1]) > 1 && committed(&other) > 1).then_some(())
        });
        stages[1].kill().unwrap();
        sender.join().unwrap();
    });
    stages[1] = other;
    let truth = simulator.truth();
    eventually("taken over", WAIT, || restored_something(&stages[1]).then_some(()));
    settle(&pipeline, &truth, stages);
    assert_equal_to_truth(&pipeline, &truth);
}
