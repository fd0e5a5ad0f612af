//! What `millrace reconcile` says of a pipeline at rest, held against the truth: the operator's own proof must agree.

use devstack::{Error as StackError, pipeline::Pipeline};
use serde_json::Value;
use simulator::Counts;

use crate::{Error, compare::Difference};

/// Where the books differ from what was sent.
///
/// # Errors
/// The command cannot be run.
pub(super) fn books(pipeline: &Pipeline, sent: &Counts) -> Result<Vec<Difference>, Error> {
    let text = match pipeline.millrace(&["reconcile", "--json"]) {
        Ok(text) => text,
        // It prints the books also when they differ.
        Err(StackError::Command { errors, .. }) => errors,
        Err(error) => return Err(error.into()),
    };
    let json = text.find('{').map(|start| &text[start..]).unwrap_or_default();
    let books = serde_json::Deserializer::from_str(json).into_iter::<Value>().next();
    match books {
        Some(Ok(books)) => Ok(differences(&books, sent)),
        _ => Err(Error::Answer { what: format!("`millrace reconcile --json`: {text}"), wanted: "JSON" }),
    }
}

fn differences(books: &Value, sent: &Counts) -> Vec<Difference> {
    // A number that is missing is as wrong as a number can be.
    let number = |path: &str| books.pointer(path).and_then(Value::as_u64).unwrap_or(u64::MAX);
    let lines = [
        ("consumed", number("/consumed"), sent.sent),
        ("stored", number("/stored"), sent.accepted + sent.tests + sent.bots),
        ("duplicates", number("/duplicates"), sent.duplicates),
        ("dead letters", number("/dead_letters"), sent.rejected),
        ("in flight", number("/in_flight/most"), 0),
        ("difference", number("/difference"), 0),
    ];
    let wrong = lines.into_iter().filter(|(_, found, expected)| found != expected);
    wrong
        .map(|(line, found, expected)| Difference {
            what: "millrace reconcile".to_owned(),
            cell: line.to_owned(),
            found,
            expected,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn books_that_lack_a_number_or_show_another_one_differ() {
        let sent =
            Counts { sent: 10, accepted: 6, tests: 1, duplicates: 2, rejected: 1, ..Counts::default() };
        let mut books = json!({
            "consumed": 10, "stored": 7, "duplicates": 2, "dead_letters": 1,
            "in_flight": {"least": 0, "most": 0}, "difference": 0, "checks": []
        });
        assert_eq!(differences(&books, &sent), []);
        books["stored"] = json!(6);
        assert_eq!(differences(&books, &sent).len(), 1);
        assert_eq!(differences(&json!({}), &sent).len(), 6);
    }
}
