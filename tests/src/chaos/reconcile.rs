//! Compares the output of `millrace reconcile` for a pipeline at rest with the truth.

use devstack::{Error as StackError, pipeline::Pipeline};
use serde_json::Value;
use simulator::{ExpectedCode, Truth};

use crate::{Error, compare::Difference};

/// Numbers of the report that differ from what was sent.
///
/// # Errors
/// The command cannot be run.
pub(super) fn differences_of_reconcile(pipeline: &Pipeline, truth: &Truth) -> Result<Vec<Difference>, Error> {
    let text = match pipeline.millrace(&["reconcile", "--json"]) {
        Ok(text) => text,
        // It prints the report also when a number differs.
        Err(StackError::Command { errors, .. }) => errors,
        Err(error) => return Err(error.into()),
    };
    let json = text.find('{').map(|start| &text[start..]).unwrap_or_default();
    let report = serde_json::Deserializer::from_str(json).into_iter::<Value>().next();
    match report {
        Some(Ok(report)) => Ok(differences(&report, truth)),
        _ => Err(Error::Answer { what: format!("`millrace reconcile --json`: {text}"), wanted: "JSON" }),
    }
}

fn differences(report: &Value, truth: &Truth) -> Vec<Difference> {
    let sent = &truth.counts;
    // Another program wrote them behind ingest.
    let foreign = truth.rejected_by_code.get(&ExpectedCode::EnrichmentError).copied().unwrap_or(0);
    // A missing number differs from every number.
    let number = |path: &str| report.pointer(path).and_then(Value::as_u64).unwrap_or(u64::MAX);
    let numbers = [
        ("consumed", number("/consumed"), sent.sent - foreign),
        ("stored", number("/stored"), sent.accepted + sent.tests + sent.bots),
        ("duplicates", number("/duplicates"), sent.duplicates),
        ("dead letters", number("/dead_letters"), sent.rejected),
        ("in flight", number("/in_flight/most"), 0),
        ("difference", number("/difference"), 0),
    ];
    numbers
        .into_iter()
        .filter(|(_, found, expected)| found != expected)
        .map(|(name, found, expected)| Difference {
            what: "millrace reconcile".to_owned(),
            cell: name.to_owned(),
            found,
            expected,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use simulator::ExpectedCounts;

    use super::*;

    #[test]
    fn a_report_differs_when_a_number_is_missing_or_another() {
        let counts = ExpectedCounts {
            sent: 10,
            accepted: 6,
            tests: 1,
            duplicates: 2,
            rejected: 1,
            ..ExpectedCounts::default()
        };
        let mut sent = Truth { counts, ..Truth::default() };
        let mut report = json!({
            "consumed": 10, "stored": 7, "duplicates": 2, "dead_letters": 1,
            "in_flight": {"least": 0, "most": 0}, "difference": 0, "checks": []
        });
        assert_eq!(differences(&report, &sent), []);
        report["stored"] = json!(6);
        assert_eq!(differences(&report, &sent).len(), 1);
        assert_eq!(differences(&json!({}), &sent).len(), 6);
        report["stored"] = json!(7);
        sent.rejected_by_code.insert(ExpectedCode::EnrichmentError, 1);
        assert_eq!(differences(&report, &sent).len(), 1, "ingest has consumed what it never got");
    }
}
