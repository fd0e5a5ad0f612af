//! The examples of the client guide are correct: ingest and the JSON Schema accept every JSON block of
//! `schemas/README.md`, and the blocks contain an event of each family of standard events.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use event::Verdict;
use ingest::{Decision, EventPolicy, KeyOrder, decide};
use serde_json::Value;
use std::{collections::BTreeSet, convert::Infallible, time::Duration};

const GUIDE: &str = include_str!("../../../schemas/README.md");
const SCHEMA: &str = include_str!("../../../schemas/raw_event.schema.json");
/// 2026-03-02T12:00:00Z
const RECEIVED_AT: i64 = 1_772_452_800_000;

fn blocks() -> Vec<&'static str> {
    let parts = GUIDE.split("```json\n").skip(1);
    parts.map(|part| part.split("```").next().unwrap()).collect()
}

fn elements(block: &str) -> Vec<Value> {
    match serde_json::from_str(block).unwrap_or_else(|error| panic!("{error} in\n{block}")) {
        Value::Array(elements) => elements,
        event => vec![event],
    }
}

#[test]
fn every_event_of_the_guide_is_accepted_with_the_time_of_its_device() {
    let schema = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let apps = ["web-main", "app-main", "pc-recorder"].map(str::to_owned);
    let policy = EventPolicy::new(apps, false, Duration::from_secs(7 * 86_400));
    assert!(blocks().len() >= 12, "the guide has fewer than 12 examples");
    for block in blocks() {
        let mut accepted = 0;
        let Ok(()) = decide(
            Some(block.as_bytes()),
            RECEIVED_AT,
            &policy,
            &mut KeyOrder::default(),
            |decision: Decision<'_, '_>| {
                match decision.verdict {
                    Verdict::Emit(facts) => assert_eq!(facts.time.source.as_str(), "client", "{block}"),
                    Verdict::Reject(rejection) => panic!("{rejection:?} in\n{block}"),
                }
                accepted += 1;
                Ok::<_, Infallible>(())
            },
        );
        let elements = elements(block);
        assert_eq!(accepted, elements.len());
        for event in elements {
            assert!(schema.is_valid(&event), "the schema rejects {event:#}");
        }
    }
}

#[test]
fn event_ids_in_the_guide_are_unique_and_no_family_is_missing() {
    let events: Vec<Value> = blocks().into_iter().flat_map(elements).collect();
    let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    let ids: BTreeSet<String> = events.iter().map(|event| text(event, "event_id")).collect();
    assert_eq!(ids.len(), events.len());
    let names: BTreeSet<String> = events.iter().map(|event| text(event, "event_name")).collect();
    for name in [
        "app_open",
        "first_open",
        "page_view",
        "screen_view",
        "login",
        "content_published",
        "playback_started",
        "playback_ping",
        "playback_ended",
        "upload_step",
        "vip_page_viewed",
        "vip_opened",
        "gift_sent",
        "activity_event",
        "experiment_exposed",
        "creator_level_changed",
        "ad_clicked",
        "content_distributed",
        "image_processed",
    ] {
        assert!(names.contains(name), "the guide has no {name}");
    }
}
