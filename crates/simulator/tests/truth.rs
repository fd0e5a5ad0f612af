//! Compares the truth with an independent count of the records that were written.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;
use simulator::{
    APP_IDS, Config, ExpectedCode, RawRecord, RecordSummary, Simulator, Timing, Truth, default_activities,
    payload_hash,
};

const NOW: i64 = 1_772_366_400_000;

/// Runs until `events` are sent, at 2 000 records per second of simulated time.
fn run(config: Config, events: u64, mut each: impl FnMut(&RawRecord, RecordSummary, i64)) -> Truth {
    let mut simulator = Simulator::new(config);
    let mut record = RawRecord::default();
    while simulator.counts().sent < events {
        let now_ms = NOW + simulator.counts().records as i64 / 2;
        let sent = simulator.next(now_ms, &mut record);
        each(&record, sent, now_ms);
    }
    simulator.truth()
}

fn config() -> Config {
    Config { devices: 3_000, contents: 500, activities: default_activities(NOW), ..Config::default() }
}

/// The events of a record without invalid events.
fn events_of(record: &RawRecord) -> Vec<Value> {
    match serde_json::from_slice(&record.value).unwrap() {
        Value::Array(events) => events,
        event => vec![event],
    }
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_default()
}

fn schema() -> jsonschema::Validator {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/raw_event.schema.json");
    let schema = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn the_same_seed_and_times_give_the_same_bytes_and_another_seed_other_devices() {
    let bytes = |seed| {
        let mut all = Vec::new();
        let truth = run(Config { seed, ..config() }, 20_000, |record, _, _| {
            all.push(record.clone());
        });
        (all, truth)
    };
    let (first, first_truth) = bytes(7);
    let (second, second_truth) = bytes(7);
    assert_eq!(first, second);
    assert_eq!(first_truth, second_truth);

    let keys =
        |records: &[RawRecord]| records.iter().map(|record| record.key.clone()).collect::<HashSet<_>>();
    let (other, _) = bytes(8);
    let shared: Vec<_> = keys(&first).intersection(&keys(&other)).cloned().collect();
    // A placeholder as ID is the key of its record too.
    let placeholders: [&[u8]; 16] = [
        b"",
        b"null",
        b"undefined",
        b"0",
        b"guest",
        b" UNKNOWN ",
        b"00000000-0000-0000-0000-000000000000",
        b"-1",
        b"(null)",
        b"NaN",
        b"None",
        b"[object Object]",
        b"02:00:00:00:00:00",
        b"ffffffffffffffff",
        b"\\u200b",
        b" ",
    ];
    assert!(shared.iter().all(|key| placeholders.contains(&key.as_slice())), "{shared:?}");
}

#[test]
fn every_sent_event_is_accepted_a_test_a_bot_a_duplicate_or_rejected() {
    let mut elements = 0;
    let mut rejected = 0;
    let mut bytes = 0;
    let truth = run(config(), 60_000, |record, sent, _| {
        elements += u64::from(sent.events);
        rejected += u64::from(sent.rejected);
        bytes += record.value.len() as u64;
    });
    let counts = truth.counts;
    assert_eq!(
        counts.sent,
        counts.accepted + counts.tests + counts.bots + counts.duplicates + counts.rejected
    );
    assert_eq!((counts.sent, counts.rejected, counts.bytes), (elements, rejected, bytes));
    let sum =
        |kind: &str| truth.quality.iter().filter(|cell| cell.kind == kind).map(|cell| cell.events).sum();
    let sums: [u64; 4] = [sum("event"), sum("test"), sum("bot"), sum("duplicate")];
    assert_eq!(sums, [counts.accepted, counts.tests, counts.bots, counts.duplicates]);
    assert_eq!(truth.traffic.iter().map(|cell| cell.events).sum::<u64>(), counts.accepted);
    assert_eq!(truth.rejected_by_code.values().sum::<u64>(), counts.rejected);
    let dead_letters: u64 = truth.dead_letters.values().flat_map(BTreeMap::values).sum();
    assert_eq!(dead_letters, counts.rejected);

    let share = |part: u64| part as f64 / counts.sent as f64;
    assert!((0.015..0.035).contains(&share(counts.duplicates)), "{counts:?}");
    assert!((0.007..0.013).contains(&share(counts.rejected)), "{counts:?}");
    assert!((0.001..0.006).contains(&share(counts.tests)), "{counts:?}");
    assert!((0.0005..0.02).contains(&share(counts.bots)), "{counts:?}");
    assert!(counts.lost > 0);
}

#[test]
fn every_valid_event_satisfies_the_published_schema() {
    let schema = schema();
    let mut names = BTreeSet::new();
    run(Config { bad: 0.0, ..config() }, 12_000, |record, _, _| {
        for event in events_of(record) {
            if let Err(error) = schema.validate(&event) {
                panic!("{error} at {} in {event}", error.instance_path());
            }
            assert!(APP_IDS.contains(&text(&event, "app_id")));
            let anonymous_id = event["anonymous_id"].as_str().unwrap_or_default();
            assert_eq!(record.key, anonymous_id.as_bytes(), "{event}");
            names.insert(text(&event, "event_name").to_owned());
        }
    });
    // The 33 standard names and two others.
    assert_eq!(names.len(), 35, "{names:?}");
}

#[test]
fn cells_and_devices_equal_an_independent_count() {
    let mut events: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    let mut activities: BTreeMap<String, u64> = BTreeMap::new();
    let (mut tests, mut bots) = (0, 0);
    let mut seen = HashSet::new();
    let mut devices: BTreeMap<(String, String, String), HashSet<String>> = BTreeMap::new();
    let truth = run(Config { bad: 0.0, tests: 0.01, ..config() }, 40_000, |record, _, _| {
        for event in events_of(record) {
            let key = (text(&event, "app_id"), text(&event, "anonymous_id"), text(&event, "event_id"));
            if !seen.insert(format!("{key:?}")) {
                continue;
            }
            if event["is_test"] == true {
                tests += 1;
                continue;
            }
            let agent = event["user_agent"].as_str().unwrap_or_default().to_lowercase();
            if ["bot", "spider", "headless"].iter().any(|word| agent.contains(word)) {
                bots += 1;
                continue;
            }
            let cell = ["app_id", "platform", "event_name"].map(|field| text(&event, field).to_owned());
            let cell: (String, String, String) = cell.into();
            if let Some(id) = event["anonymous_id"].as_str() {
                devices.entry(cell.clone()).or_default().insert(id.to_owned());
            }
            *events.entry(cell).or_default() += 1;
            if let Some(id) = event["activity_event_id"].as_str() {
                *activities.entry(id.to_owned()).or_default() += 1;
            }
        }
    });

    assert_eq!((truth.counts.tests, truth.counts.bots), (tests, bots));
    assert!(bots > 0);
    let mut counted: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    for cell in &truth.traffic {
        let key = (cell.app_id.clone(), cell.platform.clone(), cell.event_name.clone());
        let distinct = devices.get(&key).map_or(0, HashSet::len) as u64;
        assert!(cell.devices <= distinct && cell.devices <= cell.events, "{cell:?}");
        *counted.entry(key).or_default() += cell.events;
    }
    assert_eq!(counted, events);
    // If one channel group has all events of a name, it has all devices of that name.
    let mut compared = 0;
    for cell in &truth.traffic {
        let key = (cell.app_id.clone(), cell.platform.clone(), cell.event_name.clone());
        if cell.events == events[&key] {
            assert_eq!(cell.devices, devices.get(&key).map_or(0, HashSet::len) as u64, "{cell:?}");
            compared += 1;
        }
    }
    assert!(compared >= 5, "{compared}");

    let mut touched: BTreeMap<String, u64> = BTreeMap::new();
    let mut statuses = BTreeSet::new();
    for cell in &truth.activity {
        *touched.entry(format!("{}_{}", cell.activity_id, cell.activity_event_key)).or_default() +=
            cell.events;
        assert_eq!(cell.activity_type.is_empty(), cell.activity_status == "unregistered", "{cell:?}");
        statuses.insert(cell.activity_status.clone());
    }
    assert_eq!(touched, activities);
    let expected = ["ok", "outside_dates", "unknown_key", "unregistered", "wrong_app"];
    assert!(statuses.iter().eq(expected), "{statuses:?}");
}

#[test]
fn minutes_count_events_of_correct_clocks_at_their_own_time() {
    let truth = run(config(), 40_000, |_, _, _| {});
    let client = truth.quality.iter().filter(|cell| cell.kind == "event" && cell.time_source == "client");
    let in_minutes: u64 = truth.traffic_minutes.iter().map(|cell| cell.events).sum();
    assert_eq!(in_minutes, client.map(|cell| cell.events).sum::<u64>());
    let sources: BTreeSet<_> = truth.quality.iter().map(|cell| cell.time_source.as_str()).collect();
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), ["clamped", "client", "corrected", "received"]);
    let late = truth.traffic_minutes.iter().filter(|cell| cell.bucket < NOW / 1_000 - 300);
    assert!(late.map(|cell| cell.events).sum::<u64>() > 100);
    assert!(
        truth.traffic_minutes.iter().all(|cell| cell.bucket % 60 == 0 && cell.bucket * 1_000 <= NOW + 60_000)
    );
}

