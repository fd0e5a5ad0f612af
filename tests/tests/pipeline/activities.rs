//! The activity registry: a change reaches every enrich process, events count by rule, and the history has who changed
//! what, when, and what did not happen. `cargo bench-recovery` measures how soon a change is seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    time::Duration,
};

use devstack::pipeline::Pipeline;
use event::{Batch, Field, partition_for};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::{Value, json};
use system_tests::{WAIT, eventually, metric, now_ms, pipeline, stack, start, topic, wait_until_ready};

/// As the pipelines of these tests have them.
const PARTITIONS: i32 = 4;

fn kafka() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stack().brokers());
    config
}

fn reader(pipeline: &Pipeline, name: &str, partitions: i32) -> BaseConsumer {
    let consumer: BaseConsumer = kafka()
        .set("group.id", "reader")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "20")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(&topic(pipeline, name), partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    consumer
}

/// An enriched event: the fields that these tests compare.
#[derive(Debug, Clone)]
struct Enriched {
    partition: i32,
    step: String,
    activity: [String; 4],
}

impl Enriched {
    fn status(&self) -> &str {
        &self.activity[3]
    }
}

/// Clients, one for each partition, and the enriched events.
struct Clients {
    producer: BaseProducer,
    raw: String,
    devices: Vec<String>,
    events: u64,
    /// The step of the test, as the page title of its events.
    step: u64,
    enriched: BaseConsumer,
    seen: Vec<Enriched>,
}

impl Clients {
    fn new(pipeline: &Pipeline) -> Self {
        let device = |partition| {
            let mut names = (0..).map(|number| format!("device-{number}"));
            let goes_to = |name: &String| {
                partition_for(format!("web-main:{name}").as_bytes(), PARTITIONS as u32) == partition
            };
            names.find(goes_to).unwrap()
        };
        Self {
            producer: kafka().set("linger.ms", "0").create().unwrap(),
            raw: topic(pipeline, "raw-events"),
            devices: (0..PARTITIONS as u32).map(device).collect(),
            events: 0,
            step: 0,
            enriched: reader(pipeline, "enriched-events", PARTITIONS),
            seen: Vec::new(),
        }
    }

    /// One event of each client: to a page, or one that names an activity.
    fn send(&mut self, page: &str, activity_event_id: Option<&str>) {
        for device in &self.devices {
            self.events += 1;
            let mut event = json!({
                "schema_version": "1-0-0", "event_id": format!("00000000-0000-7000-8000-{:012x}", self.events),
                "event_name": "page_view", "app_id": "web-main", "platform": "h5",
                "original_timestamp": now_ms(), "anonymous_id": device,
                "page": {"url": format!("https://www.example.tv{page}"), "path": page, "title": self.step.to_string()},
                "library": {"name": "test", "version": "1"},
            });
            if let Some(id) = activity_event_id {
                event["event_name"] = "activity_event".into();
                event["activity_event_id"] = id.into();
            }
            let payload = event.to_string();
            self.producer.send(BaseRecord::to(&self.raw).key(device).payload(&payload)).unwrap();
        }
        self.producer.flush(WAIT).unwrap();
    }

    /// Reads the enriched events that have arrived.
    fn read(&mut self) {
        while let Some(message) = self.enriched.poll(Duration::from_millis(20)) {
            let message = message.unwrap();
            let batch = Batch::decode(message.payload().unwrap()).unwrap();
            for row in 0..batch.rows() {
                let text = |field| batch.text(field, row).to_owned();
                let activity =
                    [Field::ActivityId, Field::ActivityEventKey, Field::ActivityType, Field::ActivityStatus];
                self.seen.push(Enriched {
                    partition: message.partition(),
                    step: text(Field::PageTitle),
                    activity: activity.map(text),
                });
            }
        }
    }

