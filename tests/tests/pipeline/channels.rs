//! `millrace channel`: why an event has its channel, and which recent events a changed file of rules would give another
//! channel.

use devstack::pipeline::Pipeline;
use enrich::channel::BUILT_IN;
use serde_json::Value;
use simulator::Config;
use system_tests::{WAIT, eventually, pipeline, send, simulator, start, wait_until_ready};

const EVENTS: u64 = 6_000;

fn millrace(pipeline: &Pipeline, args: &[&str]) -> String {
    pipeline.millrace(args).unwrap_or_else(|error| panic!("{args:?}: {error}"))
}

fn enriched(pipeline: &Pipeline) -> Vec<Value> {
    let lines = millrace(pipeline, &["cat", "enriched-events"]);
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn has(event: &Value, field: &str, part: &str) -> bool {
    event[field].as_str().is_some_and(|text| text.contains(part))
}

/// Whether the event has no evidence with a higher priority than its referrer.
fn is_decided_by_referrer(event: &Value) -> bool {
    let fields = ["campaign_source", "campaign_medium", "campaign_name", "click_id_type"];
    let parameters = ["utm_", "pk_", "mtm_", "clid=", "bd_vid=", "qz_gdt="];
    fields.iter().all(|field| event[field].is_null())
        && !parameters.iter().any(|parameter| has(event, "page_url", parameter))
        && (event["is_new_device"].is_null() || event["install_source"].is_null())
}

#[test]
fn channel_diff_shows_the_effect_of_a_changed_file_of_rules() {
    let pipeline = pipeline("channels");
    let mut simulator = simulator(&pipeline, Config { seed: 7, ..Config::default() });
    send(&pipeline, &mut simulator, EVENTS, None);
    let mut stages = ["ingest", "enrich"].map(|stage| start(&pipeline, stage, "0"));
    stages.iter_mut().for_each(wait_until_ready);
    let accepted = (simulator.truth().counts.sent - simulator.truth().counts.rejected) as usize;
    let events = eventually("every event enriched", WAIT, || {
        let events = enriched(&pipeline);
        (events.len() >= accepted).then_some(events)
    });

    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let changed = BUILT_IN.replacen("version = \"3\"", "version = \"4\"", 1).replacen(
        "name = \"bilibili\"\nclass = \"video\"",
        "name = \"bilibili\"\nclass = \"social\"",
        1,
    );
    let changed = file("changed.toml", &changed);

    let diff: Value =
        serde_json::from_str(&millrace(&pipeline, &["channel", "diff", &changed, "--since", "1d", "--json"]))
            .unwrap();
    let real: Vec<&Value> = events.iter().filter(|event| event["kind"] == "event").collect();
    assert_eq!(diff["events"], real.len(), "every event of kind event is compared, and no other");
    let moved = |from: &str, to: &str| {
        let changes = diff["changes"].as_array().unwrap();
        let change = changes.iter().find(|change| change["from"] == from && change["to"] == to);
        change.map_or(0, |change| change["events"].as_u64().unwrap())
    };
    let by_referrer = real
        .iter()
        .filter(|event| has(event, "page_referrer", "bilibili.com") && is_decided_by_referrer(event))
        .count();
    assert!(by_referrer > 0);
    assert_eq!(moved("organic_video", "organic_social"), by_referrer as u64);
    let total = moved("organic_video", "organic_social") + moved("paid_video", "paid_social");
    assert_eq!(diff["changed"], total, "{diff}");
    let said = millrace(&pipeline, &["channel", "diff", &changed]);
    for part in ["rules 3 → 4", "referrer_video", "referrer_social", "last touch"] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    let unchanged = file("unchanged.toml", BUILT_IN);
    let said = millrace(&pipeline, &["channel", "diff", &unchanged, "--since", "2h"]);
    assert!(said.contains(&format!("0 of {}", thousands(real.len()))), "{said}");
    let later = millrace(&pipeline, &["channel", "diff", &changed, "--since", "0s", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&later).unwrap()["events"], 0);

    let event =
        real.iter().find(|event| event["channel_rule"] == "referrer_video" && is_decided_by_referrer(event));
    let event = file("event.json", &event.unwrap().to_string());
    let said = millrace(&pipeline, &["channel", "explain", &format!("@{event}")]);
    for part in
        ["campaign_other", "the event names no campaign", "by rule referrer_video", "device's last touch"]
    {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    let wrong = file("wrong.toml", &BUILT_IN.replacen("site = [\"social\"]", "site = [\"socail\"]", 1));
    let error = pipeline.millrace(&["channel", "diff", &wrong]).unwrap_err().to_string();
    for part in ["wrong.toml", "campaign_paid_social", "did you mean \"social\""] {
        assert!(error.contains(part), "no {part:?} in:\n{error}");
    }
    devstack::pipeline::stop(&mut stages).unwrap_or_else(|error| panic!("{error}"));
}

/// As `millrace` prints counts.
fn thousands(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{} {:03}", number / 1_000, number % 1_000),
    }
}
