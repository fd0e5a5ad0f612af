//! `millrace reconcile` is right while events arrive, and reports a single event too many.

use devstack::{pipeline::Pipeline, query};
use serde_json::Value;
use simulator::Config;
use system_tests::{pipeline, send, settle, simulator, stack, start_stages};

/// Whether the command succeeded, and its report.
fn reconcile(pipeline: &Pipeline) -> (bool, Value) {
    let (success, text) = match pipeline.millrace(&["reconcile", "--json"]) {
        Ok(printed) => (true, printed),
        Err(error) => (false, error.to_string()),
    };
    let report = text.lines().find_map(|line| serde_json::from_str(&line[line.find('{')?..]).ok());
    (success, report.unwrap_or_else(|| panic!("no report in {text}")))
}

fn number(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap()
}

#[test]
fn reconcile_is_right_at_any_time_and_reports_one_event_too_many() {
    let pipeline = pipeline("reconcile");
    let config = Config { seed: 11, ..Config::default() };
    let mut simulator = simulator(&pipeline, config);
    let processes = start_stages(&pipeline);
    for _ in 0..4 {
        send(&pipeline, &mut simulator, 10_000, Some(20_000.0));
        let (success, report) = reconcile(&pipeline);
        assert!(success && number(&report, "difference") == 0, "{report:#}");
    }
    let truth = simulator.truth().clone();
    settle(&pipeline, &truth, processes);

    let (success, report) = reconcile(&pipeline);
    assert!(success, "{report:#}");
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
        let (success, report) = reconcile(&pipeline);
        assert!(!success && number(&report, "difference") == forged, "{lane}: {report:#}");
    }
}