    /// Sends and reads until every partition has an event with the expected activity. From then on all events of the
    /// partition must have it.
    fn until(&mut self, page: &str, activity_event_id: Option<&str>, expected: [&str; 4]) {
        self.step += 1;
        let (step, first) = (self.step.to_string(), self.seen.len());
        let mut changed: BTreeSet<i32> = BTreeSet::new();
        eventually(&format!("{expected:?} in every partition"), WAIT, || {
            self.send(page, activity_event_id);
            self.read();
            changed = self.seen[first..]
                .iter()
                .filter(|e| e.step == step && e.activity == expected)
                .map(|e| e.partition)
                .collect();
            (changed.len() == PARTITIONS as usize).then_some(())
        });
        self.send(page, activity_event_id);
        eventually("all events of the step enriched", WAIT, || {
            self.read();
            (self.seen.len() as u64 == self.events).then_some(())
        });
        let mut has_changed: BTreeMap<i32, bool> = BTreeMap::new();
        for event in self.seen[first..].iter().filter(|event| event.step == step) {
            let has_changed = has_changed.entry(event.partition).or_default();
            *has_changed |= event.activity == expected;
            assert!(!*has_changed || event.activity == expected, "{event:?} is older than {expected:?}");
        }
    }
}

fn ask(pipeline: &Pipeline, line: &[&str]) -> Value {
    let printed = run(pipeline, &[line, &["--json"]].concat());
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{line:?}: {error}: {printed}"))
}

fn run(pipeline: &Pipeline, line: &[&str]) -> String {
    pipeline.millrace(&[&["activity"], line].concat()).unwrap_or_else(|error| panic!("{error}"))
}

