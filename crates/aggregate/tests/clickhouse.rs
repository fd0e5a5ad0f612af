//! Tables, blocks, tokens, markers and sketches on a real ClickHouse.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may end by panicking")]
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use aggregate::block::{Block, Mark};
use aggregate::cube::{self, CubeLane};
use aggregate::fold::{Accumulator, CompiledLane, DeadLetters, Input, LaneFold};
use aggregate::server::ErrorClass;
use aggregate::table::LaneTable;
use aggregate::{BlockWriter, Cubes, migrate, server, table};
use clickhouse::Client;
use devstack::{Stack, StackOptions};
use event::{Batch, BatchBuilder, Field};
use jiff::tz::TimeZone;
use runtime::config::Settings;
use system_tests::proxy::{Proxy, RequestFault};
use tokio::runtime::Runtime;

/// 2035-06-10 00:00:00 UTC: in the future, so that no TTL removes the rows of a test.
const SUNDAY: i64 = 2_065_046_400_000;
const SECOND: i64 = 1000;

struct Database {
    runtime: Runtime,
    settings: Settings,
    client: Client,
}

impl Database {
    /// A new database on the server that all tests of this binary share.
    fn new() -> Self {
        static STACK: OnceLock<Stack> = OnceLock::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // These tests need no Kafka: with an address devstack does not start one.
        let options = || StackOptions { kafka: Some("none:1".into()), ..StackOptions::default() };
        let stack = STACK.get_or_init(|| Stack::start(options()).unwrap());
        let mut settings = runtime::config::load(None).unwrap();
        settings.clickhouse.url = stack.clickhouse_url().to_owned();
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        settings.clickhouse.database = format!("aggregate_{process}_{number}");
        let runtime = Runtime::new().unwrap();
        Self { runtime, client: server::client(&settings), settings }
    }

    fn migrate(&self, cubes: &Cubes) -> Vec<String> {
        self.runtime.block_on(migrate(&self.client, &self.settings, cubes)).unwrap()
    }

    fn writer(&self, table: &str) -> BlockWriter {
        self.writer_of(&self.settings, table)
    }

    fn writer_of(&self, settings: &Settings, table: &str) -> BlockWriter {
        let spec = table::tables(&built_in()).into_iter().find(|spec| spec.name == table).unwrap();
        self.runtime.block_on(BlockWriter::new(&server::client(settings), settings, "live", &spec)).unwrap()
    }

    /// Repeats each insert until it succeeds.
    fn insert(&self, writer: &BlockWriter, blocks: &[Block], range: &str) {
        for (nth, block) in blocks.iter().enumerate() {
            while let Err(verdict) = self.runtime.block_on(writer.insert(block, &format!("{range}:{nth}"))) {
                assert!(matches!(verdict, ErrorClass::Transient(_)), "{verdict:?}");
            }
        }
    }

    fn try_insert(&self, writer: &BlockWriter, blocks: &[Block]) -> String {
        let verdict = self.runtime.block_on(writer.insert(&blocks[0], "t")).unwrap_err();
        let ErrorClass::Permanent(advice) = verdict else { panic!("{verdict:?} is no reason to stop") };
        advice
    }

    fn execute(&self, statement: &str) {
        let client = self.client.clone().with_database(&self.settings.clickhouse.database);
        self.runtime.block_on(client.query_raw(statement).execute()).unwrap();
    }

    /// The result as text, columns separated by spaces, rows by ` | `.
    fn query(&self, query: &str) -> String {
        let client = self.client.clone().with_database(&self.settings.clickhouse.database);
        let mut lines = client.query_raw(query).fetch_bytes("TSV").unwrap();
        let bytes = self.runtime.block_on(lines.collect()).unwrap();
        String::from_utf8(bytes.to_vec()).unwrap().trim_end().replace('\t', " ").replace('\n', " | ")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {}", self.settings.clickhouse.database);
        let _ = self.runtime.block_on(self.client.query_raw(&drop).execute());
    }
}

fn built_in() -> Cubes {
    Cubes::parse(cube::BUILT_IN).unwrap()
}

struct Event {
    time: i64,
    platform: &'static str,
    kind: &'static str,
    device: u64,
    activity: &'static str,
}

