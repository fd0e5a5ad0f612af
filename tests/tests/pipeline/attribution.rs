//! Every cell of every cube, every active and retained device and every metric equal an independent reference, over 45
//! business days of late, duplicate, skewed and disordered events, with stages that are stopped and killed meanwhile.

use std::{
    sync::{OnceLock, atomic::AtomicBool},
    thread,
    time::Duration,
};

use devstack::pipeline::{Pipeline, STAGES};
use simulator::{
    Config, Simulator, Timing, Truth,
    produce::{self, Target},
};
use system_tests::{
    ResultSource, WAIT, cells, compare, metrics, now_ms, pipeline_without_topics, raw,
    reference::{
        ContractRules, Reference, ReferenceActivity,
        cubes::CUBES,
        day::day_of,
        metric_query::{MetricQuery, Period},
    },
    settle, simulator, stack, start, start_stages, topic, wait_until_ready,
};

const DAY_MS: i64 = 86_400_000;
const DAYS: i64 = 45;
const EVENTS: u64 = 300_000;

/// Activities with rules; two have a rule for the same events.
fn by_rule(now_ms: i64) -> Vec<ReferenceActivity> {
    let rule = |id: &str, apps: &[&str], days: (i64, i64), event_name: &str, window_ms| ReferenceActivity {
        id: id.to_owned(),
        kind: "template".to_owned(),
        apps: apps.iter().map(|&app| app.to_owned()).collect(),
        starts_at: now_ms + days.0 * DAY_MS,
        ends_at: now_ms + days.1 * DAY_MS,
        keys: vec!["done".to_owned()],
        rule: Some(("done".to_owned(), event_name.to_owned())),
        window_ms,
    };
    vec![
        rule("0-capture", &["pc-recorder"], (-90, 90), "content_captured", 7 * DAY_MS),
        rule("0-share-a", &[], (-20, -10), "share", DAY_MS),
        rule("0-share-b", &[], (-40, 40), "share", 3 * DAY_MS),
    ]
}

fn register(pipeline: &Pipeline, activities: &[ReferenceActivity]) {
    let time = |ms: i64| jiff::Timestamp::from_millisecond(ms).unwrap().to_string();
    let line = |of: &ReferenceActivity| {
        let (key, event_name) = of.rule.as_ref().unwrap();
        let entry = serde_json::json!({
            "activity_id": of.id, "name": of.id, "type": of.kind, "app_ids": of.apps,
            "starts_at": time(of.starts_at), "ends_at": time(of.ends_at), "owner": "tests",
            "events": [{"key": key, "name": key}], "rules": [{"key": key, "event_name": event_name}],
            "attribution_window": format!("{}h", of.window_ms / 3_600_000),
        });
        format!("{entry}\n")
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), activities.iter().map(line).collect::<String>()).unwrap();
    pipeline.millrace(&["activity", "import", file.path().to_str().unwrap()]).unwrap();
}

/// Sends. Records without a key go to one partition, so that they keep their order too.
fn send(pipeline: &Pipeline, simulator: &mut Simulator, events: u64) {
    let mut target = Target::new(stack().brokers(), topic(pipeline, "raw-events"));
    target.events = Some(events);
    target.kafka = vec![("partitioner".to_owned(), "consistent".to_owned())];
    produce::run(simulator, &target, &AtomicBool::new(false), |_| ()).unwrap();
}

/// A pipeline with all events, shared by both tests.
struct ReferenceRun {
    pipeline: Pipeline,
    truth: Truth,
    reference: Reference,
}

