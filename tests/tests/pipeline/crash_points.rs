//! A process is killed right before and right after every step of both protocols, and no number changes.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use devstack::{Process, pipeline::Pipeline};
use runtime::failpoint::Step;
use simulator::Config;
use system_tests::{WAIT, compare, eventually, pipeline, send, settle, simulator, start, start_stages};

/// The steps of each stage. A process reads markers when it finds an intent, so that step comes after a kill between
/// intent and done.
const TRANSACTION: &[Step] =
    &[Step::BeginTransaction, Step::Process, Step::SendOffsets, Step::CommitTransaction, Step::ApplyState];
const STAGES: &[(&str, &[Step])] = &[
    ("ingest", TRANSACTION),
    ("enrich", &[Step::RestoreState]),
    ("enrich", TRANSACTION),
    ("aggregate", &[Step::Intent, Step::CommitOffsets, Step::Insert, Step::ReadMarkers, Step::Done]),
];

/// Kills one stage at each of its steps, one after the other, and leaves it running.
fn kill_at_every_step(pipeline: &Pipeline, stage: &str, steps: &[Step], running: Process) -> Process {
    let mut process = running;
    process.terminate(WAIT).unwrap();
    for step in steps {
        for place in ["before", "after"] {
            // A process restores and recovers once, at its start.
            let hit = if matches!(step, Step::RestoreState | Step::ReadMarkers) { 1 } else { 2 };
            let failpoint = format!("{place}:{}@{hit}", step.name());
            let variables = [("MILLRACE_FAILPOINT", failpoint.as_str())];
            process = pipeline.start(stage, "0", &[], &variables).unwrap();
            let what = format!("killed: {stage} {failpoint}");
            eventually(&what, WAIT, || process.exit_status().unwrap());
            assert!(process.log_tail(50).contains("failpoint reached"), "{what}: {}", process.log_tail(20));
        }
    }
    start(pipeline, stage, "0")
}

#[test]
fn a_kill_at_any_step_changes_no_number() {
    let tried: Vec<Step> = STAGES.iter().flat_map(|(_, steps)| steps.iter().copied()).collect();
    assert!(Step::ALL.iter().all(|step| tried.contains(step)), "a step is not tried: {tried:?}");

    let pipeline = pipeline("crash_points");
    let mut simulator =
        simulator(&pipeline, Config { seed: 23, duplicates: 0.2, devices: 5_000, ..Config::default() });
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
        let killed: Vec<_> = [("ingest", ingest), ("enrich", enrich), ("aggregate", aggregate)]
            .map(|(stage, process)| {
                scope.spawn(move || {
                    let steps = STAGES.iter().filter(|(of, _)| *of == stage);
                    steps.fold(process, |process, (_, steps)| {
                        kill_at_every_step(pipeline, stage, steps, process)
                    })
                })
            })
            .into_iter()
            .collect();
        let running: Vec<_> = killed.into_iter().map(|stage| stage.join()).collect();
        finished.store(true, Ordering::Relaxed);
        sender.join().unwrap();
        running.into_iter().map(Result::unwrap).collect::<Vec<Process>>()
    });
    let log = |stage: usize| running[stage].log_tail(usize::MAX);
    assert!(restored_devices(&log(1)), "no start of enrich has restored a device");
    assert!(log(2).contains("intent replayed"), "no kill has left an intent");
    let truth = simulator.truth().clone();
    settle(&pipeline, &truth, running);
    compare::assert_equal_to_truth(&pipeline, &truth);
    pipeline.millrace(&["reconcile"]).unwrap_or_else(|error| panic!("{error}"));
}

/// Whether a process has restored devices at some assignment.
fn restored_devices(log: &str) -> bool {
    log.lines().any(|line| line.contains("state restored") && !line.contains("\"devices\":0,"))
}