fn event(time: i64, platform: &'static str, device: u64) -> Event {
    Event { time, platform, kind: "event", device, activity: "" }
}

fn batch(events: &[Event]) -> Batch {
    let mut builder = BatchBuilder::default();
    for event in events {
        builder.text(Field::AppId, "web-main");
        builder.text(Field::EventName, "login");
        builder.text(Field::Platform, event.platform);
        builder.text(Field::Kind, event.kind);
        builder.text(Field::ActivityId, event.activity);
        builder.key(Field::DeviceKey, event.device);
        builder.number(Field::EventTime, event.time);
        builder.number(Field::ReceivedAt, event.time + 700 * SECOND);
        builder.number(Field::LatenessMs, 700 * SECOND);
        builder.end_row();
    }
    Batch::decode(&builder.finish()).unwrap()
}

fn flushed(cubes: &Cubes, events: &[Event], end: u64) -> Vec<Block> {
    let lane = Arc::new(CompiledLane::new(cubes, CubeLane::Live, 8, TimeZone::UTC));
    let mut accumulator = Accumulator::new(lane, 1000);
    accumulator.add(3, &batch(events));
    accumulator.flush(3, Mark::new("1/enriched-events/3", end)).0
}

#[test]
fn migrate_creates_everything_once() {
    let db = Database::new();
    let done = db.migrate(&built_in());
    let name = &db.settings.clickhouse.database;
    assert_eq!(done[0], format!("created database {name}"));
    assert!(
        done.iter().any(|line| line.starts_with(&format!("created table {name}.live_local"))),
        "{done:?}"
    );
    assert!(done.contains(&format!("created view {name}.quality")), "{done:?}");
    assert_eq!(db.migrate(&built_in()), Vec::<String>::new());
    let views = built_in().cubes.into_iter().map(|cube| cube.name);
    for view in views.chain(["dead_letters".to_owned()]) {
        assert_eq!(db.query(&format!("SELECT count() FROM {view}")), "0", "{view}");
    }
    for table in table::tables(&built_in()) {
        db.runtime.block_on(server::check_table(&db.client, &db.settings, &table)).unwrap();
    }
}

#[test]
fn migrate_adds_a_dimension_and_a_measure_to_a_table_with_rows() {
    let db = Database::new();
    db.migrate(&built_in());
    let writer = db.writer("live_local");
    db.insert(&writer, &flushed(&built_in(), &[event(SUNDAY, "web", 1)], 1), "a");
    let text = cube::BUILT_IN.replace(
        r#"dimensions = ["app_id", "platform", "event_name", "channel_group"]"#,
        r#"dimensions = ["app_id", "platform", "event_name", "channel_group", "locale"]"#,
    );
    let text = text.replacen(
        r#"{ name = "events", count = true },"#,
        r#"{ name = "events", count = true }, { sum = "position_ms" }, { name = "users", uniq = "user_key" },"#,
        1,
    );
    let wider = Cubes::parse(&text).unwrap();
    let done = db.migrate(&wider);
    let name = &db.settings.clickhouse.database;
    assert_eq!(
        done,
        [
            format!("added column locale to table {name}.live_local"),
            format!("added column position_ms to table {name}.live_local"),
            format!("added column locale to table {name}.report_local"),
            format!("added column position_ms to table {name}.report_local"),
            format!("replaced view {name}.traffic"),
        ]
    );
    assert_eq!(db.migrate(&wider), Vec::<String>::new());
    let spec = table::lane_table(&LaneTable::new(&wider, CubeLane::Live));
    db.runtime.block_on(server::check_table(&db.client, &db.settings, &spec)).unwrap();
    db.insert(&writer, &flushed(&wider, &[event(SUNDAY, "web", 2)], 2), "b");
    assert_eq!(db.query("SELECT sum(events), sum(position_ms) FROM traffic WHERE pane = '10s'"), "2 0");
}

