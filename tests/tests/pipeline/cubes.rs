//! Cubes on real servers: a custom cube needs a file, a migration and a restart; both lanes have the same totals.

use devstack::{pipeline::Pipeline, query};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::{Value, json};
use simulator::Config;
use system_tests::{
    WAIT, eventually, now_ms, pipeline, send, settle, simulator, stack, start, start_stages, topic,
    wait_until_ready,
};

const PANES: [&str; 4] = ["10s", "60s", "1h", "1d"];

/// The rows of a result.
fn rows(sql: &str) -> Vec<String> {
    let answer = query(stack().clickhouse_url(), sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    answer.lines().map(str::to_owned).collect()
}

fn produce(pipeline: &Pipeline, events: &[Value]) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", stack().brokers()).create().unwrap();
    let topic = topic(pipeline, "raw-events");
    for event in events {
        let payload = event.to_string();
        producer.send(BaseRecord::<(), _>::to(&topic).payload(&payload)).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(WAIT).unwrap();
}

/// An event of device `number` with its own properties.
fn level_done(number: usize, properties: &Value) -> Value {
    json!({
        "schema_version": "1-0-0", "event_id": format!("0199f0a0-7c1e-4abc-8def-{number:012x}"),
        "event_name": "level_done", "app_id": simulator::APP_IDS[0], "platform": "h5",
        "anonymous_id": format!("device-{number}"), "original_timestamp": now_ms(), "properties": properties,
        "page": {"url": "https://www.example.tv/game"}, "library": {"name": "tests", "version": "1"},
    })
}

/// Waits until both lanes have counted so many events.
fn counted(pipeline: &Pipeline, events: u64) {
    for pane in PANES {
        let sql = format!("SELECT sum(events) FROM {}.traffic WHERE pane = '{pane}'", pipeline.name());
        eventually("counted", WAIT, || (rows(&sql) == [events.to_string()]).then_some(()));
    }
}

const CUSTOM: &str = r#"
[[cube]]
name = "custom_levels"
meaning = "Levels done with a good score."
panes = ["10s", "1h", "1d"]
where = { event_name = "level_done", "properties.score" = { gte = 10 } }
dimensions = ["platform", "properties.level", { name = "mode", field = "properties.game.mode" }]
measures = [
  { name = "events", count = true },
  { name = "coins", sum = "properties.coins" },
  { name = "teams", uniq = "properties.team" },
  { name = "wins", count = true, where = { "properties.won" = true } },
]
"#;

#[test]
fn a_cube_over_properties_needs_a_file_a_migration_and_a_restart() {
    let mut pipeline = pipeline("custom_cube");
    let mut stages = start_stages(&pipeline);
    let early = json!({"level": 1, "score": 99, "coins": 1000, "team": "early", "game": {"mode": "duel"}});
    let early: Vec<Value> = (0..10).map(|number| level_done(number, &early)).collect();
    produce(&pipeline, &early);
    counted(&pipeline, 10);

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cubes.toml");
    let path = file.to_str().unwrap().to_owned();
    std::fs::write(&file, CUSTOM.replace("properties.coins", "currency")).unwrap();
    let mistake = pipeline.millrace(&["cubes", "check", &path]).unwrap_err().to_string();
    assert!(mistake.contains("measure `coins`: `currency` is a text, `sum` takes a number"), "{mistake}");
    std::fs::write(&file, CUSTOM).unwrap();
    pipeline.millrace(&["cubes", "check", &path]).unwrap();
    pipeline.set("MILLRACE__AGGREGATE__CUBES_FILE", &path);
    let done = pipeline.millrace(&["migrate"]).unwrap();
    for change in ["live_local", "report_local"]
        .map(|table| format!("added column properties_level to table {}.{table}", pipeline.name()))
    {
        assert!(done.contains(&change), "no {change} in {done}");
    }
    assert!(done.contains("view") && done.contains("custom_levels"), "{done}");
    assert!(pipeline.millrace(&["migrate"]).unwrap().contains("nothing to do"));
    // A process without the cube continues although the table has new columns.
    produce(&pipeline, &[level_done(10, &json!({"level": 1, "score": 99}))]);
    counted(&pipeline, 11);
    stages[2].terminate(WAIT).unwrap();
    stages[2] = start(&pipeline, "aggregate", "0");
    wait_until_ready(&mut stages[2]);

    // Several kinds of numbers, a text that looks like a number, and events that the filter removes.
    let late: Vec<Value> = (100..400)
        .map(|number| {
            let properties = match number % 6 {
                0 => json!({"level": 3, "score": 10, "coins": 5, "team": "red", "won": true, "game": {"mode": "duel"}}),
                1 => json!({"level": 3.0, "score": 11, "coins": 2, "team": "blue", "won": false, "game": {"mode": "duel"}}),
                2 => json!({"level": "3", "score": 12.5, "coins": "7", "team": "red", "game": {"mode": "duel"}}),
                3 => json!({"level": true, "score": 100, "coins": -1, "game": {"mode": ["list"]}}),
                4 => json!({"level": 3, "score": 9, "coins": 1}),
                _ => json!({"level": 3, "coins": 1}),
            };
            level_done(number, &properties)
        })
        .collect();
    produce(&pipeline, &late);
    counted(&pipeline, 311);
    for pane in ["10s", "1h", "1d"] {
        let rows = self::rows(&format!(
            "SELECT platform, properties_level, mode, sum(events), sum(coins), uniqCombined64Merge(14)(teams), sum(wins) \
             FROM {}.custom_levels WHERE pane = '{pane}' GROUP BY 1, 2, 3 ORDER BY 2",
            pipeline.name()
        ));
        assert_eq!(rows, ["h5\t3\tduel\t150\t350\t2\t50", "h5\ttrue\t\t50\t-50\t0\t0"], "{pane}");
    }
    pipeline.millrace(&["reconcile"]).unwrap_or_else(|error| panic!("{error}"));
    devstack::pipeline::stop(&mut stages).unwrap();
}

#[test]
fn both_lanes_have_the_same_totals_and_days_begin_at_midnight_of_the_business_time_zone() {
    let mut pipeline = pipeline("both_lanes");
    // Days begin at half past an hour of UTC.
    pipeline.set("MILLRACE__BUSINESS_TIMEZONE", "Asia/Kolkata");
    let mut simulator = simulator(&pipeline, Config { seed: 51, late: 0.05, ..Config::default() });
    let stages = start_stages(&pipeline);
    send(&pipeline, &mut simulator, 30_000, None);
    settle(&pipeline, &simulator.truth(), stages);
    let database = pipeline.name();
    for (cube, measures) in [
        ("traffic", "sum(events), sum(sessions), sum(new_devices), uniqCombined64Merge(14)(devices)"),
        ("activity", "sum(events), sum(participants), uniqCombined64Merge(14)(devices)"),
        ("playback", "sum(events), sum(plays), sum(played_ms)"),
        ("upload", "sum(events), sum(bytes), uniqCombined64Merge(14)(uploads)"),
        ("revenue", "sum(page_visits), sum(orders), sum(revenue_minor)"),
    ] {
        let totals = PANES
            .map(|pane| rows(&format!("SELECT {measures} FROM {database}.{cube} WHERE pane = '{pane}'")));
        assert!(!totals[0][0].starts_with("0\t"), "{cube} is empty, so nothing was compared");
        assert!(totals.iter().all(|total| *total == totals[0]), "{cube}: {totals:?}");
    }
    for cube in ["traffic", "tags", "versions", "experiments", "content"] {
        let wrong = rows(&format!(
            "SELECT countIf(pane = '1d' AND bucket != toStartOfDay(bucket, 'Asia/Kolkata')), \
             countIf(pane = '1h' AND bucket != toStartOfHour(bucket)), count() > 0 FROM {database}.{cube}"
        ));
        assert_eq!(wrong, ["0\t0\t1"], "{cube}");
    }
}