#[test]
fn duplicates_are_the_same_bytes_under_the_same_key_within_half_an_hour() {
    let mut first_seen: HashMap<RawRecord, i64> = HashMap::new();
    let (mut soon, mut later) = (0, 0);
    // 2 records per second, so that the run covers two hours.
    let mut simulator = Simulator::new(Config { duplicates: 0.05, ..config() });
    let mut record = RawRecord::default();
    for _ in 0..15_000 {
        let now_ms = NOW + simulator.counts().records as i64 * 500;
        let sent = simulator.next(now_ms, &mut record);
        if !sent.duplicate {
            first_seen.insert(record.clone(), now_ms);
            continue;
        }
        let age = now_ms - first_seen[&record];
        assert!(age <= 30 * 60_000, "{age}");
        if age < 60_000 { soon += 1 } else { later += 1 }
    }
    assert!(soon > 100 && later > 20, "{soon} soon, {later} later");
}

#[test]
fn every_code_is_provoked_and_its_bytes_are_remembered() {
    let schema = schema();
    let mut records: HashMap<u64, Vec<u8>> = HashMap::new();
    let truth = run(Config { bad: 0.03, arrays: 0.3, ..config() }, 60_000, |record, sent, _| {
        if sent.rejected == 0 {
            return;
        }
        records.insert(payload_hash(&record.value), record.value.clone());
        if let Ok(elements) = serde_json::from_slice::<Vec<&serde_json::value::RawValue>>(&record.value) {
            for element in elements {
                records.insert(payload_hash(element.get().as_bytes()), element.get().as_bytes().to_vec());
            }
        }
    });
    let expected: Vec<_> =
        ExpectedCode::ALL.iter().copied().filter(|&code| code != ExpectedCode::UnknownEvent).collect();
    assert!(truth.dead_letters.keys().copied().eq(expected));

    for (code, counts) in &truth.dead_letters {
        for hash in counts.keys() {
            let bytes = &records[&u64::from_str_radix(hash, 16).unwrap()];
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(600)]);
            let parsed: Result<Value, _> = serde_json::from_slice(bytes);
            let is_right = match code {
                ExpectedCode::Undecodable | ExpectedCode::EnrichmentError => false,
                ExpectedCode::TooLarge => bytes.len() > 256 * 1024,
                ExpectedCode::NotUtf8 => std::str::from_utf8(bytes).is_err(),
                ExpectedCode::MalformedJson => parsed.is_err() || parsed.unwrap() == Value::Array(Vec::new()),
                ExpectedCode::TooDeep => {
                    bytes.iter().filter(|&&byte| byte == b'[' || byte == b'{').count() >= 200
                }
                // The schema accepts 1.0 as a whole number; it rejects all other cases.
                ExpectedCode::MissingField
                | ExpectedCode::InvalidValue
                | ExpectedCode::UnsupportedSchema
                | ExpectedCode::InvalidType => {
                    shown.contains(":1.0,\"")
                        || shown.ends_with(":1.0}")
                        || !schema.is_valid(&parsed.unwrap())
                }
                ExpectedCode::DuplicateKey | ExpectedCode::UnknownApp => schema.is_valid(&parsed.unwrap()),
                ExpectedCode::TooOld => {
                    let original = parsed.unwrap()["original_timestamp"].as_i64().unwrap();
                    original == 0 || original < NOW - 7 * 86_400_000
                }
                ExpectedCode::ForbiddenId | ExpectedCode::InvalidTimestamp | ExpectedCode::UnknownEvent => {
                    parsed.unwrap().is_object()
                }
            };
            assert!(is_right, "{code:?}: {shown}");
        }
    }
}

