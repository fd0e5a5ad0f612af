//! What enrich remembers of devices survives kill -9, another owner and an open transaction: not one new device, session
//! or duplicate is counted differently.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

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
    compare::assert_equal_to_truth, eventually, get, http_address, pipeline, send, settle, simulator, stack,
    start, start_stages, topic, wait_until_ready,
};

/// Many of the events come twice, soon or much later: what is forgotten shows.
fn repeated(seed: u64) -> Config {
    Config { seed, duplicates: 0.2, devices: 5_000, ..Config::default() }
}

/// What the group of a stage has committed for each partition of its input.
fn ledgers(pipeline: &Pipeline, stage: &str, input: &str) -> Vec<(i64, Counts)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stack().brokers())
        .set("group.id", format!("{}-{stage}", pipeline.name()))
        .create()
        .unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range(&topic(pipeline, input), 0, 3);
    let found = consumer.committed_offsets(asked, Duration::from_secs(10)).unwrap();
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
    let of_ours = |line: &&str| {
        line.starts_with("millrace_transactions_total{") && line.contains("outcome=\"committed\"")
    };
    let line = metrics.lines().find(of_ours).and_then(|line| line.rsplit_once(' '));
    line.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

/// Whether the process has found state to restore at some assignment.
fn restored_something(process: &Process) -> bool {
    let restored = |line: &str| line.contains("state restored") && !line.contains("\"devices\":0,");
    process.log_tail(usize::MAX).lines().any(restored)
}

/// Ends a process at its `hit`-th arrival at a step, as kill -9 would, and starts it again under its name.
fn start_and_crash(pipeline: &Pipeline, failpoint: &str) -> Process {
    pipeline.start("enrich", "0", &[], &[("MILLRACE_FAILPOINT", failpoint)]).unwrap()
}

