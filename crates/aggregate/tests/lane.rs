//! The whole process on a real Kafka and a real ClickHouse: what was sent is counted once, through stops and
//! starts.
#![expect(clippy::unwrap_used, reason = "a test may end by panicking")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use aggregate::{Cubes, cube, migrate, server};
use devstack::{Stack, StackOptions};
use event::Topic;
use event::{BatchBuilder, Field};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use runtime::config::Settings;
use runtime::health::Health;
use runtime::shutdown::Shutdown;
use tokio::runtime::Runtime;

const PARTITIONS: i32 = 3;
/// 2035-06-10 00:00:00 UTC: in the future, so that no TTL ever takes the rows of a test.
const SUNDAY: i64 = 2_065_046_400_000;
const TIMEOUT: Duration = Duration::from_secs(60);

struct Pipeline {
    runtime: Runtime,
    settings: Settings,
    producer: BaseProducer,
}

impl Pipeline {
    /// Topics and a database of its own on the one stack of this test binary.
    fn new() -> Self {
        static STACK: OnceLock<Stack> = OnceLock::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let stack = STACK.get_or_init(|| Stack::start(StackOptions::default()).unwrap());
        let name = format!("lane_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut settings = runtime::config::load(None).unwrap();
        settings.kafka.brokers = stack.brokers().to_owned();
        settings.kafka.topic_prefix = format!("{name}.");
        settings.clickhouse.url = stack.clickhouse_url().to_owned();
        settings.clickhouse.database = name.clone();
        settings.pipeline = name;
        settings.aggregate.live_flush_interval = Duration::from_millis(50);
        settings.aggregate.dead_letters_flush_interval = Duration::from_millis(50);
        settings.aggregate.max_inserts_per_second = 1000;
        let runtime = Runtime::new().unwrap();
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &settings.kafka.brokers);
        let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
        let topics = [Topic::EnrichedEvents, Topic::DeadLetters].map(|topic| settings.kafka.topic(topic));
        let new = topics.iter().map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)));
        runtime.block_on(admin.create_topics(&new.collect::<Vec<_>>(), &AdminOptions::new())).unwrap();
        let producer = client.create().unwrap();
        let pipeline = Self { runtime, settings, producer };
        pipeline.migrate();
        pipeline
    }

    fn migrate(&self) {
        let client = server::client(&self.settings);
        let cubes = Cubes::parse(cube::BUILT_IN).unwrap();
        self.runtime.block_on(migrate(&client, &self.settings, &cubes)).unwrap();
    }

    fn send(&self, topic: Topic, partition: i32, payload: &[u8]) {
        let topic = self.settings.kafka.topic(topic);
        let mut headers = OwnedHeaders::new();
        for (key, value) in [
            ("code", "too_old"),
            ("stage", "ingest"),
            ("origin_topic", "raw"),
            ("origin_partition", "0"),
            ("origin_offset", "7"),
        ] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let record: BaseRecord<'_, str, [u8]> =
            BaseRecord::to(&topic).partition(partition).payload(payload).headers(headers);
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    fn send_events(&self, batches: i32) {
        for nth in 0..batches {
            self.send(Topic::EnrichedEvents, nth % PARTITIONS, &events(nth));
        }
        self.producer.flush(TIMEOUT).unwrap();
    }

    fn start(&self) -> Process {
        self.start_as("0")
    }

    fn start_as(&self, instance: &str) -> Process {
        self.start_with(instance, |_| ())
    }

    fn start_with(&self, instance: &str, change: impl FnOnce(&mut Settings)) -> Process {
        let shutdown = Shutdown::default();
        let (stop, handle) = (shutdown.clone(), self.runtime.handle().clone());
        let mut settings = Settings { instance: instance.to_owned(), ..self.settings.clone() };
        change(&mut settings);
        let health = Health::default();
        let reported = health.clone();
        let thread = thread::spawn(move || {
            let _context = handle.enter();
            aggregate::run(settings, stop, reported).map_err(|error| error.to_string())
        });
        Process { shutdown, health, thread }
    }

    fn execute(&self, statement: &str) {
        let client = server::client(&self.settings).with_database(&self.settings.clickhouse.database);
        self.runtime.block_on(client.query_raw(statement).execute()).unwrap();
    }

    /// Sets the offsets of the lane `live`, while nobody is in its group.
    /// A consumer of the group of lane `live`, and the partitions it reads.
    fn group(&self) -> (BaseConsumer, String) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.settings.kafka.brokers);
        config.set("group.id", format!("{}-aggregate-live", self.settings.pipeline));
        (config.create().unwrap(), self.settings.kafka.topic(Topic::EnrichedEvents))
    }

    fn set_offsets(&self, offsets: &[(i32, i64)]) {
        let (consumer, topic) = self.group();
        let mut list = TopicPartitionList::new();
        for &(partition, offset) in offsets {
            list.add_partition_offset(&topic, partition, Offset::Offset(offset)).unwrap();
        }
        let started = Instant::now();
        // The broker still knows members that left for a moment.
        while let Err(error) = consumer.commit(&list, CommitMode::Sync) {
            assert!(started.elapsed() < TIMEOUT, "{error}");
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// The sum of the group's offsets: how many records are committed.
    fn committed_offsets(&self) -> i64 {
        let (consumer, topic) = self.group();
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition(&topic, partition);
        }
        let committed = consumer.committed_offsets(list, TIMEOUT).unwrap();
        committed.elements().iter().map(|element| element.offset().to_raw().unwrap().max(0)).sum()
    }

    fn count(&self, query: &str) -> i64 {
        let client = server::client(&self.settings).with_database(&self.settings.clickhouse.database);
        self.runtime.block_on(client.query_raw(query).fetch_one::<i64>()).unwrap()
    }

    fn events(&self) -> i64 {
        self.count("SELECT toInt64(sum(events)) FROM traffic WHERE pane = '10s'")
    }
}

