//! Every step of both protocols is the last thing a process ever does, once right before it and once right after it,
//! and no number changes.
#![cfg(debug_assertions)] // A release build has no failpoints.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use devstack::{Process, pipeline::Pipeline};
use runtime::failpoint::Step;
use simulator::Config;
use system_tests::{compare, eventually, pipeline, send, settle, simulator, start, start_stages};

/// What each stage goes through. Markers are read by a process that finds an intent, so those come after a crash
/// between the intent and its end.
const TRANSACTION: &[Step] =
    &[Step::BeginTransaction, Step::Process, Step::SendOffsets, Step::CommitTransaction, Step::ApplyState];
const STAGES: &[(&str, &[Step])] = &[
    ("ingest", TRANSACTION),
    ("enrich", &[Step::RestoreState]),
    ("enrich", TRANSACTION),
    ("aggregate", &[Step::Intent, Step::Insert, Step::ReadMarkers, Step::Done]),
];

/// Lets one stage die at each of its steps, one after the other, and leaves it running.
fn die_at_every_step(pipeline: &Pipeline, stage: &str, steps: &[Step], running: Process) -> Process {
    let mut process = running;
    process.terminate(Duration::from_secs(30)).unwrap();
    for step in steps {
        for place in ["before", "after"] {
            // A process that restores or recovers does so at its very start.
            let hit = if matches!(step, Step::RestoreState | Step::ReadMarkers) { 1 } else { 2 };
            let failpoint = format!("{place}:{}@{hit}", step.name());
            let variables = [("MILLRACE_FAILPOINT", failpoint.as_str())];
            process = pipeline.start(stage, "0", &[], &variables).unwrap();
            let what = format!("dead at {stage} {failpoint}");
            eventually(&what, Duration::from_secs(60), || process.exit_status().unwrap());
            assert!(process.log_tail(50).contains("failpoint reached"), "{what}: {}", process.log_tail(20));
        }
    }
    start(pipeline, stage, "0")
}

#[test]
fn a_process_may_die_at_every_step_and_no_number_changes() {
    let tried: Vec<Step> = STAGES.iter().flat_map(|(_, steps)| steps.iter().copied()).collect();
    assert!(Step::ALL.iter().all(|step| tried.contains(step)), "a step is not tried: {tried:?}");

    let pipeline = pipeline("crash_points");
    let mut simulator = simulator(&pipeline, Config { seed: 23, ..Config::default() });
    let mut stages = start_stages(&pipeline).into_iter();
    let [ingest, enrich, aggregate] = [(); 3].map(|()| stages.next().unwrap());
    let finished = AtomicBool::new(false);
    let running = thread::scope(|scope| {
        let pipeline = &pipeline;
        let (finished, simulator) = (&finished, &mut simulator);
        let sender = scope.spawn(move || {
            while !finished.load(Ordering::Relaxed) {
                send(pipeline, simulator, 1_000, Some(2_000.0));
            }
        });
        let dying: Vec<_> = [("ingest", ingest), ("enrich", enrich), ("aggregate", aggregate)]
            .map(|(stage, process)| {
                scope.spawn(move || {
                    let steps = STAGES.iter().filter(|(of, _)| *of == stage);
                    steps.fold(process, |process, (_, steps)| {
                        die_at_every_step(pipeline, stage, steps, process)
                    })
                })
            })
            .into_iter()
            .collect();
        let running: Vec<_> = dying.into_iter().map(|stage| stage.join()).collect();
        finished.store(true, Ordering::Relaxed);
        sender.join().unwrap();
        running.into_iter().map(Result::unwrap).collect::<Vec<Process>>()
    });
    let truth = simulator.truth().clone();
    settle(&pipeline, &truth, running);
    compare::assert_equal_to_truth(&pipeline, &truth);
    pipeline.millrace(&["reconcile"]).unwrap_or_else(|error| panic!("{error}"));
}