#[test]
fn totals_and_sketches_are_right_in_every_pane() {
    let db = Database::new();
    db.migrate(&built_in());
    let events = [
        event(SUNDAY, "web", 1),
        event(SUNDAY + 9 * SECOND, "web", 1),
        event(SUNDAY + 11 * SECOND, "web", 2),
        event(SUNDAY + 61 * SECOND, "web", 3),
        event(SUNDAY, "ios", 0),
        Event { kind: "duplicate", ..event(SUNDAY, "web", 9) },
        Event { activity: "act", ..event(SUNDAY, "pc", 4) },
    ];
    db.insert(&db.writer("live_local"), &flushed(&built_in(), &events, 7), "a");
    let by_cell = |pane: &str| {
        db.query(&format!(
            "SELECT platform, toUnixTimestamp(bucket) - 2065046400 AS at, sum(events), uniqCombined64Merge(14)(devices)
             FROM traffic WHERE pane = '{pane}' GROUP BY platform, bucket ORDER BY platform, bucket"
        ))
    };
    assert_eq!(by_cell("10s"), "ios 0 1 0 | pc 0 1 1 | web 0 2 1 | web 10 1 1 | web 60 1 1");
    assert_eq!(by_cell("60s"), "ios 0 1 0 | pc 0 1 1 | web 0 3 2 | web 60 1 1");
    assert_eq!(
        db.query("SELECT activity_id, sum(events) FROM activity WHERE pane = '10s' GROUP BY 1"),
        "act 1"
    );
    assert_eq!(
        db.query(
            "SELECT kind, sum(events), sum(late_events) FROM quality WHERE pane = '60s' GROUP BY 1 ORDER BY 1"
        ),
        "duplicate 1 0 | event 6 6"
    );
    // Quality and freshness use the received time, 700 s later.
    assert_eq!(db.query("SELECT min(bucket) FROM quality WHERE pane = '10s'"), "2035-06-10 00:11:40");
    assert_eq!(db.query("SELECT max(received_max) FROM traffic"), "2035-06-10 00:12:41.000");
}

#[test]
fn the_same_block_with_the_same_token_counts_once_and_its_marker_survives_merges() {
    let db = Database::new();
    db.migrate(&built_in());
    let writer = db.writer("live_local");
    // Two table partitions: this week and the one before.
    let events = [event(SUNDAY, "web", 1), event(SUNDAY - 8 * 86_400 * SECOND, "web", 1)];
    let blocks = flushed(&built_in(), &events, 42);
    db.insert(&writer, &blocks, "1:enriched-events:3:0-42");
    db.insert(&writer, &blocks, "1:enriched-events:3:0-42");
    assert_eq!(db.query("SELECT sum(events) FROM traffic WHERE pane = '10s'"), "2");
    db.insert(&writer, &blocks, "1:enriched-events:3:42-44");
    assert_eq!(db.query("SELECT sum(events) FROM traffic WHERE pane = '10s'"), "4");
    db.execute("OPTIMIZE TABLE live_local FINAL");
    assert_eq!(
        db.query("SELECT sum(events), uniqCombined64Merge(14)(devices) FROM traffic WHERE pane = '10s'"),
        "4 1"
    );
    let markers = "SELECT src, bucket, max(src_end) FROM live_local WHERE src != '' GROUP BY 1, 2 ORDER BY 2";
    assert_eq!(
        db.query(markers),
        "1/enriched-events/3 2035-05-28 00:00:00 42 | 1/enriched-events/3 2035-06-04 00:00:00 42"
    );
}

#[test]
fn a_restricted_block_and_the_whole_share_their_token_and_markers_show_what_is_written() {
    let db = Database::new();
    db.migrate(&built_in());
    let writer = db.writer("live_local");
    let (week, source) = (7 * 86_400 * SECOND, "1/enriched-events/3");
    let events = [event(SUNDAY, "web", 1), event(SUNDAY - week, "web", 1), event(SUNDAY, "ios", 2)];
    let blocks = flushed(&built_in(), &events, 42);
    let partitions: Vec<u32> = blocks[0].table_partitions().iter().copied().collect();
    let landed = |end| db.runtime.block_on(writer.markers(source, 2, end)).unwrap();
    assert!(landed(42).is_empty());
    let second = [blocks[0].restricted_to(&[partitions[1]].into())];
    assert_eq!((partitions.len(), second[0].data_rows() < blocks[0].data_rows()), (2, true));
    db.insert(&writer, &second, "t");
    assert_eq!(landed(42), [(0, partitions[1])].into());
    assert_eq!(db.query("SELECT sum(events) FROM traffic WHERE pane = '10s'"), "2");
    // The whole block under the same token adds only the missing rows.
    db.insert(&writer, &blocks, "t");
    db.insert(&writer, &second, "t");
    assert_eq!(landed(42), [(0, partitions[0]), (0, partitions[1])].into());
    assert!(landed(43).is_empty());
    assert_eq!(db.query("SELECT sum(events) FROM traffic WHERE pane = '10s'"), "3");
    assert_eq!(db.query("SELECT sum(ledger_events) FROM live_local WHERE src LIKE '1/%'"), "3");
    let asked = [source.to_owned(), "1/enriched-events/4".to_owned()].into();
    let newest = db.runtime.block_on(writer.newest(&asked)).unwrap();
    assert_eq!(newest, [(source.to_owned(), 42)].into());
}

