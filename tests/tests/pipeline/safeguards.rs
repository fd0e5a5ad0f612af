//! Each safeguard is needed: a fault that changes no number changes one when the safeguard is switched off.

use devstack::{Process, Totals, pipeline::Pipeline, query};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use runtime::failpoint::Safeguard;
use simulator::{Config, Simulator, Truth};
use system_tests::{
    ResultSource, WAIT, compare, eventually, get, http_address, metric, metric_at,
    proxy::{Proxy, RequestFault},
    send, simulator, stack, start, start_stages, topic, wait_until_ready,
};

use crate::state;

/// Only the lane of the cubes shows an insert that is executed twice: its table sums, that of dead letters replaces.
const LIVE_ONLY: (&str, &str) = ("MILLRACE__AGGREGATE__LANES", "live");

/// Declares a test for each safeguard. A scenario is a function that injects a fault and returns whether the numbers are
/// right at its end.
macro_rules! tests {
    ($($(#[$meta:meta])* $test:ident: $safeguard:ident, $scenario:expr;)*) => {
        /// The safeguards that a test here switches off.
        const TESTED: &[Safeguard] = &[$(Safeguard::$safeguard),*];

        $(
            #[test]
            fn $test() {
                is_needed(Safeguard::$safeguard, $scenario);
            }
        )*
    };
}

tests! {
    a_token_stops_an_insert_that_arrives_after_its_sender_has_gone: Token, late_insert;
    a_marker_shows_what_was_inserted_when_the_token_is_forgotten: Marker, forgotten_token;
    an_intent_makes_the_next_process_repeat_the_same_flush: Intent, kill_after_insert;
    a_changelog_keeps_devices_from_being_new_again: Changelog, kill_of_enrich;
    fencing_stops_a_process_that_resumes_after_another_took_over: Fencing, frozen_ingest;
    a_restore_waits_for_the_open_transaction_of_the_earlier_owner: StableOffset, open_transaction;
}

#[test]
fn every_safeguard_is_switched_off_by_a_test() {
    let missing: Vec<_> = Safeguard::ALL.iter().filter(|safeguard| !TESTED.contains(safeguard)).collect();
    assert!(missing.is_empty(), "no test switches off {missing:?}");
}

/// Runs a scenario with the safeguard and without it, each with its own pipeline.
#[track_caller]
fn is_needed(safeguard: Safeguard, scenario: fn(&mut Pipeline) -> bool) {
    let name = safeguard.name();
    let mut pipeline = system_tests::pipeline(&format!("with_{name}"));
    assert!(scenario(&mut pipeline), "a number changed although {name} is on");
    let mut pipeline = system_tests::pipeline(&format!("without_{name}"));
    pipeline.set("MILLRACE_SAFEGUARD_OFF", name);
    assert!(!scenario(&mut pipeline), "no number changed although {name} is off");
}

/// Waits until every event is accounted for, stops everything and compares.
fn equals_the_truth(pipeline: &Pipeline, truth: &Truth, mut stages: Vec<Process>) -> bool {
    arrive(pipeline, truth);
    devstack::pipeline::stop(&mut stages).unwrap();
    let source = ResultSource {
        brokers: stack().brokers(),
        clickhouse_url: stack().clickhouse_url(),
        pipeline: pipeline.name(),
    };
    compare::differences(source, truth).unwrap().is_empty()
}

fn arrive(pipeline: &Pipeline, truth: &Truth) {
    eventually("all arrived", WAIT, || {
        let totals = Totals::read(stack().clickhouse_url(), pipeline.name()).unwrap();
        (totals.sum() >= truth.counts.sent).then_some(())
    });
}

/// Aggregate dies while its inserts are on their way; the next process inserts the rows, and then they arrive.
fn late_insert(pipeline: &mut Pipeline) -> bool {
    let proxy = Proxy::start(stack().clickhouse_url()).unwrap();
    pipeline.set("MILLRACE__CLICKHOUSE__URL", &proxy.url());
    let mut simulator = simulator(pipeline, Config { seed: 31, ..Config::default() });
    let mut stages = start_stages(pipeline);
    stages[2].terminate(WAIT).unwrap();
    stages[2] = pipeline.start("aggregate", "0", &[], &[LIVE_ONLY]).unwrap();
    wait_until_ready(&mut stages[2]);
    proxy.order(RequestFault::Held, 8);
    send(pipeline, &mut simulator, 3_000, None);
    eventually("held", WAIT, || (proxy.injected().len() >= 2).then_some(()));
    stages[2].kill().unwrap();
    proxy.cancel();
    stages[2] = start(pipeline, "aggregate", "0");
    arrive(pipeline, &simulator.truth());
    proxy.release();
    eventually("late inserts executed", WAIT, || (proxy.in_progress() == 0).then_some(()));
    equals_the_truth(pipeline, &simulator.truth(), stages)
}

/// Aggregate dies right after an insert, and the server forgets its token before the next process starts.
fn forgotten_token(pipeline: &mut Pipeline) -> bool {
    let mut simulator = simulator(pipeline, Config { seed: 32, ..Config::default() });
    let mut stages = start_stages(pipeline);
    stages[2].terminate(WAIT).unwrap();
    let tables = ["live_local", "dead_letters_local"].map(|table| format!("{}.{table}", pipeline.name()));
    let execute = |sql: &str| query(stack().clickhouse_url(), sql).unwrap();
    for table in &tables {
        execute(&format!("ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 1"));
    }
    kill_at(pipeline, &mut stages, &mut simulator, "after:insert@2");
    for (table, insert) in tables.iter().flat_map(|table| (0..3).map(move |insert| (table, insert))) {
        execute(&format!(
            "INSERT INTO {table} (src) SETTINGS async_insert = 0, deduplicate_insert = 'enable', \
             insert_deduplication_token = 'other {insert}' VALUES ('other')"
        ));
    }
    stages[2] = start(pipeline, "aggregate", "0");
    equals_the_truth(pipeline, &simulator.truth(), stages)
}

/// Aggregate dies right after an insert, and more events come before the next process starts: without an intent its
/// flush would end elsewhere.
fn kill_after_insert(pipeline: &mut Pipeline) -> bool {
    let mut simulator = simulator(pipeline, Config { seed: 33, ..Config::default() });
    let mut stages = start_stages(pipeline);
    stages[2].terminate(WAIT).unwrap();
    kill_at(pipeline, &mut stages, &mut simulator, "after:insert@2");
    send(pipeline, &mut simulator, 5_000, None);
    stages[2] = start(pipeline, "aggregate", "0");
    equals_the_truth(pipeline, &simulator.truth(), stages)
}

/// Starts lane live of aggregate, sends events, and waits until the failpoint kills it.
fn kill_at(pipeline: &Pipeline, stages: &mut [Process], simulator: &mut Simulator, failpoint: &str) {
    let variables = [("MILLRACE_FAILPOINT", failpoint), LIVE_ONLY];
    stages[2] = pipeline.start("aggregate", "0", &[], &variables).unwrap();
    send(pipeline, simulator, 3_000, None);
    eventually("killed", WAIT, || stages[2].exit_status().unwrap());
}

/// Enrich dies, and its state is older than the window in which it reads its own events again.
fn kill_of_enrich(pipeline: &mut Pipeline) -> bool {
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
}

/// Ingest is frozen in a transaction, before it sends its offsets, another process with its name does all the work, and then it resumes.
fn frozen_ingest(pipeline: &mut Pipeline) -> bool {
    // Otherwise the broker aborts the transaction of the frozen process, with fencing and without.
    pipeline.set("MILLRACE__KAFKA__TRANSACTION_TIMEOUT", "10m");
    pipeline.set("MILLRACE__KAFKA__SESSION_TIMEOUT", "6s");
    let mut simulator = simulator(pipeline, Config { seed: 35, ..Config::default() });
    let mut stages = start_stages(pipeline);
    stages[0].terminate(WAIT).unwrap();
    send(pipeline, &mut simulator, 10_000, None);
    let freeze = [("MILLRACE_FAILPOINT", "freeze:send_offsets")];
    let mut zombie = pipeline.start("ingest", "0", &[], &freeze).unwrap();
    let is_frozen = |zombie: &Process| zombie.log_tail(100).contains("failpoint reached, freezing");
    eventually("frozen", WAIT, || is_frozen(&zombie).then_some(()));
    let address = http_address(&zombie).unwrap();
    stages[0] = start(pipeline, "ingest", "0");
    wait_until_ready(&mut stages[0]);
    eventually("all records read", WAIT, || {
        let has_read = metric(&stages[0], "millrace_records_total{") > 0.0;
        (has_read && metric(&stages[0], "millrace_consumer_lag_records{") == 0.0).then_some(())
    });
    zombie.resume().unwrap();
    // It is fenced off, or it commits. If it was fenced off, it waits until its name is free, which does not happen.
    eventually("ended or committed", WAIT, || {
        let has_ended = zombie.exit_status().unwrap().is_some();
        let committed =
            metric_at(&address, "millrace_transactions_total{stage=\"ingest\",outcome=\"committed\"");
        (has_ended || committed > 0.0).then_some(())
    });
    // An open transaction would hide the records behind it.
    zombie.terminate(WAIT).unwrap();
    send(pipeline, &mut simulator, 1_000, None);
    equals_the_truth(pipeline, &simulator.truth(), stages)
}

/// The earlier owner of a partition has written a device in a transaction that commits only after the next owner has
/// started. Whether that owner restores the device.
fn open_transaction(pipeline: &mut Pipeline) -> bool {
    let earlier_owner: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", stack().brokers())
        .set("transactional.id", format!("{}-earlier-owner", pipeline.name()))
        .set("transaction.timeout.ms", "600000")
        .create()
        .unwrap();
    earlier_owner.init_transactions(WAIT).unwrap();
    earlier_owner.begin_transaction().unwrap();
    let mut state = Vec::new();
    state::some_device().encode(&mut state);
    let topic = topic(pipeline, "enrich-state");
    let record = BaseRecord::to(&topic).partition(2).key(&[7_u8; 8]).payload(&state);
    earlier_owner.send(record).map_err(|(error, _)| error).unwrap();
    earlier_owner.flush(WAIT).unwrap();

    let mut enrich = start(pipeline, "enrich", "0");
    let status = |enrich: &Process| http_address(enrich).map_or_else(String::new, |at| get(&at, "/status").1);
    let is_ready = |enrich: &Process| http_address(enrich).is_some_and(|at| get(&at, "/readyz").0 == 200);
    eventually("waiting or ready", WAIT, || {
        (is_ready(&enrich) || status(&enrich).contains("waiting until open transactions")).then_some(())
    });
    earlier_owner.commit_transaction(WAIT).unwrap();
    wait_until_ready(&mut enrich);
    let knows_the_device = status(&enrich).contains("\"devices\":1");
    enrich.terminate(WAIT).unwrap();
    knows_the_device
}
