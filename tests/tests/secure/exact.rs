//! With the ACLs that the command prints, and nothing else, a pipeline counts exactly.

use devstack::pipeline::{Pipeline, STAGES};
use simulator::Config;
use system_tests::{
    compare::assert_equal_to_truth, http_address, pipeline_without_topics, secure::add_acls, send, settle,
    simulator, stack, wait_until_ready,
};

use crate::{shared, variables};

/// A pipeline whose command connects with security.
fn secure_pipeline(test: &str) -> Pipeline {
    shared();
    let mut pipeline = pipeline_without_topics(test);
    for (key, value) in variables("SASL", "millrace") {
        pipeline.set(&key, &value);
    }
    add_acls(stack(), &pipeline, str::to_owned).unwrap_or_else(|error| panic!("{error}"));
    pipeline.create().unwrap_or_else(|error| panic!("{error}"));
    pipeline
}

#[test]
fn a_pipeline_with_tls_passwords_and_only_the_printed_acls_counts_exactly() {
    let mut pipeline = secure_pipeline("secure");
    let mut simulator =
        simulator(&pipeline, Config { seed: 15, duplicates: 0.02, bad: 0.01, ..Config::default() });
    let mut stages: Vec<_> = STAGES
        .iter()
        .map(|stage| {
            let more = [("MILLRACE__KAFKA__SASL__USERNAME", *stage)];
            pipeline.start(stage, "0", &[], &more).unwrap_or_else(|error| panic!("{error}"))
        })
        .collect();
    for stage in &mut stages {
        wait_until_ready(stage);
    }
    let addresses: Vec<String> = stages.iter().filter_map(http_address).collect();
    pipeline.set("MILLRACE__HTTP__PROCESSES", &addresses.join(","));
    send(&pipeline, &mut simulator, 20_000, None);
    let truth = simulator.truth();
    for arguments in [&["status"][..], &["topics", "check"], &["cat", "dead-letters"]] {
        pipeline.millrace(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    }
    settle(&pipeline, &truth, stages);
    assert_equal_to_truth(&pipeline, &truth);
}