#[test]
fn a_server_that_counts_a_repeated_insert_twice_is_an_error() {
    let db = Database::new();
    db.migrate(&built_in());
    for table in ["live_local", "report_local", "dead_letters_local"] {
        let writer = db.writer(table);
        db.runtime.block_on(writer.check_deduplication("a")).unwrap();
        db.execute(&format!("ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 0"));
        let error = db.runtime.block_on(writer.check_deduplication("b")).unwrap_err().to_string();
        assert!(error.contains("counted the same insert") && error.contains(table), "{error}");
    }
    for view in ["traffic", "quality", "dead_letters"] {
        assert_eq!(db.query(&format!("SELECT count() FROM {view}")), "0", "{view}");
    }
}

#[test]
fn the_largest_block_is_inserted_by_a_user_who_may_use_512_mib() {
    let db = Database::new();
    db.migrate(&built_in());
    let lane = Arc::new(CompiledLane::new(&built_in(), CubeLane::Live, 8, TimeZone::UTC));
    let mut accumulator = Accumulator::new(lane, 1_000_000);
    let mut number = 0_u64;
    // Each event is in groups of its own, and every second text is long.
    for _ in 0..60 {
        let mut builder = BatchBuilder::default();
        for _ in 0..500 {
            number += 1;
            for field in [Field::ActivityId, Field::ChannelGroup, Field::Platform, Field::EventName] {
                let length = if number.is_multiple_of(2) { 25 } else { 1 };
                builder.text(field, &format!("{number:08}").repeat(length));
            }
            builder.text(Field::Kind, "event");
            builder.key(Field::DeviceKey, number);
            builder.number(Field::EventTime, SUNDAY);
            builder.number(Field::ReceivedAt, SUNDAY);
            builder.end_row();
        }
        accumulator.add(3, &Batch::decode(&builder.finish()).unwrap());
    }
    let (blocks, _) = accumulator.flush(3, Mark::new("1/enriched-events/3", 60));
    let largest = blocks.iter().map(Block::heap_bytes).max().unwrap();
    assert!(blocks.len() > 1 && (12 << 20..20 << 20).contains(&largest), "{} of {largest}", blocks.len());
    let spec = table::tables(&built_in()).into_iter().find(|spec| spec.name == "live_local").unwrap();
    let client = db.client.clone().with_setting("max_memory_usage", (512 << 20).to_string());
    let writer = db.runtime.block_on(BlockWriter::new(&client, &db.settings, "live", &spec)).unwrap();
    for (nth, block) in blocks.iter().enumerate() {
        db.runtime.block_on(writer.insert(block, &format!("large:{nth}"))).unwrap();
    }
    assert_eq!(db.query("SELECT sum(events) FROM traffic WHERE pane = '10s'"), number.to_string());
}