struct Process {
    shutdown: Shutdown,
    health: Health,
    thread: JoinHandle<Result<(), String>>,
}

impl Process {
    /// Why each partition of the lane `live` is halted, by partition.
    fn halted(&self) -> serde_json::Value {
        self.health.status()["live-0"]["details"]["halted"].clone()
    }

    fn stop(self) -> Result<(), String> {
        self.shutdown.trigger();
        self.thread.join().unwrap()
    }
}

/// Ten events of a batch, all counted by `traffic`.
fn events(seed: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for row in 0..10 {
        builder.text(Field::Platform, ["web", "ios"][row % 2]);
        builder.text(Field::Kind, "event");
        builder.key(Field::DeviceKey, seed as u64 % 7 + 1);
        builder.number(Field::EventTime, SUNDAY + i64::from(seed) * 100);
        builder.number(Field::ReceivedAt, SUNDAY + i64::from(seed) * 100);
        builder.end_row();
    }
    builder.finish()
}

fn eventually(expected: i64, ask: impl Fn() -> i64) {
    let deadline = Instant::now() + TIMEOUT;
    while ask() != expected && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ask(), expected);
}

#[test]
fn what_is_sent_is_counted_once_through_stops_and_starts() {
    let pipeline = Pipeline::new();
    let process = pipeline.start();
    pipeline.send_events(300);
    eventually(3000, || pipeline.events());
    // Stopped while it reads: everything that is in the table is committed, the rest is read after the next start.
    pipeline.send_events(3000);
    process.stop().unwrap();
    assert_eq!(pipeline.events(), 10 * pipeline.committed_offsets());
    let process = pipeline.start();
    eventually(33_000, || pipeline.events());
    process.stop().unwrap();
    pipeline.start().stop().unwrap();
    assert_eq!(pipeline.events(), 33_000);
    let devices = "SELECT toInt64(uniqCombined64Merge(14)(devices)) FROM traffic WHERE pane = '60s'";
    assert_eq!(pipeline.count(devices), 7);
    // Markers say how far each partition was written.
    let ends = "SELECT toInt64(count() = 3 AND min(end) = 1100) FROM
                (SELECT src, max(src_end) AS end FROM live_local WHERE src LIKE '1/%' GROUP BY src)";
    assert_eq!(pipeline.count(ends), 1);
}

#[test]
fn partitions_move_to_a_second_process_without_loss_or_repetition() {
    let pipeline = Pipeline::new();
    let first = pipeline.start_as("a");
    pipeline.send_events(1000);
    let second = pipeline.start_as("b");
    pipeline.send_events(1000);
    eventually(20_000, || pipeline.events());
    second.stop().unwrap();
    first.stop().unwrap();
    assert_eq!(pipeline.events(), 20_000);
}

#[test]
fn dead_letters_are_written_once() {
    let pipeline = Pipeline::new();
    let process = pipeline.start();
    for nth in 0..50 {
        pipeline.send(Topic::DeadLetters, nth % PARTITIONS, b"{\"broken\"");
    }
    pipeline.producer.flush(TIMEOUT).unwrap();
    eventually(50, || pipeline.count("SELECT toInt64(count()) FROM dead_letters WHERE code = 'too_old'"));
    process.stop().unwrap();
    let in_quality = "SELECT toInt64(sum(events)) FROM quality WHERE kind = 'dead_letter' AND pane = '60s'";
    assert_eq!(pipeline.count(in_quality), 50);
}