/// The error of a command that must fail.
fn error_of(pipeline: &Pipeline, line: &[&str]) -> String {
    match pipeline.millrace(&[&["activity"], line].concat()) {
        Ok(printed) => panic!("{line:?} did not fail: {printed}"),
        Err(error) => error.to_string(),
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn a_change_reaches_every_enrich_process_and_events_count_by_rule_until_the_end() {
    let pipeline = pipeline("activity_rules");
    let mut stages: Vec<_> = [("ingest", "0"), ("enrich", "0"), ("enrich", "1")]
        .map(|(stage, instance)| start(&pipeline, stage, instance))
        .into();
    stages.iter_mut().for_each(wait_until_ready);
    let mut clients = Clients::new(&pipeline);
    // Both processes have partitions before the first change.
    eventually("read by both enrich processes", WAIT, || {
        clients.send("/draw/1", None);
        clients.read();
        let working =
            |stage: usize| metric(&stages[stage], "millrace_enrich_events_total{kind=\"event\"}") > 0.0;
        (working(1) && working(2)).then_some(())
    });
    assert!(clients.seen.iter().all(|event| event.status().is_empty()), "{:?}", clients.seen.last());

    run(
        &pipeline,
        &[
            "create",
            "--id",
            "summer",
            "--name",
            "夏日抽奖",
            "--type",
            "template",
            "--event",
            "draw=Draw",
            "--rule",
            r#"key=draw,event=page_view,where={"page_path":{"prefix":"/draw"}}"#,
        ],
    );
    let ok = ["summer", "draw", "template", "ok"];
    clients.until("/x", Some("summer_draw"), ok);

    // Without an ID: by rule, and only what the rule says.
    clients.until("/draw/2", None, ok);
    clients.until("/home", None, [""; 4]);
    clients.until("/draw", Some("nowhere_join"), ["nowhere", "join", "", "unregistered"]);

    // A rule of a later change.
    let entry = json!({"activity_id": "autumn", "rules": [{"key": "see", "event_name": "page_view",
        "where": {"page_path": "/home", "platform": ["h5", "web"]}}]});
    run(&pipeline, &["import", file(&entry.to_string()).path().to_str().unwrap()]);
    clients.until("/home", None, ["autumn", "see", "custom", "ok"]);

    run(&pipeline, &["end", "summer", "--reason", "out of prizes", "--by", "bob"]);
    clients.until("/x", Some("summer_draw"), ["summer", "draw", "template", "outside_dates"]);
    // Outside its dates a rule does not apply.
    clients.until("/draw/3", None, [""; 4]);

    for stage in &stages[1..] {
        let counts = ["millrace_enrich_activities ", "millrace_enrich_activity_rules "];
        assert_eq!(counts.map(|name| metric(stage, name)), [2.0, 2.0]);
        eventually("read recently", WAIT, || {
            (metric(stage, "millrace_enrich_registry_age_seconds ") < 10.0).then_some(())
        });
    }
    devstack::pipeline::stop(&mut stages).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn an_export_can_be_imported_and_the_history_has_who_changed_what_and_when() {
    let mut pipeline = pipeline("activity_history");
    pipeline.set("MILLRACE_USER", "alice");
    let before_ms = now_ms();
    let rules = file(r#"[{"key":"visit","event_name":"screen_view","where":{"screen_name":"vip"}}]"#);
    let created = ask(
        &pipeline,
        &[
            "create",
            "--id",
            "vip-festival",
            "--name",
            "VIP festival",
            "--type",
            "template",
            "--app",
            "web-main",
            "--starts",
            "2026-08-01T00:00:00+08:00",
            "--ends",
            "2099-01-01T00:00:00Z",
            "--owner",
            "growth",
            "--event",
            "open=Opens VIP",
            "--attribution-window",
            "7d",
            "--rule-file",
            rules.path().to_str().unwrap(),
        ],
    );
    assert_eq!(
        created["events"],
        json!([{"key": "open", "name": "Opens VIP"}, {"key": "visit", "name": ""}])
    );
    run(&pipeline, &["create", "--id", "second", "--name", "Second"]);
    assert_eq!(ask(&pipeline, &["show", "vip-festival"]), created);
    let shown = run(&pipeline, &["show", "vip-festival"]);
    assert!(
        shown.contains("vip-festival_open") && shown.contains(r#"screen_view where screen_name = "vip""#),
        "{shown}"
    );

    // Exported and imported again: neither the registry nor the history changes.
    let exported = run(&pipeline, &["export"]);
    assert_eq!(exported.lines().count(), 2, "{exported}");
    let same = ask(&pipeline, &["import", file(&exported).path().to_str().unwrap()]);
    assert_eq!(same["counts"], json!({"created": 0, "updated": 0, "unchanged": 2}));
    // An array, changed by hand.
    let mut entries: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    entries[0]["owner"] = "ops".into();
    entries.push(json!({"activity_id": "third", "name": "Third"}));
    let changed = file(&serde_json::to_string_pretty(&entries).unwrap());
    let path = changed.path().to_str().unwrap();
    let planned = ask(&pipeline, &["import", path, "--dry-run"]);
    assert_eq!((&planned["dry_run"], &planned["counts"]["updated"]), (&json!(true), &json!(1)));
    assert_eq!(run(&pipeline, &["export"]), exported, "a dry run changes nothing");
    let done = ask(&pipeline, &["import", path, "--by", "bob", "--reason", "handover"]);
    assert_eq!(done["counts"], json!({"created": 1, "updated": 1, "unchanged": 1}));
    let ended = ask(&pipeline, &["end", "vip-festival", "--reason", "sold out"]);
    let after_ms = now_ms();

    let history = ask(&pipeline, &["history"]);
    let facts: Vec<[&str; 4]> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|change| ["who", "activity_id", "action", "state"].map(|field| change[field].as_str().unwrap()))
        .collect();
    assert_eq!(facts.len(), 5, "{facts:?}");
    assert_eq!(
        facts[..2],
        [["alice", "vip-festival", "create", "done"], ["alice", "second", "create", "done"]]
    );
    let mut imported = facts[2..4].to_vec();
    imported.sort_unstable();
    assert_eq!(imported, [["bob", "second", "import", "done"], ["bob", "third", "import", "done"]]);
    assert_eq!(facts[4], ["alice", "vip-festival", "end", "done"]);
    for change in history.as_array().unwrap() {
        let at: jiff::Timestamp = change["at"].as_str().unwrap().parse().unwrap();
        assert!((before_ms..=after_ms).contains(&at.as_millisecond()), "{change}");
    }
    let second = ask(&pipeline, &["history", "second"]);
    assert_eq!(second.as_array().unwrap().len(), 2);
    assert_eq!(second[1]["changes"], json!({"owner": {"old": null, "new": "ops"}}));
    assert_eq!((&second[1]["reason"], &second[1]["changed"]), (&json!("handover"), &json!(["owner"])));
    let end = &ask(&pipeline, &["history", "vip-festival"])[1];
    assert_eq!(end["changes"], json!({"ends_at": {"old": "2099-01-01T00:00:00Z", "new": ended["ends_at"]}}));
    assert_eq!((&end["before"], &end["after"]), (&created, &ended));
    let table = run(&pipeline, &["history", "vip-festival"]);
    assert!(table.contains("2099-01-01T00:00:00Z → 20") && table.contains("sold out"), "{table}");

    // Imported into an empty registry and exported again: the same text.
    let copy = system_tests::pipeline("activity_copy");
    let exported = run(&pipeline, &["export"]);
    run(&copy, &["import", file(&exported).path().to_str().unwrap()]);
    assert_eq!(run(&copy, &["export"]), exported);
}

#[test]
fn a_command_that_fails_says_what_to_do_and_changes_nothing() {
    let pipeline = pipeline("activity_errors");
    run(&pipeline, &["create", "--id", "summer-draw", "--name", "Summer draw", "--by", "alice"]);
    run(&pipeline, &["end", "summer-draw", "--by", "alice"]);
    let exported = run(&pipeline, &["export"]);
    let bad = file(concat!(
        "{\"activity_id\":\"fine\"}\n",
        "{\"activity_id\":\"late\",\"starts_at\":\"tomorrow\"}\n",
        "{\"activity_id\":\"rule\",\"rules\":[{\"key\":\"k\",\"event_name\":\"page_view\",\"where\":{\"page_pat\":\"/\"}}]}\n",
    ));
    let bad = bad.path().to_str().unwrap();
    for (line, said) in [
        (
            &["show", "sumer-draw"][..],
            &["there is no activity `sumer-draw`; the nearest is `summer-draw`"][..],
        ),
        (&["history", "sumer-draw"], &["the nearest is `summer-draw`"]),
        (&["end", "summer"], &["there is no activity `summer`"]),
        (
            &["end", "summer-draw"],
            &["activity summer-draw already ended at 20", "import it with another ends_at"],
        ),
        (&["create", "--id", "summer-draw", "--name", "x"], &["activity summer-draw already exists"]),
        (&["create", "--name", "x", "--rule", "key=k,event=P"], &["event_name = \"P\""]),
        (
            &["import", bad],
            &[
                "line 2: starts_at: \"tomorrow\" is not RFC 3339",
                "line 3: rules[0] (key \"k\"): there is no field `page_pat`",
                "the nearest is `page_path`",
                "2 entries are invalid; nothing was changed",
            ],
        ),
        (&["import", "/nowhere.jsonl"], &["/nowhere.jsonl: No such file"]),
    ] {
        let errors = error_of(&pipeline, line);
        for said in said {
            assert!(errors.contains(said), "{line:?}: {errors}");
        }
    }
    let mut without = pipeline.clone();
    without.set("MILLRACE__CLICKHOUSE__URL", "http://127.0.0.1:1");
    let errors = error_of(&without, &["create", "--id", "unseen", "--name", "x"]);
    assert!(errors.contains("nothing was changed, because the history cannot be written"), "{errors}");
    let mut unmigrated = pipeline.clone();
    unmigrated.set("MILLRACE__CLICKHOUSE__DATABASE", "nowhere");
    let errors = error_of(&unmigrated, &["create", "--id", "unseen", "--name", "x"]);
    assert!(errors.contains("run `millrace migrate`"), "{errors}");
    assert_eq!(run(&pipeline, &["export"]), exported);

    // Kafka rejects a change that the history has already: the history says that it did not happen.
    let topic = topic(&pipeline, "activities");
    let admin: AdminClient<DefaultClientContext> = kafka().create().unwrap();
    let limit = |bytes: &str| {
        let change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("max.message.bytes", bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(admin.alter_configs([&change], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    };
    limit("10");
    eventually("rejected by kafka", WAIT, || {
        let attempt =
            pipeline.millrace(&["activity", "create", "--id", "lost", "--name", "x", "--by", "carol"]);
        let Err(error) = attempt else { panic!("kafka took a record that is too large") };
        error.to_string().contains("kafka confirmed 0 of 1 changes").then_some(())
    });
    limit("8388608");
    let lost = &ask(&pipeline, &["history", "lost"])[0];
    assert_eq!(
        (&lost["who"], &lost["state"]),
        (&json!("carol"), &json!("not done: unconfirmed and not in the registry"))
    );
    assert_eq!(run(&pipeline, &["export"]), exported);
    assert_eq!(ask(&pipeline, &["history", "summer-draw"]).as_array().unwrap().len(), 2);
}
