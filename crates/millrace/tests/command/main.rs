//! The command on real Kafka and ClickHouse, as an operator runs it; every test has its own topics and database.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail like tests")]

mod waiting;

use std::{
    process::{Command, Output, Stdio},
    sync::OnceLock,
    time::Duration,
};

use devstack::{Stack, StackOptions};
use event::{BatchBuilder, Field};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);

/// One Kafka and one ClickHouse for all tests of this binary. Both stop with it.
fn stack() -> &'static Stack {
    static STACK: OnceLock<Stack> = OnceLock::new();
    STACK.get_or_init(|| Stack::start(StackOptions::default()).unwrap())
}

/// A pipeline with names that no other test uses.
struct Pipeline {
    name: String,
}

impl Pipeline {
    fn new(test: &str) -> Self {
        // Servers given by the environment keep the topics and databases of earlier runs.
        Self { name: format!("{test}-{}", std::process::id()) }
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command
            .args(line)
            .env("MILLRACE__PIPELINE", &self.name)
            .env("MILLRACE__KAFKA__BROKERS", stack().brokers())
            .env("MILLRACE__KAFKA__TOPIC_PREFIX", self.prefix())
            .env("MILLRACE__KAFKA__PARTITIONS", "2")
            .env("MILLRACE__CLICKHOUSE__URL", stack().clickhouse_url())
            .env("MILLRACE__CLICKHOUSE__DATABASE", &self.name)
            // No other process may answer.
            .env("MILLRACE__HTTP__PROCESSES", "127.0.0.1:1")
            .env("MILLRACE__STARTUP_TIMEOUT", "20s");
        command
    }

    fn run(&self, line: &[&str]) -> Output {
        self.command(line).output().unwrap()
    }

    fn succeed(&self, line: &[&str]) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs with --json and parses stdout.
    fn json(&self, line: &[&str]) -> Value {
        let stdout = self.succeed(&[line, &["--json"]].concat());
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{line:?}: {error}: {stdout}"))
    }

    /// The report of a command that may exit with 1, and its exit code.
    fn report(&self, line: &[&str]) -> (i32, Value) {
        let output = self.run(&[line, &["--json"]].concat());
        let report =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (output.status.code().unwrap(), report)
    }

    fn cat(&self, line: &[&str]) -> Vec<Value> {
        let stdout = self.succeed(&[&["cat"], line].concat());
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn prefix(&self) -> String {
        format!("{}.", self.name)
    }

    fn topic(&self, topic: &str) -> String {
        self.prefix() + topic
    }
}

fn client() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stack().brokers());
    config
}

