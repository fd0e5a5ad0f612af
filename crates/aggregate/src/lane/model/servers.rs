//! The models of Kafka and ClickHouse against the real servers: the same random scripts, the same observations after
//! each step.
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use devstack::{Stack, StackOptions};
use event::{NextOffset, Start};
use kafka::{GroupConsumer, GroupMember, Polled};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use runtime::config::Settings;
use runtime::shutdown::Shutdown;
use tokio::runtime::Runtime;

use super::choices::Choices;
use super::clickhouse::{ClickHouse, Executes, Insert, Part};
use super::kafka::{Kafka, PARTITIONS};
use crate::block::{Block, BlockBuilder, ColumnKind, Layout, Mark, MarkerRows, TablePartitioning, Value};
use crate::{BlockWriter, Cubes, cube, migrate, server, table};

/// 2035-06-10 00:00:00 UTC, a Sunday: in the future, so that no TTL removes the rows.
const FIRST_WEEK: u32 = 2_065_046_400;
const WEEK: u32 = 7 * 24 * 3600;
const TIMEOUT: Duration = Duration::from_secs(60);

/// A database and topics of its own on the one stack of this test binary.
fn settings(name: &str) -> Settings {
    static STACK: OnceLock<Stack> = OnceLock::new();
    let stack = STACK.get_or_init(|| Stack::start(StackOptions::default()).unwrap());
    let mut settings = runtime::config::load(None).unwrap();
    settings.kafka.brokers = stack.brokers().to_owned();
    settings.kafka.topic_prefix = format!("{name}.");
    settings.clickhouse.url = stack.clickhouse_url().to_owned();
    settings.clickhouse.database = name.to_owned();
    settings.pipeline = name.to_owned();
    settings
}

/// A block with one row in each of these table partitions, and its marker rows.
fn block(source: &str, end: u64, table_partitions: &[u32]) -> Block {
    let columns = [
        ("bucket", ColumnKind::Seconds),
        ("keep_days", ColumnKind::Small),
        ("src", ColumnKind::Text),
        ("src_end", ColumnKind::Offset),
        ("ledger_events", ColumnKind::Number),
    ];
    let columns = columns.map(|(name, kind)| (name.to_owned(), kind)).to_vec();
    let markers = MarkerRows {
        mark: Mark::new(source, end),
        ledger: Vec::new(),
        keep_days: 3000,
        time_column: 0,
        keep_days_column: 1,
        src_column: 2,
        src_end_column: 3,
    };
    let mut builder = BlockBuilder::new(Layout::new(columns, TablePartitioning::ByWeek), markers);
    for &seconds in table_partitions {
        builder.begin_row(seconds, 30);
        builder.set(0, Value::Seconds(seconds));
        builder.set(1, Value::Small(3000));
        builder.set(4, Value::Number(1));
        builder.end_row();
    }
    builder.finish().swap_remove(0)
}

/// The same random inserts into both; the tokens of 12 flushes are used again and again, with any of their table
/// partitions.
fn compare_clickhouse(name: &str, token_window: usize, seed: u64) {
    let (settings, tokio) = (settings(name), Runtime::new().unwrap());
    let client = server::client(&settings);
    let cubes = Cubes::parse(cube::BUILT_IN).unwrap();
    tokio.block_on(migrate(&client, &settings, &cubes)).unwrap();
    let client = client.with_database(name);
    let alter =
        format!("ALTER TABLE live_local MODIFY SETTING non_replicated_deduplication_window = {token_window}");
    tokio.block_on(client.query_raw(&alter).execute()).unwrap();
    let spec = table::tables(&cubes).into_iter().find(|spec| spec.name == "live_local").unwrap();
    let writer = tokio.block_on(BlockWriter::new(&client, &settings, "live", &spec)).unwrap();
    let mut model = ClickHouse::new(token_window);
    let mut choices = Choices::new(seed);
    let sources = ["1/t/0", "1/t/1"];
    for step in 0..60 {
        let flush = choices.index(12);
        let (source, nth) = (flush % 2, flush % 3 % 2);
        let end = 10 + flush as u64;
        let weeks = [FIRST_WEEK, FIRST_WEEK + WEEK, FIRST_WEEK + 2 * WEEK];
        let mut chosen: Vec<u32> = weeks.into_iter().filter(|_| choices.one_in(2)).collect();
        if chosen.is_empty() {
            chosen.push(weeks[choices.index(3)]);
        }
        let token = format!("token-{flush}");
        let real = block(&Mark::source_of(sources[source], nth), end, &chosen);
        tokio.block_on(writer.insert(&real, &token)).unwrap();
        let part = |table_partition| Part {
            source,
            block: nth,
            table_partition,
            end,
            offsets: Vec::new(),
            ledger: 1,
        };
        let parts = real.table_partitions().iter().map(|&partition| part(partition)).collect();
        model.execute(&Insert { token, parts, sent_ms: 0, generation: 0 }, Executes::All);
        let asked_end = 10 + choices.choose(12);
        for (number, name) in sources.iter().enumerate() {
            let found = tokio.block_on(writer.markers(name, 2, asked_end)).unwrap();
            assert_eq!(found, model.markers(number, 2, asked_end), "step {step}: markers of {name}");
            let newest = tokio.block_on(writer.newest(&[(*name).to_owned()].into())).unwrap();
            assert_eq!(newest.get(*name).copied(), model.newest(number), "step {step}: newest of {name}");
        }
        let rows = "SELECT sum(ledger_events) FROM live_local";
        let counted: i64 = tokio.block_on(client.query(rows).fetch_one()).unwrap();
        assert_eq!(counted, model.parts.iter().map(|part| part.ledger).sum::<i64>(), "step {step}");
    }
}

