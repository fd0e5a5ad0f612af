//! `millrace reconcile` proves the books while events flow, and notices a single event too many or too few.

use devstack::{pipeline::Pipeline, query};
use serde_json::Value;
use simulator::Config;
use system_tests::{pipeline, send, settle, simulator, stack, start_stages};

/// Whether the command was content, and what it said.
fn reconcile(pipeline: &Pipeline) -> (bool, Value) {
    let (content, text) = match pipeline.millrace(&["reconcile", "--json"]) {
        Ok(said) => (true, said),
        Err(error) => (false, error.to_string()),
    };
    let report = text.lines().find_map(|line| serde_json::from_str(&line[line.find('{')?..]).ok());
    (content, report.unwrap_or_else(|| panic!("no report in {text}")))
}

fn number(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap()
}

#[test]
fn the_books_are_right_at_any_moment_and_one_event_more_is_noticed() {
    let pipeline = pipeline("reconcile");
    let config = Config { seed: 11, ..Config::default() };
    let mut simulator = simulator(&pipeline, config);
    let processes = start_stages(&pipeline);
    for _ in 0..4 {
        send(&pipeline, &mut simulator, 10_000, Some(20_000.0));
        let (content, report) = reconcile(&pipeline);
        assert!(content && number(&report, "difference") == 0, "{report:#}");
    }
    let truth = simulator.truth().clone();
    settle(&pipeline, &truth, processes);

    let (content, report) = reconcile(&pipeline);
    assert!(content, "{report:#}");
    let counts = &truth.counts;
    assert_eq!(number(&report, "consumed"), counts.sent, "{report:#}");
    assert_eq!(number(&report, "duplicates"), counts.duplicates);
    assert_eq!(number(&report, "dead_letters"), counts.rejected);
    let parts = ["stored", "duplicates", "dead_letters"].map(|field| number(&report, field));
    assert_eq!(parts.iter().sum::<u64>(), counts.sent);
    assert_eq!(report["in_flight"]["most"], 0);

    let file = tempfile::NamedTempFile::new().unwrap();
    pipeline.millrace(&["reconcile", "--metrics-file", file.path().to_str().unwrap()]).unwrap();
    let metrics = std::fs::read_to_string(file.path()).unwrap();
    for (name, value) in [("consumed", counts.sent), ("dead_letters", counts.rejected), ("difference", 0)] {
        let line = format!("millrace_reconcile_{name}_events{{pipeline=\"{}\"}} {value}\n", pipeline.name());
        assert!(metrics.contains(&line), "no {line} in {metrics}");
    }

    for (forged, lane) in [(1, "live"), (2, "report")] {
        let table = format!("{}.{lane}_local", pipeline.name());
        let forge = format!(
            "INSERT INTO {table} (src, src_end, ledger_events) \
             SELECT src, src_end, 1 FROM {table} WHERE ledger_events > 0 AND startsWith(src, '1/') LIMIT 1"
        );
        query(stack().clickhouse_url(), &forge).unwrap();
        let (content, report) = reconcile(&pipeline);
        assert!(!content && number(&report, "difference") == forged, "{lane}: {report:#}");
    }
}
