//! Verdicts on records made from one valid event.
mod fields;
mod records;

use super::*;
use RejectCode as Code;
use event::FieldLimit;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{convert::Infallible, time::Duration};

const RECEIVED_AT: i64 = 1_772_452_800_000; // 2026-03-02T12:00:00Z

fn policy() -> EventPolicy {
    EventPolicy::new(["web-main".to_owned()], false, Duration::from_secs(7 * 86_400))
}

fn valid() -> Value {
    json!({
        "schema_version": "1-0-0", "event_id": "01957b6e-5a3c-7d21-9c40-3f6a1b2c4d5e", "event_name": "search",
        "app_id": "web-main", "platform": "ios", "app_version": "1.0", "original_timestamp": RECEIVED_AT - 5,
        "anonymous_id": "d1", "library": {"name": "l", "version": "1"},
    })
}

/// A valid event with some fields set. A path such as `content/tags` sets a field of an object; null removes a field.
fn with(fields: &[(&str, Value)]) -> String {
    let mut event = valid();
    for (path, value) in fields {
        let (object, key) = match path.split_once('/') {
            Some((object, key)) => (&mut event[object], key),
            None => (&mut event, *path),
        };
        if object.is_null() {
            *object = json!({});
        }
        let Some(object) = object.as_object_mut() else { panic!("{path}") };
        if value.is_null() {
            object.remove(key);
        } else {
            object.insert(key.to_owned(), value.clone());
        }
    }
    event.to_string()
}

fn verdicts(record: &[u8], policy: &EventPolicy) -> Vec<Result<(), (Code, String)>> {
    let mut verdicts = Vec::new();
    let Ok(()) = decide(Some(record), RECEIVED_AT, policy, &mut KeyOrder::default(), |decision| {
        assert_eq!(decision.index, verdicts.len());
        verdicts.push(match decision.verdict {
            Verdict::Emit(_) => Ok(()),
            Verdict::Reject(rejection) => {
                assert!(!rejection.message.is_empty() && rejection.message.len() <= Rejection::MAX_MESSAGE);
                Err((rejection.code, rejection.pointer.into_owned()))
            }
        });
        Ok::<_, Infallible>(())
    });
    verdicts
}

#[track_caller]
fn check(record: impl AsRef<[u8]>, expected: &[Option<(Code, &str)>]) {
    let found = verdicts(record.as_ref(), &policy());
    let expected: Vec<_> = expected
        .iter()
        .map(|verdict| verdict.map_or(Ok(()), |(code, at)| Err((code, at.to_owned()))))
        .collect();
    let shown = String::from_utf8_lossy(record.as_ref());
    assert_eq!(found, expected, "{}", shown.chars().take(500).collect::<String>());
}

#[track_caller]
fn accepted(fields: &[(&str, Value)]) {
    check(with(fields), &[None]);
}

#[track_caller]
fn rejected(code: Code, pointer: &str, fields: &[(&str, Value)]) {
    check(with(fields), &[Some((code, pointer))]);
}

fn nested(depth: usize) -> String {
    with(&[("properties", json!("@"))])
        .replace("\"@\"", &format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth)))
}
