//! Each safeguard is needed: what changes no number while it stands, changes one as soon as it is switched off.
#![cfg(debug_assertions)] // A release build cannot switch anything off.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{thread, time::Duration};

use devstack::{Process, Totals, pipeline::Pipeline, query};
use enrich::device::{
    Device, DeviceContext, DeviceEvent,
    active::Definitions,
    shared::{ChannelTexts, Shared},
    touch::EventChannels,
};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use runtime::failpoint::Safeguard;
use simulator::{Config, Truth};
use system_tests::{
    chaos::{Kind, Proxy, Trouble},
    compare::{self, Place},
    eventually, get, http_address, send, simulator, stack, start, start_stages, topic, wait_until_ready,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// A dead letter that is written twice is one row all the same: only the lane of the cubes shows a repetition.
const LIVE_ONLY: (&str, &str) = ("MILLRACE__AGGREGATE__LANES", "live");

/// Runs what may go wrong once with the safeguard and once without, both with a pipeline of their own. `scene` tells
/// whether the numbers were right at its end.
#[track_caller]
fn is_needed(safeguard: Safeguard, scene: fn(&mut Pipeline) -> bool) {
    let name = safeguard.name();
    let mut pipeline = system_tests::pipeline(&format!("with_{name}"));
    assert!(scene(&mut pipeline), "with {name} in place a number changed");
    let mut pipeline = system_tests::pipeline(&format!("without_{name}"));
    pipeline.set("MILLRACE_SAFEGUARD_OFF", name);
    assert!(!scene(&mut pipeline), "nothing noticed that {name} was switched off");
}

/// Waits until as much has arrived as was sent, stops everything and compares.
fn equals_the_truth(pipeline: &Pipeline, truth: &Truth, mut stages: Vec<Process>) -> bool {
    arrive(pipeline, truth);
    devstack::pipeline::stop(&mut stages).unwrap();
    let place = Place {
        brokers: stack().brokers(),
        clickhouse_url: stack().clickhouse_url(),
        pipeline: pipeline.name(),
    };
    compare::differences(place, truth).unwrap().is_empty()
}

fn arrive(pipeline: &Pipeline, truth: &Truth) {
    eventually("all arrived", PATIENCE, || {
        let totals = Totals::read(stack().clickhouse_url(), pipeline.name()).unwrap();
        (totals.sum() >= truth.counts.sent).then_some(())
    });
}

#[test]
fn a_token_stops_an_insert_that_outlived_its_sender() {
    is_needed(Safeguard::Token, |pipeline| {
        let proxy = Proxy::start(stack().clickhouse_url()).unwrap();
        pipeline.set("MILLRACE__CLICKHOUSE__URL", &proxy.url());
        let mut simulator = simulator(pipeline, Config { seed: 31, ..Config::default() });
        let mut stages = start_stages(pipeline);
        stages[2].terminate(PATIENCE).unwrap();
        stages[2] = pipeline.start("aggregate", "0", &[], &[LIVE_ONLY]).unwrap();
        wait_until_ready(&mut stages[2]);
        // The first inserts are under way for seconds when their sender dies; its successor finds no rows.
        proxy.order(Trouble::Delay(Duration::from_secs(5)), 8);
        send(pipeline, &mut simulator, 3_000, None);
        let delayed = || proxy.met().get(&Kind::Delay).copied().unwrap_or(0);
        eventually("delayed", PATIENCE, || (delayed() >= 2).then_some(()));
        stages[2].kill().unwrap();
        proxy.cancel();
        stages[2] = start(pipeline, "aggregate", "0");
        arrive(pipeline, &simulator.truth());
        thread::sleep(Duration::from_secs(6));
        equals_the_truth(pipeline, &simulator.truth(), stages)
    });
}

#[test]
fn a_marker_tells_what_landed_when_the_token_is_forgotten() {
    is_needed(Safeguard::Marker, |pipeline| {
        let mut simulator = simulator(pipeline, Config { seed: 32, ..Config::default() });
        let mut stages = start_stages(pipeline);
        stages[2].terminate(PATIENCE).unwrap();
        let tables = ["live_local", "dead_letters_local"].map(|table| format!("{}.{table}", pipeline.name()));
        let ask = |sql: &str| query(stack().clickhouse_url(), sql).unwrap();
        for table in &tables {
            ask(&format!("ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 1"));
        }
        let failpoint = [("MILLRACE_FAILPOINT", "after:insert@2"), LIVE_ONLY];
        stages[2] = pipeline.start("aggregate", "0", &[], &failpoint).unwrap();
        send(pipeline, &mut simulator, 3_000, None);
        eventually("dead", PATIENCE, || stages[2].exit_status().unwrap());
        // Others write meanwhile, and the server forgets.
        for (table, insert) in tables.iter().flat_map(|table| (0..3).map(move |insert| (table, insert))) {
            ask(&format!(
                "INSERT INTO {table} (src) SETTINGS async_insert = 0, deduplicate_insert = 'enable', \
                 insert_deduplication_token = 'other {insert}' VALUES ('other')"
            ));
        }
        stages[2] = start(pipeline, "aggregate", "0");
        equals_the_truth(pipeline, &simulator.truth(), stages)
    });
}

#[test]
fn an_intent_makes_the_successor_repeat_the_same_flush() {
    is_needed(Safeguard::Intent, |pipeline| {
        let mut simulator = simulator(pipeline, Config { seed: 33, ..Config::default() });
        let mut stages = start_stages(pipeline);
        stages[2].terminate(PATIENCE).unwrap();
        let failpoint = [("MILLRACE_FAILPOINT", "after:insert@2"), LIVE_ONLY];
        stages[2] = pipeline.start("aggregate", "0", &[], &failpoint).unwrap();
        send(pipeline, &mut simulator, 3_000, None);
        eventually("dead", PATIENCE, || stages[2].exit_status().unwrap());
        // More has come, so that the successor would cut its flush elsewhere.
        send(pipeline, &mut simulator, 5_000, None);
        stages[2] = start(pipeline, "aggregate", "0");
        equals_the_truth(pipeline, &simulator.truth(), stages)
    });
}

#[test]
fn a_changelog_keeps_devices_from_being_new_again() {
    is_needed(Safeguard::Changelog, |pipeline| {
        // Whatever is younger than the window is read back from the events themselves.
        pipeline.set("MILLRACE__ENRICH__DEDUPE_WINDOW", "1s");
        let config = Config { seed: 34, duplicates: 0.0, devices: 300, ..Config::default() };
        let mut simulator = simulator(pipeline, config);
        let mut stages = start_stages(pipeline);
        send(pipeline, &mut simulator, 3_000, Some(800.0));
        arrive(pipeline, &simulator.truth());
        stages[1].kill().unwrap();
        stages[1] = start(pipeline, "enrich", "0");
        send(pipeline, &mut simulator, 3_000, None);
        equals_the_truth(pipeline, &simulator.truth(), stages)
    });
}

#[test]
fn fencing_shuts_out_a_process_that_wakes_up_after_its_successor_began() {
    is_needed(Safeguard::Fencing, |pipeline| {
        let mut simulator = simulator(pipeline, Config { seed: 35, ..Config::default() });
        let mut stages = start_stages(pipeline);
        stages[0].terminate(PATIENCE).unwrap();
        // A backlog, so that the sleeper has records in hand.
        send(pipeline, &mut simulator, 40_000, None);
        let mut sleeper = start(pipeline, "ingest", "0");
        eventually("at work", PATIENCE, || (records(&sleeper)? > 0.0).then_some(()));
        sleeper.pause().unwrap();
        stages[0] = start(pipeline, "ingest", "0");
        wait_until_ready(&mut stages[0]);
        arrive(pipeline, &simulator.truth());
        sleeper.resume().unwrap();
        // Either it notices and ends, or it goes on for a while.
        thread::sleep(Duration::from_secs(5));
        sleeper.kill().unwrap();
        send(pipeline, &mut simulator, 1_000, None);
        equals_the_truth(pipeline, &simulator.truth(), stages)
    });
}

#[test]
fn a_restore_waits_for_what_its_earlier_owner_is_about_to_commit() {
    is_needed(Safeguard::StableOffset, |pipeline| {
        let earlier_owner: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", stack().brokers())
            .set("transactional.id", format!("{}-earlier-owner", pipeline.name()))
            .create()
            .unwrap();
        earlier_owner.init_transactions(PATIENCE).unwrap();
        earlier_owner.begin_transaction().unwrap();
        let mut state = Vec::new();
        some_device().encode(&mut state);
        let topic = topic(pipeline, "enrich-state");
        let record = BaseRecord::to(&topic).partition(2).key(&[7_u8; 8]).payload(&state);
        earlier_owner.send(record).map_err(|(error, _)| error).unwrap();
        earlier_owner.flush(PATIENCE).unwrap();

        let mut enrich = start(pipeline, "enrich", "0");
        let status =
            |enrich: &Process| http_address(enrich).map_or_else(String::new, |at| get(&at, "/status").1);
        eventually("waiting or ready", PATIENCE, || {
            let is_ready = get(&http_address(&enrich)?, "/readyz").0 == 200;
            (is_ready || status(&enrich).contains("waiting until open transactions")).then_some(())
        });
        earlier_owner.commit_transaction(PATIENCE).unwrap();
        wait_until_ready(&mut enrich);
        let knows_the_device = status(&enrich).contains("\"devices\":1");
        enrich.terminate(PATIENCE).unwrap();
        knows_the_device
    });
}

/// A device with one event.
fn some_device() -> Device {
    let mut shared = Shared::default();
    let texts = ChannelTexts { group: "direct", ..ChannelTexts::default() };
    let fallback = &shared.channel(texts);
    let channels = EventChannels { own: None, first: None, fallback };
    let event = DeviceEvent::at(20_000, 1_728_000_000_000, channels);
    let definitions = &Definitions::default();
    Device::new(&event, &mut DeviceContext { definitions, window_ms: 3_600_000, shared: &mut shared }).0
}

#[test]
fn every_safeguard_has_its_test_here() {
    // Whoever adds one adds a scene above and a line here.
    let with_a_scene = [
        Safeguard::Token,
        Safeguard::Marker,
        Safeguard::Intent,
        Safeguard::Changelog,
        Safeguard::Fencing,
        Safeguard::StableOffset,
    ];
    assert_eq!(Safeguard::ALL, with_a_scene);
}

/// Records a stage has read since its start.
fn records(process: &Process) -> Option<f64> {
    let (_, metrics) = get(&http_address(process)?, "/metrics");
    let line = metrics.lines().find(|line| line.starts_with("millrace_records_total{"))?;
    line.rsplit(' ').next()?.parse().ok()
}