fn run() -> &'static ReferenceRun {
    static RUN: OnceLock<ReferenceRun> = OnceLock::new();
    RUN.get_or_init(|| {
        let mut pipeline = pipeline_without_topics("attribution");
        pipeline.set("MILLRACE__INGEST__MAX_EVENT_AGE", "60d");
        pipeline.create().unwrap();
        let now = now_ms();
        let config = Config {
            seed: 51,
            devices: 4_000,
            contents: 3_000,
            concurrent_sessions: 12,
            late: 0.04,
            duplicates: 0.03,
            skewed: 0.05,
            server: 0.02,
            max_event_age_ms: 60 * DAY_MS,
            timing: Timing::Span { start_ms: now - DAYS * DAY_MS, end_ms: now, events: EVENTS },
            ..Config::default()
        };
        let mut simulator = simulator(&pipeline, config);
        let mut activities: Vec<ReferenceActivity> =
            simulator.activities().iter().map(ReferenceActivity::from).collect();
        let ruled = by_rule(now);
        register(&pipeline, &ruled);
        activities.extend(ruled);

        let mut stages = start_stages(&pipeline);
        for ended in ENDED {
            thread::scope(|scope| {
                let sender = scope.spawn(|| send(&pipeline, &mut simulator, EVENTS / ENDED.len() as u64));
                thread::sleep(Duration::from_millis(700));
                restart(&pipeline, &mut stages, ended);
                sender.join().unwrap();
            });
        }
        let truth = simulator.truth();
        settle(&pipeline, &truth, stages);

        let apps = simulator::APP_IDS.iter().map(|&app| app.to_owned()).collect();
        let mut reference = Reference::new(ContractRules { apps, max_event_age_ms: 60 * DAY_MS }, activities);
        raw::records(source(&pipeline)).unwrap().iter().for_each(|record| reference.take(record));
        assert!(reference.events.len() as u64 + reference.rejected.len() as u64 >= EVENTS);
        ReferenceRun { pipeline, truth, reference }
    })
}

fn source(pipeline: &Pipeline) -> ResultSource<'_> {
    ResultSource {
        brokers: stack().brokers(),
        clickhouse_url: stack().clickhouse_url(),
        pipeline: pipeline.name(),
    }
}

#[test]
fn every_cell_of_every_cube_and_every_active_device_equals_an_independent_reference() {
    let ReferenceRun { pipeline, truth, reference } = run();
    let source = source(pipeline);
    let mut differences = cells::of_devices(source, reference).unwrap();
    let mut compared = 0;
    for cube in CUBES {
        for pane in cube.panes {
            let (found, cells) = cells::of_cube(source, cube, pane, &reference.events).unwrap();
            differences.extend(found);
            compared += cells;
        }
    }
    assert!(compared > 1_000_000, "only {compared} cells were compared");
    assert!(differences.is_empty(), "{}", cells::report(&differences));
    // The simulator's truth is a third source; it has no activities with rules.
    let mut by_truth = compare::differences(source, truth).unwrap();
    by_truth.retain(|difference| !difference.what.starts_with("activity"));
    assert_eq!(by_truth, []);
}

#[test]
fn every_metric_equals_an_independent_reference() {
    let ReferenceRun { pipeline, reference, .. } = run();
    let now = now_ms();
    let today = day_of(now);
    let asked = MetricQuery { from: today - DAYS - 1, to: today, now, step: Period::Total };
    let names = metrics::list(pipeline).unwrap();
    assert!(names.len() > 90, "{}", names.len());
    let mut differences = Vec::new();
    let mut ask = |name, step| {
        let (found, compared) = metrics::differences(pipeline, name, step, reference, &asked).unwrap();
        differences.extend(found);
        assert!(compared > 0, "{name:?} has no value, so nothing was compared");
    };
    for name in &names {
        ask(name, None);
        if BY_DAY.contains(&name.0.as_str()) {
            ask(name, Some("day"));
        }
    }
    let first: Vec<String> = differences.iter().take(20).cloned().collect();
    assert!(differences.is_empty(), "{} values differ, such as\n{}", differences.len(), first.join("\n"));
}

/// Metrics that are also queried by day: sums, ratios and those with another time.
const BY_DAY: [&str; 8] = [
    "new_devices",
    "retention_day_1",
    "retention_day_7",
    "sessions_per_device",
    "activity_participants",
    "featured_rate",
    "vip_open_rate",
    "experiment_exposures",
];

/// The stage that is restarted in each round, and whether by kill -9. Enrich has the most state.
const ENDED: [(usize, bool); 6] = [(1, true), (1, false), (2, true), (0, true), (1, true), (2, false)];

/// Stops or kills a stage, and starts it again.
fn restart(pipeline: &Pipeline, stages: &mut [devstack::Process], (stage, killed): (usize, bool)) {
    if killed {
        stages[stage].kill().unwrap();
    } else {
        let status = stages[stage].terminate(WAIT).unwrap();
        assert!(status.success(), "{} ended with {status}", STAGES[stage]);
    }
    stages[stage] = start(pipeline, STAGES[stage], "0");
    wait_until_ready(&mut stages[stage]);
}