#[test]
fn a_record_of_a_newer_program_halts_its_partition_and_no_other() {
    let pipeline = Pipeline::new();
    pipeline.send_events(6);
    // Format 3 with one row.
    pipeline.send(Topic::EnrichedEvents, 1, b"\x08\x03\x10\x01");
    pipeline.send_events(6);
    let process = pipeline.start();
    // Two batches of partition 1 stand behind the record.
    eventually(100, || pipeline.events());
    eventually(1, || i64::from(process.halted()["1"].is_string()));
    let reason = process.halted()["1"].to_string();
    assert!(reason.contains("offset 2 cannot be read: batch format 3 is newer"), "{reason}");
    assert!(reason.contains("reset the group's offset to 3"), "{reason}");
    // A lane that began later gets ready all the same.
    eventually(1, || i64::from(process.health.is_ready()));
    process.stop().unwrap();
    // What stands before it is committed, and nothing is read twice.
    let process = pipeline.start();
    eventually(1, || i64::from(process.halted()["1"].is_string()));
    process.stop().unwrap();
    assert_eq!(pipeline.events(), 100);
}

#[test]
fn a_table_that_cannot_be_written_stops_no_other_lane_and_is_named() {
    let pipeline = Pipeline::new();
    pipeline.execute("ALTER TABLE dead_letters_local ADD CONSTRAINT closed CHECK code = 'never'");
    let process = pipeline.start();
    pipeline.send_events(30);
    pipeline.send(Topic::DeadLetters, 0, b"{");
    pipeline.producer.flush(TIMEOUT).unwrap();
    eventually(300, || pipeline.events());
    let degraded = || {
        process.health.status()["dead_letters-0"]["degraded"]["clickhouse_unreachable"]["cause"].to_string()
    };
    eventually(1, || {
        i64::from(degraded().contains("table dead_letters_local: ") && degraded().contains("closed"))
    });
    assert!(!process.health.is_ready());
    pipeline.execute("ALTER TABLE dead_letters_local DROP CONSTRAINT closed");
    eventually(1, || pipeline.count("SELECT toInt64(count()) FROM dead_letters"));
    eventually(1, || i64::from(process.health.is_ready()));
    process.stop().unwrap();
}

#[test]
fn a_table_that_is_lost_halts_the_partitions_until_it_is_made_again() {
    let pipeline = Pipeline::new();
    let process = pipeline.start_with("0", |settings| {
        settings.aggregate.retry_halted = Duration::from_millis(300);
    });
    pipeline.send_events(30);
    eventually(300, || pipeline.events());
    pipeline.execute("DROP TABLE live_local");
    pipeline.send_events(30);
    eventually(3, || process.halted().as_object().map_or(0, |halted| halted.len() as i64));
    assert!(process.halted()["0"].to_string().contains("run `millrace migrate`"), "{}", process.halted());
    pipeline.migrate();
    eventually(300, || pipeline.events());
    eventually(0, || process.halted().as_object().map_or(-1, |halted| halted.len() as i64));
    process.stop().unwrap();
}

#[test]
fn an_operator_who_sets_offsets_back_is_stopped_from_counting_twice_and_may_do_it_under_a_new_epoch() {
    let pipeline = Pipeline::new();
    let process = pipeline.start();
    pipeline.send_events(30);
    eventually(300, || pipeline.events());
    process.stop().unwrap();
    pipeline.set_offsets(&[(0, 4), (1, 10), (2, 10)]);
    let process = pipeline.start();
    pipeline.send_events(3);
    eventually(320, || pipeline.events());
    eventually(1, || i64::from(process.halted()["0"].is_string()));
    let reason = process.halted()["0"].to_string();
    assert!(reason.contains("offset is 4") && reason.contains("below 10"), "{reason}");
    assert!(reason.contains("aggregate.epoch"), "{reason}");
    process.stop().unwrap();
    let process = pipeline.start_with("0", |settings| settings.aggregate.epoch = 2);
    // Six old batches of partition 0 once more, and its new one.
    eventually(390, || pipeline.events());
    process.stop().unwrap();
    let ledger = "SELECT sum(ledger_events) FROM live_local WHERE src LIKE ";
    assert_eq!(pipeline.count(&format!("{ledger}'1/%'")), 320);
    assert_eq!(pipeline.count(&format!("{ledger}'2/%'")), 70);
}

#[test]
fn what_cannot_go_on_stops_with_one_line() {
    let pipeline = Pipeline::new();
    let client = server::client(&pipeline.settings).with_database(&pipeline.settings.clickhouse.database);
    pipeline.runtime.block_on(client.query_raw("DROP TABLE live_local").execute()).unwrap();
    let error = pipeline.start().thread.join().unwrap().unwrap_err();
    assert!(error.ends_with("live_local is missing: run `millrace migrate`"), "{error}");
}
