//! What waits and why: behind an open transaction, in a partition that nobody reads, at a batch that cannot be decoded, in a
//! halted partition.
use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewPartitions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::OwnedHeaders,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::{Value, json};

use super::{Pipeline, TIMEOUT, block_on, client, commit, produce};

/// Answers `/status` for a process, as long as the test runs. Returns its address.
fn process(pipeline: &Pipeline, stage: &str, components: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let reply = json!({
        "pipeline": pipeline.name, "stage": stage, "instance": "0", "ready": true, "components": components
    })
    .to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let length = reply.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{reply}"
            );
        }
    });
    address
}

fn problems(report: &Value) -> String {
    report["problems"].to_string()
}

#[test]
fn records_behind_an_open_transaction_are_lag_and_are_named() {
    let pipeline = Pipeline::new("open");
    pipeline.succeed(&["topics", "create"]);
    pipeline.succeed(&["migrate"]);
    let raw = pipeline.topic("raw-events");
    produce((0..3).map(|_| (raw.clone(), 0, b"d".as_slice(), b"{}".to_vec(), OwnedHeaders::new())));
    commit(&pipeline, &raw, 0, 3);
    let producer: BaseProducer = client().set("transactional.id", "a-client").create().unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    producer.begin_transaction().unwrap();
    for _ in 0..500 {
        producer.send(BaseRecord::<(), str>::to(&raw).partition(0).payload("{}")).unwrap();
    }
    producer.flush(TIMEOUT).unwrap();

    let (_, status) = pipeline.report(&["status"]);
    let ingest = &status["stages"][0];
    assert_eq!((&ingest["lag"], &ingest["behind_open_transactions"]), (&500.into(), &500.into()), "{status}");
    assert!(ingest["partitions"][0]["open_for_ms"].is_u64(), "{status}");
    let (code, report) = pipeline.report(&["reconcile"]);
    assert_eq!((code, &report["difference"]), (0, &0.into()), "{report}");
    assert_eq!(report["waiting"][0]["behind_open_transactions"], 500, "{report}");
    let text = pipeline.succeed(&["reconcile"]);
    assert!(text.contains("500 records of") && text.contains("behind an open transaction"), "{text}");

    producer.commit_transaction(TIMEOUT).unwrap();
    let (_, status) = pipeline.report(&["status"]);
    let ingest = &status["stages"][0];
    assert_eq!((&ingest["lag"], &ingest["behind_open_transactions"]), (&500.into(), &0.into()), "{status}");
}

#[test]
fn a_partition_that_no_member_reads_is_a_problem() {
    let pipeline = Pipeline::new("unread");
    pipeline.succeed(&["topics", "create"]);
    let raw = pipeline.topic("raw-events");
    // A member that looks for new partitions every five minutes.
    let group = format!("{}-ingest", pipeline.name);
    let member: BaseConsumer = client().set("group.id", &group).create().unwrap();
    member.subscribe(&[&raw]).unwrap();
    while member.assignment().unwrap().count() < 2 {
        member.poll(std::time::Duration::from_millis(100));
    }
    let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
    let more = NewPartitions::new(&raw, 4);
    block_on(admin.create_partitions([&more], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    produce((0..7).map(|_| (raw.clone(), 3, b"d".as_slice(), b"{}".to_vec(), OwnedHeaders::new())));

    let (code, status) = pipeline.report(&["status"]);
    let expected = format!("{raw} partitions 2, 3: no member of {group} reads it, 7 records wait");
    assert!(code == 1 && problems(&status).contains(&expected), "{status}");
    assert_eq!(status["stages"][0]["lag"], 7, "{status}");
    assert!(
        problems(&status).contains("partitions 0, 1 of ingest: its process is not in http.processes"),
        "{status}"
    );
}

#[test]
fn halted_partitions_are_listed_and_a_process_that_does_not_reply_is_a_problem() {
    let pipeline = Pipeline::new("halted");
    pipeline.succeed(&["topics", "create"]);
    let reason = "clickhouse: the table live_local is missing";
    let components = json!({
        "live-0": {"details": {"partitions": [0, 1], "halted": {"1": reason}}},
        "report-0": {"degraded": {"clickhouse_unreachable": {"cause": "timeout", "for_seconds": 9}}, "details": {}},
    });
    let addresses = format!("{},127.0.0.1:1", process(&pipeline, "aggregate", components));
    let mut command = pipeline.command(&["status", "--json"]);
    let output = command.env("MILLRACE__HTTP__PROCESSES", &addresses).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        problems(&status).contains(&format!("aggregate-live partition 1 is halted: {reason}")),
        "{status}"
    );
    assert!(problems(&status).contains("no status of the process at 127.0.0.1:1"), "{status}");
    let degraded = "aggregate report-0 is degraded (clickhouse_unreachable) for 9 s: timeout";
    assert!(status["notes"].to_string().contains(degraded), "{status}");
    let output = pipeline.command(&["status"]).env("MILLRACE__HTTP__PROCESSES", &addresses).output().unwrap();
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("problem: aggregate-live partition 1 is halted")
    );
}

