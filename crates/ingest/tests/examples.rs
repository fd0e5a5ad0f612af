//! The JSON Schema and ingest give the same verdict on every file of `schemas/examples`, and on random changes of a valid
//! event. `schemas/examples/expected.json` describes its own format.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests may panic and read files"
)]

use event::{FIELD_LIMITS, FieldLimit, Limits, Verdict};
use ingest::{EventPolicy, decide};
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};
use std::{collections::BTreeSet, convert::Infallible, fs, path::PathBuf, time::Duration};

const WEEK: Duration = Duration::from_secs(7 * 86_400);

fn schemas() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../schemas")
}

fn json_file(path: &str) -> Value {
    serde_json::from_slice(&fs::read(schemas().join(path)).unwrap()).unwrap()
}

fn schema() -> jsonschema::Validator {
    let schema = json_file("raw_event.schema.json");
    assert!(jsonschema::meta::is_valid(&schema));
    jsonschema::validator_for(&schema).unwrap()
}

fn millis(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// The verdict of ingest on one event.
#[derive(Debug)]
struct Outcome {
    /// `accept`, or the code of the rejection.
    verdict: &'static str,
    pointer: String,
    bytes: Vec<u8>,
    event_time: i64,
    time_source: &'static str,
}

fn outcomes(record: &[u8], policy: &EventPolicy, received_at: i64) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let Ok(()) = decide(Some(record), received_at, policy, &mut ingest::KeyOrder::default(), |decision| {
        let bytes = decision.bytes.to_vec();
        outcomes.push(match decision.verdict {
            Verdict::Emit(facts) => Outcome {
                verdict: "accept",
                pointer: String::new(),
                bytes,
                event_time: facts.time.event_time,
                time_source: facts.time.source.as_str(),
            },
            Verdict::Reject(rejection) => Outcome {
                verdict: rejection.code.as_str(),
                pointer: rejection.pointer.into_owned(),
                bytes,
                event_time: 0,
                time_source: "",
            },
        });
        Ok::<_, Infallible>(())
    });
    outcomes
}

/// Compares the verdicts of ingest and schema on one event with the expected one. Returns every difference.
fn compare(
    name: &str,
    expected: &Value,
    verdict: &str,
    found: &Outcome,
    schema: &jsonschema::Validator,
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |what: String| faults.push(format!("{name}: {what}"));
    if found.verdict != verdict {
        fault(format!("ingest says {} at {:?} instead of {verdict}", found.verdict, found.pointer));
    }
    match expected["pointer"].as_str() {
        Some(pointer) if pointer != found.pointer => {
            fault(format!("pointer {:?}, not {pointer:?}", found.pointer))
        }
        None if verdict != "accept" => fault("expected.json names no pointer".into()),
        _ => (),
    }
    if let Some(time) = expected["event_time"].as_str()
        && (millis(time) != found.event_time || expected["time_source"] != found.time_source)
    {
        fault(format!("event_time {} from {}", found.event_time, found.time_source));
    }
    if expected["schema_blind"] != true {
        match serde_json::from_slice::<Value>(&found.bytes) {
            Err(error) => fault(format!("cannot be shown to the schema: {error}")),
            Ok(event) if schema.is_valid(&event) != (verdict == "accept") => {
                fault(format!("the schema disagrees with {verdict}"));
            }
            Ok(_) => (),
        }
    }
    faults
}