#[test]
fn dead_letters_are_rows_and_part_of_quality() {
    let db = Database::new();
    db.migrate(&built_in());
    let mut letters = DeadLetters::new("dead-letters");
    for (offset, payload) in [(0, b"{\"a\":1}".as_slice()), (1, &[0xff, 0x00])] {
        let received = (SUNDAY + 5 * SECOND).to_string();
        let headers: Vec<(&str, &[u8])> = vec![
            ("code", b"not_utf8"),
            ("message", b"it's broken\t\\"),
            ("app_id", b"web-main"),
            ("received_at", received.as_bytes()),
            ("stage", b"ingest"),
            ("origin_topic", b"raw-events"),
            ("origin_partition", b"0"),
            ("origin_offset", b"12"),
        ];
        let input = Input {
            partition: 0,
            offset,
            timestamp_ms: SUNDAY + 6 * SECOND,
            key: Some(b"k"),
            value: Some(payload),
            headers,
        };
        letters.add(&input).unwrap();
    }
    let (blocks, _) = letters.flush(0, Mark::new("1/dead-letters/0", 2));
    let writer = db.writer("dead_letters_local");
    db.insert(&writer, &blocks, "d");
    db.insert(&writer, &blocks, "d");
    assert_eq!(
        db.query(
            "SELECT received_at, code, origin_offset, key, payload, payload_encoding, payload_bytes
                FROM dead_letters ORDER BY letter_offset"
        ),
        "2035-06-10 00:00:05.000 not_utf8 12 k {\"a\":1} text 7 | 2035-06-10 00:00:05.000 not_utf8 12 k /wA= base64 2"
    );
    db.execute("OPTIMIZE TABLE dead_letters_local FINAL");
    for (pane, bucket) in [("10s", "2035-06-10 00:00:00"), ("60s", "2035-06-10 00:00:00")] {
        let query = format!(
            "SELECT bucket, app_id, kind, code, sum(events), sum(late_events) FROM quality
             WHERE pane = '{pane}' AND bucket >= '2035-06-09 00:00:00' GROUP BY 1, 2, 3, 4"
        );
        assert_eq!(db.query(&query), format!("{bucket} web-main dead_letter not_utf8 2 0"));
    }
}

#[test]
fn a_permanent_error_is_one_line_that_says_what_to_do() {
    let db = Database::new();
    db.migrate(&built_in());
    let name = db.settings.clickhouse.database.clone();
    let writer = db.writer("live_local");
    let spec = table::lane_table(&LaneTable::new(&built_in(), CubeLane::Live));
    let blocks = flushed(&built_in(), &[event(SUNDAY, "web", 1)], 1);
    let checked = || {
        let checked = db.runtime.block_on(server::check_table(&db.client, &db.settings, &spec));
        checked.unwrap_err().to_string()
    };

    db.execute("ALTER TABLE live_local DROP COLUMN late_events");
    assert_eq!(
        checked(),
        format!("table {name}.live_local has no column `late_events`: run `millrace migrate`")
    );
    assert!(db.try_insert(&writer, &blocks).contains("run `millrace migrate`"));

    db.migrate(&built_in());
    db.execute("ALTER TABLE live_local MODIFY SETTING non_replicated_deduplication_window = 0");
    assert!(checked().contains("does not remember inserts"), "{}", checked());

    db.execute("DROP TABLE live_local");
    let missing = format!("table {name}.live_local is missing: run `millrace migrate`");
    assert_eq!(checked(), missing);
    assert_eq!(db.try_insert(&writer, &blocks), missing);

    db.execute("DROP VIEW dead_letters");
    db.execute(&format!("DROP DATABASE {name}"));
    assert_eq!(
        db.try_insert(&writer, &blocks),
        format!("clickhouse database `{name}` is missing: run `millrace migrate`")
    );

    let mut settings = db.settings.clone();
    settings.clickhouse.user = "nobody".into();
    let error = db.runtime.block_on(server::wait_until_up(&server::client(&settings), &settings, || false));
    assert!(error.unwrap_err().to_string().contains("does not accept user `nobody`: check clickhouse.user"));
}

#[test]
fn an_insert_whose_reply_is_lost_is_repeated_and_counts_once() {
    let db = Database::new();
    db.migrate(&built_in());
    let proxy = Proxy::start(&db.settings.clickhouse.url).unwrap();
    let mut settings = db.settings.clone();
    settings.clickhouse.url = proxy.url();
    let writer = db.writer_of(&settings, "live_local");
    for nth in 0..5 {
        proxy.order_for_any_request(0, RequestFault::LostReply, 2);
        let blocks = flushed(&built_in(), &[event(SUNDAY, "web", nth)], nth);
        db.insert(&writer, &blocks, &format!("1:enriched-events:3:{nth}-{}", nth + 1));
        assert_eq!(proxy.pending(), 0);
    }
    assert_eq!(db.query("SELECT sum(events) FROM traffic WHERE pane = '10s'"), "5");
}