#[test]
fn unknown_names_are_rejected_only_where_the_policy_says_so() {
    let truth = run(Config { reject_unknown_events: true, bad: 0.02, ..config() }, 20_000, |_, _, _| {});
    assert!(truth.rejected_by_code[&ExpectedCode::UnknownEvent] > 0);
    let custom = ["danmaku_sent", "theme_changed"];
    assert!(truth.traffic.iter().all(|cell| !custom.contains(&cell.event_name.as_str())));
}

#[test]
fn events_fill_a_span_from_start_to_end() {
    let start_ms = NOW - 3 * 86_400_000;
    let timing = Timing::Span { start_ms, end_ms: NOW, events: 20_000 };
    let truth = run(Config { timing, late: 0.0, ..config() }, 20_000, |_, _, _| {});
    let buckets: BTreeSet<_> = truth.traffic_minutes.iter().map(|cell| cell.bucket * 1_000).collect();
    let (first, last) = (*buckets.first().unwrap(), *buckets.last().unwrap());
    assert!(first >= start_ms && first < start_ms + 3_600_000, "{first}");
    assert!(last <= NOW && last > NOW - 3_600_000, "{last}");
}

#[test]
fn the_truth_is_read_back_from_json_and_adds_up_over_seeds() {
    let one = run(Config { seed: 1, ..config() }, 10_000, |_, _, _| {});
    let two = run(Config { seed: 2, ..config() }, 10_000, |_, _, _| {});
    let written = serde_json::to_string(&one).unwrap();
    assert_eq!(serde_json::from_str::<Truth>(&written).unwrap(), one);

    let mut both = one.clone();
    both.add(two.clone());
    assert_eq!(both.counts.accepted, one.counts.accepted + two.counts.accepted);
    let devices = |truth: &Truth| truth.traffic.iter().map(|cell| cell.devices).sum::<u64>();
    assert_eq!(devices(&both), devices(&one) + devices(&two));
    let keys = |truth: &Truth| {
        truth
            .quality
            .iter()
            .map(|cell| {
                format!(
                    "{:?}",
                    (
                        &cell.app_id,
                        &cell.platform,
                        &cell.library,
                        &cell.library_version,
                        &cell.time_source,
                        &cell.kind
                    )
                )
            })
            .collect::<Vec<_>>()
    };
    let cells = keys(&both);
    assert_eq!(cells.iter().collect::<BTreeSet<_>>().len(), cells.len());
}

#[test]
fn records_that_cannot_be_delivered_are_an_error() {
    use simulator::produce::{Error, Target, run};
    let mut simulator = Simulator::new(config());
    let target = Target {
        events: Some(50),
        delivery_timeout: std::time::Duration::from_millis(500),
        ..Target::new("127.0.0.1:1", "raw-events")
    };
    let stop = std::sync::atomic::AtomicBool::new(false);
    let failure = run(&mut simulator, &target, &stop, |_| {}).unwrap_err();
    let Error::Undelivered { failed, .. } = &failure else { panic!("{failure}") };
    assert_eq!(*failed, simulator.counts().records);
}
