//! A panic in any thread or task of a stage ends its process at once, and no number changes. A process that went on
//! without the thread would keep its partitions, process nothing, and look ready.

use std::os::unix::process::ExitStatusExt;

use simulator::Config;
use system_tests::{WAIT, compare, eventually, pipeline, send, settle, simulator, start, start_stages};

/// One thread of each kind: the failpoint, and the stage that reaches it there.
const KINDS: &[(&str, &str, &str)] = &[
    ("the thread of a worker", "ingest", "panic:process@2"),
    ("the thread of a worker that holds state", "enrich", "panic:apply_state@2"),
    ("the thread that commits offsets", "aggregate", "panic:commit_offsets@2"),
    ("a task of the asynchronous runtime", "aggregate", "panic:insert@2"),
];
const SIGABRT: i32 = 6;

#[test]
fn a_panic_in_any_thread_or_task_ends_its_process_and_no_number_changes() {
    let pipeline = pipeline("panics");
    let mut simulator = simulator(&pipeline, Config { seed: 29, ..Config::default() });
    let mut stages = start_stages(&pipeline);
    for (kind, stage, failpoint) in KINDS {
        let place = stages.iter().position(|process| process.name().starts_with(stage)).unwrap();
        stages[place].terminate(WAIT).unwrap();
        let variables = [("MILLRACE_FAILPOINT", *failpoint)];
        let mut panicking = pipeline.start(stage, "0", &[], &variables).unwrap();
        let ended = eventually(&format!("{kind} panics"), WAIT, || {
            send(&pipeline, &mut simulator, 200, Some(2_000.0));
            panicking.exit_status().unwrap()
        });
        let log = panicking.log_tail(50);
        assert_eq!(ended.signal(), Some(SIGABRT), "{kind}: {log}");
        assert!(log.contains("panicked, the process aborts") && log.contains("failpoint reached"), "{log}");
        stages[place] = start(&pipeline, stage, "0");
    }
    let truth = simulator.truth().clone();
    settle(&pipeline, &truth, stages);
    compare::assert_equal_to_truth(&pipeline, &truth);
}