fn produce(records: impl IntoIterator<Item = (String, i32, &'static [u8], Vec<u8>, OwnedHeaders)>) {
    let producer: BaseProducer = client().create().unwrap();
    for (topic, partition, key, value, headers) in records {
        let record = BaseRecord::to(&topic).partition(partition).key(key).payload(&value).headers(headers);
        producer.send(record).unwrap();
    }
    producer.flush(TIMEOUT).unwrap();
    assert_eq!(producer.in_flight_count(), 0);
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn topics_are_created_once_and_a_wrong_setting_is_reported() {
    let pipeline = Pipeline::new("topics");
    let output = pipeline.run(&["topics", "check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("raw-events does not exist"), "{output:?}");

    let first = pipeline.json(&["topics", "create"]);
    assert_eq!(first.as_array().unwrap().len(), 6);
    assert!(first.as_array().unwrap().iter().all(|topic| topic["created"] == true), "{first}");
    let again = pipeline.json(&["topics", "create"]);
    assert!(again.as_array().unwrap().iter().all(|topic| topic["created"] == false), "{again}");
    assert!(pipeline.succeed(&["topics", "check"]).contains("all topics are correct"));

    let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
    let raw = pipeline.topic("raw-events");
    let wrong = AlterConfig::new(ResourceSpecifier::Topic(&raw)).set("message.timestamp.type", "CreateTime");
    block_on(admin.alter_configs([&wrong], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    let output = pipeline.run(&["topics", "check", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{report}");
    assert_eq!(problems[0]["topic"], raw);
    assert!(
        problems[0]["remedy"].as_str().unwrap().contains("message.timestamp.type=LogAppendTime"),
        "{report}"
    );
    let tolerant = pipeline
        .command(&["topics", "check"])
        .env("MILLRACE__KAFKA__ALLOW_CREATE_TIME", "true")
        .output()
        .unwrap();
    assert!(tolerant.status.success(), "{tolerant:?}");
}

#[test]
fn an_activity_is_registered_and_listed() {
    let pipeline = Pipeline::new("activities");
    pipeline.succeed(&["topics", "create"]);
    // The history is in ClickHouse.
    pipeline.succeed(&["migrate"]);
    assert_eq!(pipeline.json(&["activity", "list"]), Value::Array(Vec::new()));
    let line = "activity create --name 夏日抽奖 --type template --app web-main --event visit=Visit --event draw \
                --starts 2026-03-01T00:00:00+08:00 --owner growth";
    let issued = pipeline.json(&line.split_whitespace().collect::<Vec<_>>());
    let id = issued["activity_id"].as_str().unwrap();
    pipeline.succeed(&["activity", "create", "--name", "Second", "--id", "second"]);

    let list = pipeline.json(&["activity", "list"]);
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
    let entry = list.as_array().unwrap().iter().find(|entry| entry["activity_id"] == id).unwrap();
    assert_eq!(entry, &issued);
    for (field, value) in [
        ("name", "夏日抽奖"),
        ("type", "template"),
        ("starts_at", "2026-02-28T16:00:00Z"),
        ("owner", "growth"),
    ] {
        assert_eq!(entry[field], value);
    }
    let table = pipeline.succeed(&["activity", "list"]);
    assert!(table.contains("夏日抽奖") && table.contains("second"), "{table}");
    let record = &pipeline.cat(&["activities"])[0];
    assert_eq!((&record["_key"], &record["value"]), (&issued["activity_id"], &issued));

    let taken = pipeline.run(&["activity", "create", "--name", "Third", "--id", "second"]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(stderr(&taken).contains("activity second already exists"), "{taken:?}");
    let wrong = pipeline.run(&["activity", "create", "--name", "Fourth", "--id", "a_b"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("activity_id = \"a_b\""), "{wrong:?}");
}

#[test]
fn cat_prints_what_was_produced() {
    let pipeline = Pipeline::new("cat");
    pipeline.succeed(&["topics", "create"]);
    let mut batch = BatchBuilder::default();
    for (name, app_id) in [("login", "web-main"), ("share", "app-main")] {
        batch.text(Field::EventName, name);
        batch.text(Field::AppId, app_id);
        batch.end_row();
    }
    let headers = OwnedHeaders::new().insert(Header { key: "code", value: Some("not_utf8") });
    let plain = OwnedHeaders::new;
    produce([
        (pipeline.topic("raw-events"), 0, b"d1".as_slice(), b"{\"a\":\n1}".to_vec(), plain()),
        (pipeline.topic("raw-events"), 1, b"d2", b"not json".to_vec(), plain()),
        (pipeline.topic("raw-events"), 1, b"d2", b"[1,2]".to_vec(), plain()),
        (pipeline.topic("dead-letters"), 1, b"d1", b"\xff".to_vec(), headers),
        (pipeline.topic("clean-events"), 1, b"", batch.finish(), plain()),
        (pipeline.topic("clean-events"), 0, b"", b"damaged".to_vec(), plain()),
    ]);

    let events = pipeline.cat(&["clean-events", "--partition", "1"]);
    assert_eq!(events.len(), 2);
    assert_eq!((&events[1]["event_name"], &events[1]["app_id"]), (&"share".into(), &"app-main".into()));
    assert_eq!((&events[1]["_partition"], &events[1]["_offset"]), (&1.into(), &0.into()));
    assert_eq!(events[1]["_row"], 1);
    assert!(
        pipeline.cat(&["clean-events", "-p", "0"])[0]["_problem"].as_str().unwrap().contains("EventBatch")
    );

    let raw = pipeline.cat(&["raw-events", "--partition", "1"]);
    assert_eq!(
        raw.iter().map(|record| &record["value"]).collect::<Vec<_>>(),
        [&Value::from("not json"), &serde_json::json!([1, 2])]
    );
    assert_eq!(pipeline.cat(&["raw-events"]).len(), 3);
    assert_eq!(pipeline.cat(&[&pipeline.topic("raw-events"), "--limit", "1"]).len(), 1);
    assert_eq!(pipeline.cat(&["raw-events", "--partition", "1", "--from", "1"])[0]["_offset"], 1);
    let dead_letter = &pipeline.cat(&["dead-letters"])[0];
    assert_eq!(
        (&dead_letter["_headers"]["code"], &dead_letter["value_base64"]),
        (&"not_utf8".into(), &"/w==".into())
    );
    assert_eq!(pipeline.cat(&["enriched-events"]).len(), 0);

    let missing = pipeline.run(&["cat", "orders"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("topic orders does not exist"), "{missing:?}");
    assert_eq!(pipeline.run(&["cat", "raw-events", "--partition", "9"]).status.code(), Some(2));
}

#[test]
fn cat_skips_aborted_records_and_exits_with_0_when_its_pipe_is_closed() {
    let pipeline = Pipeline::new("pipe");
    pipeline.succeed(&["topics", "create"]);
    let producer: BaseProducer = client().set("transactional.id", &pipeline.name).create().unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    let topic = pipeline.topic("raw-events");
    for (text, commit) in [("aborted", false), ("committed", true)] {
        producer.begin_transaction().unwrap();
        for _ in 0..2_000 {
            producer.send(BaseRecord::<(), str>::to(&topic).partition(0).payload(text)).unwrap();
        }
        if commit {
            producer.commit_transaction(TIMEOUT).unwrap();
        } else {
            producer.flush(TIMEOUT).unwrap();
            producer.abort_transaction(TIMEOUT).unwrap();
        }
    }
    let records = pipeline.cat(&["raw-events"]);
    assert_eq!(records.len(), 2_000);
    assert!(records.iter().all(|record| record["value"] == "committed"));

    let mut child = pipeline
        .command(&["cat", "raw-events", "-f"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1];
    let read = std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first);
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(read.is_ok(), "{output:?}");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn simulate_sends_the_events_that_it_reports() {
    let pipeline = Pipeline::new("simulate");
    pipeline.succeed(&["topics", "create"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("truth.json");
    let truth_file = file.to_str().unwrap();
    let line = ["simulate", "--rate", "max", "--total", "3000", "--seed", "5", "--truth", truth_file];
    let summary = pipeline.json(&line);
    let truth: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((&truth["sent"], &truth["rejected"]), (&summary["sent"], &summary["rejected"]));
    assert!(!truth["traffic"].as_array().unwrap().is_empty());
    assert_eq!(pipeline.cat(&["raw-events"]).len() as u64, summary["records"].as_u64().unwrap());
    assert!(!pipeline.json(&["activity", "list"]).as_array().unwrap().is_empty());
    let table = pipeline.succeed(&["simulate", "--rate", "max", "--total", "100", "--no-activities"]);
    assert!(table.contains("accepted") && table.contains("events/s"), "{table}");
}

#[test]
fn status_shows_lag_and_what_is_stored() {
    let pipeline = Pipeline::new("status");
    let (_, before) = pipeline.report(&["status"]);
    assert!(
        before["topics"].as_array().unwrap().iter().all(|topic| topic["partitions"].is_null()),
        "{before}"
    );
    assert!(before["clickhouse"]["problem"].as_str().unwrap().contains("millrace migrate"), "{before}");
    pipeline.succeed(&["topics", "create"]);
    pipeline.succeed(&["migrate"]);
    let raw = pipeline.topic("raw-events");
    produce((0..5).map(|_| (raw.clone(), 1, b"d".as_slice(), b"{}".to_vec(), OwnedHeaders::new())));
    commit(&pipeline, &raw, 1, 3);

    let (code, status) = pipeline.report(&["status"]);
    assert_eq!(code, 1, "no process runs: {status}");
    let ingest = &status["stages"][0];
    assert_eq!((&ingest["stage"], &ingest["lag"]), (&"ingest".into(), &2.into()), "{status}");
    assert_eq!(
        (&ingest["started"], &status["stages"][1]["started"]),
        (&true.into(), &false.into()),
        "{status}"
    );
    assert!(status["clickhouse"]["problem"].is_null(), "{status}");
    let table = String::from_utf8(pipeline.run(&["status"]).stdout).unwrap();
    assert!(table.contains(&raw) && table.contains("no data yet"), "{table}");
}

fn commit(pipeline: &Pipeline, topic: &str, partition: i32, next: i64) {
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    let group = format!("{}-ingest", pipeline.name);
    let consumer: BaseConsumer = client().set("group.id", group).create().unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(next)).unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

#[test]
fn transaction_markers_do_not_count_as_lag() {
    let pipeline = Pipeline::new("markers");
    pipeline.succeed(&["topics", "create"]);
    let producer: BaseProducer = client().set("transactional.id", &pipeline.name).create().unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    let raw = pipeline.topic("raw-events");
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<(), str>::to(&raw).partition(0).payload("x")).unwrap();
    producer.commit_transaction(TIMEOUT).unwrap();
    commit(&pipeline, &raw, 0, 1);
    let (_, status) = pipeline.report(&["status"]);
    assert_eq!(status["topics"][0]["records"], 2, "the record and its marker: {status}");
    assert_eq!(status["stages"][0]["lag"], 0, "{status}");
}

#[test]
fn a_second_migrate_changes_nothing() {
    let pipeline = Pipeline::new("migrations");
    let first = pipeline.json(&["migrate"]);
    assert_eq!(first["changes"][0], format!("created database {}", pipeline.name), "{first}");
    assert_eq!(pipeline.json(&["migrate"])["changes"], Value::Array(Vec::new()));
    assert!(pipeline.succeed(&["migrate"]).contains("nothing to do"));
}

#[test]
fn an_error_is_one_line_that_says_what_to_do() {
    let pipeline = Pipeline::new("errors");
    pipeline.succeed(&["topics", "create"]);
    for (line, variable, value, code, expected) in [
        ("topics create", "KAFKA__BROKERS", "127.0.0.1:1", 1, "check kafka.brokers"),
        ("migrate", "CLICKHOUSE__URL", "http://127.0.0.1:1", 1, "check clickhouse.url"),
        ("migrate", "CLICKHOUSE__PASSWORD", "wrong", 1, "check clickhouse.user and clickhouse.password"),
        ("status", "KAFKA__BROKER", "x", 78, "did you mean kafka.brokers (MILLRACE__KAFKA__BROKERS)?"),
        ("topics create", "KAFKA__REPLICATION", "3", 0, ""),
        ("simulate --total 1", "KAFKA__TOPIC_PREFIX", "absent.", 1, "run `millrace topics create`"),
        ("cat raw-events --from end", "LOG__LEVEL", "info", 2, "add --follow"),
    ] {
        let mut command = pipeline.command(&line.split(' ').collect::<Vec<_>>());
        command.env("MILLRACE__STARTUP_TIMEOUT", "1s").env(format!("MILLRACE__{variable}"), value);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {output:?}");
        let errors = stderr(&output);
        let messages = errors.lines().filter(|line| line.starts_with("error: ")).collect::<Vec<_>>();
        if code != 0 {
            assert!(messages.len() == 1 && messages[0].contains(expected), "{line}: {errors}");
        }
    }
}

#[test]
fn existing_topics_with_other_settings_are_not_changed() {
    let pipeline = Pipeline::new("existing");
    let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
    let name = pipeline.topic("clean-events");
    let own = NewTopic::new(&name, 5, TopicReplication::Fixed(1));
    block_on(admin.create_topics([&own], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    pipeline.succeed(&["topics", "create"]);
    let output = pipeline.run(&["topics", "check"]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains(&format!("has 2 partitions, {name} has 5")), "{stdout}");
}
