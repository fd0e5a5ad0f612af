//! Parses the `where` language into conditions.
use serde_json::Value;

use super::{condition::Condition, property_path::PropertyPath, test::Test};
use crate::field::{FIELDS, Field, FieldKind};

/// A `where` table as written: the test on the value of each field.
pub type Where = serde_json::Map<String, Value>;

/// What a condition tests. The possible tests depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Field(FieldKind),
    Property,
}

impl Subject {
    fn takes_texts(self) -> bool {
        matches!(self, Self::Field(FieldKind::Text) | Self::Property)
    }

    fn takes_numbers(self) -> bool {
        matches!(self, Self::Field(FieldKind::Number) | Self::Property)
    }

    fn described(self) -> &'static str {
        match self {
            Self::Field(kind) => described(kind),
            Self::Property => "a property",
        }
    }
}

/// Parses a `where` table.
///
/// # Errors
/// A message with the field, the problem and what is possible.
pub fn parse(table: &Where) -> Result<Vec<Condition>, String> {
    let mut conditions = Vec::with_capacity(table.len());
    for (name, value) in table {
        conditions.push(condition(name, value)?);
    }
    conditions.sort_by(|a, b| (a.field, &a.path).cmp(&(b.field, &b.path)));
    Ok(conditions)
}

/// Parses one entry of a `where` table.
///
/// # Errors
/// As [`parse`].
pub fn condition(name: &str, value: &Value) -> Result<Condition, String> {
    let (field, path, subject) = match PropertyPath::parse(name) {
        Some(path) => (Field::Properties, Some(path?), Subject::Property),
        None => {
            let field = field_called(name)?;
            (field, None, Subject::Field(field.kind()))
        }
    };
    let test = test_of(subject, value).map_err(|problem| format!("`where` for {name}: {problem}"))?;
    Ok(Condition { field, path, test })
}

/// Parses a test on a text.
///
/// # Errors
/// A message with the problem and what is possible.
pub fn text_test(value: &Value) -> Result<Test, String> {
    test_of(Subject::Field(FieldKind::Text), value)
}

/// The field of the catalogue with this name.
///
/// # Errors
/// No field has this name; the message names the nearest one.
pub fn field_called(name: &str) -> Result<Field, String> {
    Field::parse(name).ok_or_else(|| {
        let nearest = FIELDS
            .iter()
            .map(|field| field.name())
            .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        format!(
            "there is no field `{name}`, the nearest is `{}` (`millrace fields` lists all)",
            nearest.unwrap_or_default()
        )
    })
}

fn test_of(subject: Subject, value: &Value) -> Result<Test, String> {
    match value {
        Value::String(_) | Value::Number(_) => one_of(subject, std::slice::from_ref(value)),
        // Properties have no declared type, so a boolean is compared as a text.
        Value::Bool(value) if subject == Subject::Property => Ok(Test::TextIn(vec![value.to_string()])),
        Value::Array(values) => one_of(subject, values),
        Value::Object(table) => operators(subject, table),
        other => {
            Err(format!("{other} is neither a value, a list of values nor a table such as {{ not = … }}"))
        }
    }
}

fn one_of(subject: Subject, values: &[Value]) -> Result<Test, String> {
    if values.is_empty() {
        return Err("the list is empty, so the condition can never hold".into());
    }
    let texts = || values.iter().map(|value| value.as_str().map(str::to_owned));
    let numbers = || values.iter().map(Value::as_i64);
    match subject {
        Subject::Field(FieldKind::Text) => {
            let wrong = |value: &Value| format!("{value} is not a text");
            let texts = texts().zip(values).map(|(text, value)| text.ok_or_else(|| wrong(value)));
            texts.collect::<Result<_, _>>().map(Test::TextIn)
        }
        Subject::Field(FieldKind::Number) => {
            let wrong = |value: &Value| format!("{value} is not a whole number");
            let numbers = numbers().zip(values).map(|(number, value)| number.ok_or_else(|| wrong(value)));
            numbers.collect::<Result<_, _>>().map(Test::NumberIn)
        }
        Subject::Property => {
            let all_texts = texts().collect::<Option<_>>().map(Test::TextIn);
            let all_numbers = || numbers().collect::<Option<_>>().map(Test::NumberIn);
            all_texts
                .or_else(all_numbers)
                .ok_or_else(|| "the list mixes texts and whole numbers, or holds something else".into())
        }
        other => Err(format!("the field is {}, only `exists` is possible", other.described())),
    }
}

fn operators(subject: Subject, table: &Where) -> Result<Test, String> {
    let mut tests = Vec::new();
    let (mut from, mut to) = (i64::MIN, i64::MAX);
    for (operator, value) in table {
        match operator.as_str() {
            "not" => tests.push(Test::Not(Box::new(test_of(subject, value)?))),
            "exists" => tests.push(Test::Exists(
                value.as_bool().ok_or_else(|| format!("`exists` is true or false, not {value}"))?,
            )),
            "prefix" if subject.takes_texts() => tests.push(Test::Prefix(
                value.as_str().ok_or_else(|| format!("`prefix` is a text, not {value}"))?.to_owned(),
            )),
            "gt" | "gte" | "lt" | "lte" if subject.takes_numbers() => {
                let bound =
                    value.as_i64().ok_or_else(|| format!("`{operator}` is a whole number, not {value}"))?;
                match operator.as_str() {
                    "gt" => from = from.max(bound.saturating_add(1)),
                    "gte" => from = from.max(bound),
                    "lt" => to = to.min(bound.saturating_sub(1)),
                    _ => to = to.min(bound),
                }
            }
            "prefix" | "gt" | "gte" | "lt" | "lte" => {
                return Err(format!("`{operator}` is not possible for {}", subject.described()));
            }
            other => {
                return Err(format!("`{other}` is not known; use not, exists, prefix, gt, gte, lt or lte"));
            }
        }
    }
    if (from, to) != (i64::MIN, i64::MAX) {
        tests.push(Test::Between(from, to));
    }
    if let Subject::Field(kind @ (FieldKind::List | FieldKind::Map | FieldKind::Uuid)) = subject {
        return Err(format!("the field is {}, which `where` does not support", described(kind)));
    }
    if tests.is_empty() { Err("the table is empty".into()) } else { Ok(Test::All(tests)) }
}

/// The kind of a field, in words for messages.
pub fn described(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text => "a text",
        FieldKind::Number => "a number",
        FieldKind::Key => "a key",
        FieldKind::Uuid => "an identifier",
        FieldKind::List => "a list",
        FieldKind::Map => "a map",
    }
}