/// 150 MiB of one letter are 7 KB as zstd, and more than a client decompresses.
#[test]
fn a_batch_that_cannot_be_decoded_does_not_stop_any_command() {
    let pipeline = Pipeline::new("undecodable");
    pipeline.succeed(&["topics", "create"]);
    pipeline.succeed(&["migrate"]);
    let raw = pipeline.topic("raw-events");
    let record =
        |text: &str| (raw.clone(), 0, b"d".as_slice(), text.as_bytes().to_vec(), OwnedHeaders::new());
    produce([record("1"), record("2")]);
    let bomb: BaseProducer = client()
        .set("compression.codec", "zstd")
        .set("linger.ms", "60000")
        .set("batch.size", "900000000")
        .set("message.max.bytes", "900000000")
        .set("queue.buffering.max.kbytes", "2000000")
        .create()
        .unwrap();
    let megabyte = vec![b'a'; 1024 * 1024];
    for _ in 0..150 {
        bomb.send(BaseRecord::<(), _>::to(&raw).partition(0).payload(&megabyte)).map_err(|(e, _)| e).unwrap();
    }
    bomb.flush(TIMEOUT).unwrap();
    produce([record("3")]);

    let values: Vec<Value> = pipeline.cat(&["raw-events"]).iter().map(|line| line["value"].clone()).collect();
    assert_eq!(values, [1, 2, 3].map(Value::from));
    let (_, status) = pipeline.report(&["status"]);
    let ingest = &status["stages"][0];
    assert_eq!(ingest["lag"], 153, "{status}");
    assert_eq!(ingest["partitions"][0]["undecodable"], json!([[2, 151]]), "{status}");
    assert!(
        status["notes"].to_string().contains("the batch with offsets 2 to 151 cannot be decoded"),
        "{status}"
    );
    let (code, report) = pipeline.report(&["reconcile"]);
    assert_eq!((code, &report["waiting"][0]["lag"]), (0, &153.into()), "{report}");
}

#[test]
fn foreign_messages_between_the_stages_do_not_stop_reconcile() {
    let pipeline = Pipeline::new("foreign");
    pipeline.succeed(&["topics", "create"]);
    pipeline.succeed(&["migrate"]);
    let record = |topic: &str, value: &[u8]| {
        (pipeline.topic(topic), 0, b"d".as_slice(), value.to_vec(), OwnedHeaders::new())
    };
    produce(["clean-events", "enriched-events", "dead-letters"].map(|topic| record(topic, b"not a batch")));
    produce([record("clean-events", b"")]);
    let (code, report) = pipeline.report(&["reconcile"]);
    assert_eq!(
        (code, &report["difference"], &report["in_flight"]["most"]),
        (0, &0.into(), &0.into()),
        "{report}"
    );
}