#[test]
fn the_model_of_clickhouse_drops_and_stores_what_the_real_one_does() {
    compare_clickhouse(&format!("model_{}", std::process::id()), 1000, 1);
}

#[test]
fn the_model_of_clickhouse_forgets_tokens_as_the_real_one_does() {
    compare_clickhouse(&format!("model_short_{}", std::process::id()), 2, 3);
}

/// Joins the group under one member name, which fences off the member that had it.
fn join(settings: &Settings, topic: &str) -> GroupConsumer {
    let member = GroupMember {
        group: "model",
        topic,
        name: "model-0",
        start: Start::Earliest,
        start_metadata: |_| String::new(),
    };
    let consumer = GroupConsumer::new(settings, member, &Shutdown::default()).unwrap();
    let started = Instant::now();
    while started.elapsed() < TIMEOUT {
        if let Polled::Assigned(partitions) = consumer.poll(Duration::from_millis(100)).unwrap() {
            let positions: Vec<_> = partitions.iter().map(|&partition| (partition, NextOffset(0))).collect();
            consumer.assign(&positions).unwrap();
            return consumer;
        }
    }
    panic!("no assignment within {TIMEOUT:?}");
}

fn commit(consumer: &GroupConsumer, offsets: &[(i32, NextOffset, String)]) -> bool {
    let offsets: Vec<_> =
        offsets.iter().map(|(partition, next, text)| (*partition, *next, &**text)).collect();
    consumer.begin_commit(&offsets).unwrap();
    let started = Instant::now();
    while started.elapsed() < TIMEOUT {
        if let Some(reply) = consumer.commit_answer() {
            return reply.is_ok();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no reply to a commit within {TIMEOUT:?}");
}

#[test]
fn the_model_of_kafka_accepts_the_commits_that_the_real_one_does() {
    let mut settings = settings(&format!("model_kafka_{}", std::process::id()));
    settings.kafka.session_timeout = Duration::from_secs(10);
    let topic = "model-commits";
    let admin: AdminClient<DefaultClientContext> = kafka::client(&settings).create().unwrap();
    let new = NewTopic::new(topic, PARTITIONS as i32, TopicReplication::Fixed(1));
    Runtime::new().unwrap().block_on(admin.create_topics([&new], &AdminOptions::new())).unwrap();
    let (mut model, mut choices) = (Kafka::default(), Choices::new(7));
    let mut members: Vec<(u32, GroupConsumer)> = Vec::new();
    for _ in 0..4 {
        members.push((model.next_generation(), join(&settings, topic)));
        for step in 0..12 {
            let nth = choices.index(members.len());
            let mut offsets = Vec::new();
            for partition in 0..PARTITIONS as i32 {
                if choices.one_in(2) {
                    let text = if choices.one_in(2) { String::new() } else { format!("1;c={step}") };
                    offsets.push((partition, NextOffset(choices.choose(100) as i64), text));
                }
            }
            if offsets.is_empty() {
                continue;
            }
            let (generation, member) = &members[nth];
            let accepted = commit(member, &offsets);
            assert_eq!(accepted, model.commit(*generation, &offsets), "step {step}, member {nth}");
            let newest = &members[members.len() - 1].1;
            let partitions: Vec<i32> = (0..PARTITIONS as i32).collect();
            for committed in newest.committed(&partitions).unwrap() {
                // The group has committed its start before it joined.
                let start = || Some((NextOffset(0), String::new()));
                let expected = model.committed(committed.partition as usize).clone().or_else(start);
                let found = committed.next.map(|next| (next, committed.metadata.clone()));
                assert_eq!(found, expected, "step {step}, partition {}", committed.partition);
            }
        }
    }
}