#[test]
fn kill_9_of_enrich_in_the_middle_changes_no_new_device_no_session_and_no_duplicate() {
    let pipeline = pipeline("killed");
    let mut simulator = simulator(&pipeline, repeated(41));
    let mut stages = start_stages(&pipeline);
    for round in 0..3 {
        wait_until_ready(&mut stages[1]);
        thread::scope(|scope| {
            let sender = scope.spawn(|| send(&pipeline, &mut simulator, 12_000, Some(4_000.0)));
            eventually("in the middle", Duration::from_secs(30), || {
                (committed(&stages[1]) > 1).then_some(())
            });
            stages[1].kill().unwrap();
            stages[1] = start(&pipeline, "enrich", "0");
            if round == 1 {
                // Also in the middle of reading its state back.
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
    assert!(restored, "nothing was tested: no start of enrich found any state");

    let raw = ledgers(&pipeline, "ingest", "raw-events");
    for (next, counts) in &raw {
        assert_eq!(counts.records, *next as u64, "nobody but clients writes to raw-events");
    }
    let (raw, clean) = (total(&raw), total(&ledgers(&pipeline, "enrich", "clean-events")));
    assert_eq!((raw.records, raw.events), (truth.counts.records, truth.counts.sent));
    assert_eq!((raw.rejected, raw.emitted), (truth.counts.rejected, clean.events));
    assert_eq!((clean.emitted, clean.duplicates, clean.rejected), (clean.events, truth.counts.duplicates, 0));
}

#[test]
fn a_crash_at_any_step_of_a_transaction_or_a_restore_changes_no_number() {
    let pipeline = pipeline("crashed");
    let mut simulator = simulator(&pipeline, repeated(42));
    let mut stages = start_stages(&pipeline);
    for failpoint in [
        "before:restore_state",
        "before:begin_transaction",
        "after:process",
        "after:send_offsets",
        "before:commit_transaction",
        "after:commit_transaction",
        "after:apply_state",
    ] {
        stages[1].kill().unwrap();
        stages[1] = start_and_crash(&pipeline, failpoint);
        send(&pipeline, &mut simulator, 3_000, Some(6_000.0));
        let died = |process: &mut Process| process.exit_status().unwrap();
        eventually(failpoint, Duration::from_secs(30), || died(&mut stages[1]));
        stages[1] = start(&pipeline, "enrich", "0");
    }
    let truth = simulator.truth();
    let restored = restored_something(&stages[1]);
    settle(&pipeline, &truth, stages);
    assert_equal_to_truth(&pipeline, &truth);
    assert!(restored, "nothing was tested: no start of enrich found any state");
}

#[test]
fn an_open_transaction_of_an_earlier_owner_is_waited_for_and_what_it_wrote_counts() {
    let pipeline = pipeline("open");
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", stack().brokers())
        .set("transactional.id", format!("{}-earlier-owner", pipeline.name()))
        .set("transaction.timeout.ms", "60000")
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    let state = topic(&pipeline, "enrich-state");
    let (direct, mut value) = (Default::default(), Vec::new());
    let channels = EventChannels { own: None, first: None, fallback: &direct };
    let mut context = DeviceContext {
        definitions: &Definitions::default(),
        window_ms: 3_600_000,
        shared: &mut Shared::default(),
    };
    let event = DeviceEvent { session: Some(7), ..DeviceEvent::at(20_000, 1_728_000_000_000, channels) };
    Device::new(&event, &mut context).0.encode(&mut value);
    let record = BaseRecord::to(&state).partition(2).key(&[7_u8; 8]).payload(&value);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();

    let mut process = start(&pipeline, "enrich", "0");
    let status = |process: &Process| http_address(process).map(|address| get(&address, "/status").1);
    let waiting = "waiting until open transactions of the earlier owner are decided";
    eventually("waiting", Duration::from_secs(30), || {
        status(&process).filter(|status| status.contains(waiting))
    });
    thread::sleep(Duration::from_secs(1));
    let address = http_address(&process).unwrap();
    assert_eq!(get(&address, "/readyz").0, 503, "{}", process.log_tail(5));
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
    wait_until_ready(&mut process);
    let restored: serde_json::Value = serde_json::from_str(&get(&address, "/status").1).unwrap();
    assert!(restored.to_string().contains("\"devices\":1"), "{restored}");

    // It was last seen years ago: the first event of its partition lets it be forgotten, in the changelog too.
    let mut simulator = simulator(&pipeline, repeated(44));
    let mut ingest = start(&pipeline, "ingest", "0");
    wait_until_ready(&mut ingest);
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
    eventually("forgotten", Duration::from_secs(30), || {
        let message = reader.poll(Duration::from_millis(100))?.unwrap();
        (message.key() == Some(&[7_u8; 8]) && message.payload().is_none()).then_some(())
    });
    process.terminate(Duration::from_secs(30)).unwrap();
}

#[test]
fn when_one_of_two_processes_is_killed_the_other_takes_over_all_it_knew() {
    let mut pipeline = pipeline("taken");
    pipeline.set("MILLRACE__KAFKA__SESSION_TIMEOUT", "6s");
    pipeline.set("MILLRACE__KAFKA__TRANSACTION_TIMEOUT", "5s");
    let mut simulator = simulator(&pipeline, repeated(43));
    let mut stages = start_stages(&pipeline);
    let mut other = start(&pipeline, "enrich", "1");
    wait_until_ready(&mut other);
    thread::scope(|scope| {
        let sender = scope.spawn(|| send(&pipeline, &mut simulator, 20_000, Some(5_000.0)));
        eventually("in the middle", Duration::from_secs(30), || {
            (committed(&stages[1]) > 1 && committed(&other) > 1).then_some(())
        });
        stages[1].kill().unwrap();
        sender.join().unwrap();
    });
    stages[1] = other;
    let truth = simulator.truth();
    eventually("taken over", Duration::from_secs(60), || restored_something(&stages[1]).then_some(()));
    settle(&pipeline, &truth, stages);
    assert_equal_to_truth(&pipeline, &truth);
}