#[test]
fn schema_and_ingest_give_every_example_the_verdict_in_its_name() {
    let (schema, expected) = (schema(), json_file("examples/expected.json"));
    let settings = &expected["settings"];
    assert_eq!(settings["max_event_age"], "7d");
    let received_at = millis(settings["received_at"].as_str().unwrap());
    let apps: Vec<String> = serde_json::from_value(settings["apps"].clone()).unwrap();
    let files = expected["files"].as_object().unwrap();
    let mut faults = Vec::new();
    for (name, expected) in files {
        let policy = expected.get("event_policy").unwrap_or(&settings["event_policy"]);
        let policy = EventPolicy::new(apps.clone(), policy == "reject", WEEK);
        let record = fs::read(schemas().join(format!("examples/{name}.json"))).unwrap();
        let found = outcomes(&record, &policy, received_at);
        let (verdict, _) = name.split_once('.').unwrap();
        let elements = if verdict == "array" {
            let elements = expected["elements"].as_array().unwrap().clone();
            assert!(!elements.is_empty(), "{name}");
            elements
        } else {
            let mut whole = expected.clone();
            whole["verdict"] = verdict.into();
            vec![whole]
        };
        if elements.len() != found.len() {
            faults.push(format!("{name}: {} verdicts, not {}", found.len(), elements.len()));
        }
        for (element, found) in elements.iter().zip(&found) {
            faults.extend(compare(name, element, element["verdict"].as_str().unwrap(), found, &schema));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_example_has_an_expectation_and_every_code_of_ingest_an_example() {
    let expected = json_file("examples/expected.json");
    let listed: BTreeSet<String> =
        expected["files"].as_object().unwrap().keys().map(|name| format!("{name}.json")).collect();
    let mut there: BTreeSet<String> = fs::read_dir(schemas().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    there.remove("expected.json");
    assert_eq!(listed, there);
    assert!(there.len() >= 120);
    // No record is the cause of these two; the tests of their stages produce them.
    let other_stages = [event::RejectCode::EnrichmentError, event::RejectCode::Undecodable];
    for code in event::RejectCode::ALL.iter().filter(|code| !other_stages.contains(code)) {
        let prefix = format!("{code}.");
        assert!(there.iter().any(|name| name.starts_with(&prefix)), "{code} has no example");
    }
}

#[test]
fn the_schema_has_the_limit_of_every_listed_field() {
    let schema = json_file("raw_event.schema.json");
    for &(pointer, limit) in FIELD_LIMITS {
        let path = pointer.replace('/', "/properties/");
        let field = schema.pointer(&path).unwrap_or_else(|| panic!("no {pointer}"));
        let characters = field["maxLength"].as_u64();
        let numbers = field["minimum"].as_i64().zip(field["maximum"].as_i64());
        let expected = match limit {
            FieldLimit::Characters(most) => (Some(most as u64), None),
            FieldLimit::CutCharacters(most) => {
                let words = format!("ut to {most} characters");
                assert!(field["description"].as_str().unwrap().contains(&words), "{pointer}: {words}");
                (None, None)
            }
            FieldLimit::WholeNumber(least, most) => (None, Some((least, most))),
        };
        assert_eq!((characters, numbers), expected, "{pointer}");
    }
    let experiments = &schema["properties"]["experiments"];
    let (tags, properties) =
        (&schema["properties"]["content"]["properties"]["tags"], &schema["properties"]["properties"]);
    for (found, expected) in [
        (&experiments["maxProperties"], Limits::EXPERIMENTS),
        (&experiments["additionalProperties"]["maxLength"], Limits::EXPERIMENT_CHARACTERS),
        (&experiments["propertyNames"]["maxLength"], Limits::EXPERIMENT_CHARACTERS),
        (&tags["maxItems"], Limits::TAGS),
        (&tags["items"]["maxLength"], Limits::TAG_CHARACTERS),
        (&properties["maxProperties"], Limits::PROPERTIES_KEYS),
    ] {
        assert_eq!(found.as_u64(), Some(expected as u64));
    }
}

/// A change of one field of an event, or of the event itself.
#[derive(Debug, Clone)]
enum Change {
    Drop,
    Set(Value),
    /// Sets a text of this length.
    Stretch(usize),
    AddKey(String, Value),
}

fn any_value() -> impl Strategy<Value = Value> {
    let interesting = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(""),
        json!(" "),
        json!("0"),
        json!("null"),
        json!("Guest"),
        json!("活动"),
        json!("a_b"),
        json!("A-1_b-2"),
        json!("a_b_c"),
        json!("2-0-0"),
        json!("1-2-3"),
        json!("1-0"),
        json!("web"),
        json!("server"),
        json!("ios"),
        json!("h5"),
        json!("mini_program"),
        json!("login"),
        json!("content_view"),
        json!("playback_ping"),
        json!("upload_step"),
        json!("vip_opened"),
        json!("creator_level_changed"),
        json!("page_view"),
        json!("done"),
        json!("pgc"),
        json!("web_upload"),
        json!([]),
        json!(["a"]),
        json!(["a", 1]),
        json!([[[[[[[[[1]]]]]]]]]),
        json!({}),
        json!({"id": "x"}),
        json!({"url": "u"}),
        json!({"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {}}}}}}}}}),
        json!("2026-03-02T11:59:00Z"),
        json!("2026-03-02T11:59:00+08:00"),
        json!("2026-03-02T11:59:00"),
        json!("2026-03-02"),
        json!(1_772_452_000_000_i64),
        json!("00000000-0000-0000-0000-000000000000"),
        json!("01957B6E-5a3c-7d21-9c40-3f6a1b2c4d5f"),
        json!("01957B6E5a3c7d219c403f6a1b2c4d5f"),
    ];
    prop_oneof![8 => prop::sample::select(interesting.to_vec()), 1 => ".{0,70}".prop_map(Value::from), 1 => any::<i64>().prop_map(Value::from)]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::Drop),
        any_value().prop_map(Change::Set),
        prop::sample::select(vec![31, 32, 33, 64, 65, 128, 129, 256, 257, 1024, 1025, 4096, 4097])
            .prop_map(Change::Stretch),
        ("[a-z_]{1,12}", any_value()).prop_map(|(key, value)| Change::AddKey(key, value)),
    ]
}

/// JSON pointers to the event, its fields, and the fields of its objects.
fn paths(event: &Value) -> Vec<String> {
    let mut paths = vec![String::new()];
    for (key, value) in event.as_object().unwrap() {
        paths.push(format!("/{key}"));
        if let Some(object) = value.as_object() {
            paths.extend(object.keys().map(|inner| format!("/{key}/{inner}")));
        }
    }
    paths
}

fn apply(event: &mut Value, at: &Index, change: &Change) {
    let paths = paths(event);
    let path = at.get(&paths);
    match (event.pointer_mut(path), change) {
        (Some(Value::Object(object)), Change::AddKey(key, value)) => {
            object.insert(key.clone(), value.clone());
        }
        (Some(place), Change::Set(value)) if !path.is_empty() => *place = value.clone(),
        (Some(place), Change::Stretch(length)) if !path.is_empty() => {
            *place = "活".repeat(*length).into();
        }
        (Some(_), Change::Drop) => {
            if let Some((parent, key)) = path.rsplit_once('/')
                && let Some(Value::Object(parent)) = event.pointer_mut(parent)
            {
                parent.remove(key);
            }
        }
        _ => (),
    }
}

/// A valid event that uses every field of the contract.
fn full_event(name: &str, platform: &str) -> Value {
    json!({
        "schema_version": "1-0-0", "event_id": "01957b6e-5a3c-7d21-9c40-3f6a1b2c4d5e", "event_name": name, "app_id": "web-main",
        "platform": platform, "app_version": "7.4.1", "original_timestamp": "2026-03-02T11:59:58.250Z",
        "sent_at": 1_772_452_799_000_i64, "anonymous_id": "b0c6f2a4", "user_id": "u-1", "session_id": "s-1", "event_index": 7,
        "is_test": false, "locale": "zh-CN", "timezone": "Asia/Shanghai",
        "device": {"id": "d", "manufacturer": "Xiaomi", "model": "m", "type": "phone", "os_name": "Android", "os_version": "14",
            "screen_width": 1080, "screen_height": 2400, "network_type": "wifi"},
        "user_agent": "Mozilla/5.0", "ip": "203.0.113.7",
        "page": {"url": "https://www.example.com/", "path": "/", "title": "t", "referrer": "r", "page_type": "home"},
        "screen": {"name": "main"},
        "campaign": {"source": "weibo", "medium": "social", "name": "n", "term": "t", "content": "c", "id": "i"},
        "click_id": "k", "click_id_type": "gclid", "install_source": "huawei", "activity_event_id": "A-1_b",
        "content": {"id": "c", "type": "video", "source": "web_upload", "author_id": "a", "producer_type": "ugc",
            "category": "music", "tags": ["a", "b"], "duration_ms": 1000, "published_at": "2026-03-01T00:00:00Z"},
        "playback": {"id": "p", "state": "playing", "position_ms": 1, "played_ms": 2, "quality": "q", "rebuffer_ms": 3},
        "upload": {"id": "u", "step": "done", "bytes": 1, "duration_ms": 2, "error_code": "e"},
        "commerce": {"order_id": "o", "product_id": "p", "product_type": "vip", "quantity": 1, "revenue_minor": -5,
            "currency": "CNY", "entry_point": "mobile", "gift_id": "g", "receiver_id": "r"},
        "creator": {"id": "c", "level": "4", "previous_level": "3"}, "experiments": {"player": "b"},
        "properties": {"n": 1, "deep": {"a": [1, {"b": null}]}}, "library": {"name": "millrace-js", "version": "1"},
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// The schema does not know the clock, the configuration, or how a number is written; those differences are skipped.
    #[test]
    fn schema_and_ingest_agree_on_any_change_of_a_valid_event(
        name in prop::sample::select(vec!["page_view", "login", "content_view", "playback_ping", "upload_step", "gift_sent", "creator_level_changed"]),
        platform in prop::sample::select(vec!["web", "h5", "ios", "android", "pc", "mini_program", "server"]),
        changes in prop::collection::vec((any::<Index>(), change()), 0..4),
    ) {
        thread_local! { static SCHEMA: jsonschema::Validator = schema(); }
        let mut event = full_event(name, platform);
        for (at, change) in &changes {
            apply(&mut event, at, change);
        }
        let record = event.to_string();
        let policy = EventPolicy::new([], false, WEEK);
        let found = outcomes(record.as_bytes(), &policy, millis("2026-03-02T12:00:00Z"));
        prop_assert_eq!(found.len(), 1);
        let found = &found[0];
        if changes.is_empty() {
            prop_assert_eq!(found.verdict, "accept");
        }
        let whole_number_with_a_point = record.contains("1e+300") || record.contains("1e300");
        let schema_is_blind = found.verdict == "too_old" || whole_number_with_a_point;
        if !schema_is_blind {
            let accepted = SCHEMA.with(|schema| schema.is_valid(&event));
            prop_assert_eq!(accepted, found.verdict == "accept", "{} at {:?}: {}", found.verdict, found.pointer, record);
        }
    }
}
