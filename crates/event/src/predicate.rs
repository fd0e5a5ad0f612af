//! The `where` language: for each field what its value must be, all entries together. One language serves cubes,
//! measures and activity rules; in TOML or JSON alike.
use serde_json::Value;

use crate::{Batch, FIELDS, Field, FieldKind};

/// A `where` as it is written: for each field what it must be.
pub type Where = serde_json::Map<String, Value>;

/// One field and what its value must be.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The field looked at.
    pub field: Field,
    /// What its value must be.
    pub test: Test,
}

impl Condition {
    /// Whether one event of a batch passes.
    pub fn holds(&self, batch: &Batch, row: usize) -> bool {
        match self.field.kind() {
            FieldKind::Text => self.test.text(batch.text(self.field, row)),
            FieldKind::Number => self.test.number(batch.number(self.field, row)),
            // Only whether it is there can be asked of a key.
            FieldKind::Key => self.test.number(i64::from(batch.key(self.field, row) != 0)),
            FieldKind::Uuid | FieldKind::List | FieldKind::Map => false,
        }
    }
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// The text is one of these.
    TextIn(Vec<String>),
    /// The text starts so.
    Prefix(String),
    /// The number is one of these.
    NumberIn(Vec<i64>),
    /// The number lies between these, both included.
    Between(i64, i64),
    /// The value is there (not '', not 0), or is not.
    Exists(bool),
    /// The inner test fails.
    Not(Box<Test>),
    /// Every one of these holds.
    All(Vec<Test>),
}

impl Test {
    /// Whether a text passes.
    pub fn text(&self, value: &str) -> bool {
        match self {
            Self::TextIn(values) => values.iter().any(|one| one == value),
            Self::Prefix(prefix) => value.starts_with(prefix.as_str()),
            Self::Exists(exists) => value.is_empty() != *exists,
            Self::Not(inner) => !inner.text(value),
            Self::All(tests) => tests.iter().all(|test| test.text(value)),
            Self::NumberIn(_) | Self::Between(..) => false,
        }
    }

    /// Whether a number, or a key as a number, passes.
    pub fn number(&self, value: i64) -> bool {
        match self {
            Self::NumberIn(values) => values.contains(&value),
            Self::Between(from, to) => (*from..=*to).contains(&value),
            Self::Exists(exists) => (value != 0) == *exists,
            Self::Not(inner) => !inner.number(value),
            Self::All(tests) => tests.iter().all(|test| test.number(value)),
            Self::TextIn(_) | Self::Prefix(_) => false,
        }
    }
}

/// Reads a `where` table.
///
/// # Errors
/// One sentence that names the field, what is wrong with it and what is possible.
pub fn parse(table: &Where) -> Result<Vec<Condition>, String> {
    let mut conditions = Vec::with_capacity(table.len());
    for (name, value) in table {
        let field = field_called(name)?;
        let test = test_of(field, value).map_err(|problem| format!("`where` for {name}: {problem}"))?;
        conditions.push(Condition { field, test });
    }
    conditions.sort_by_key(|condition| condition.field);
    Ok(conditions)
}

/// The catalogue field of this name.
///
/// # Errors
/// A sentence with the nearest name, when there is none.
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

fn test_of(field: Field, value: &Value) -> Result<Test, String> {
    match value {
        Value::String(_) | Value::Number(_) => one_of(field, std::slice::from_ref(value)),
        Value::Array(values) => one_of(field, values),
        Value::Object(table) => operators(field, table),
        other => {
            Err(format!("{other} is neither a value, a list of values nor a table such as {{ not = … }}"))
        }
    }
}

fn one_of(field: Field, values: &[Value]) -> Result<Test, String> {
    if values.is_empty() {
        return Err("the list is empty, so nothing would ever count".into());
    }
    match field.kind() {
        FieldKind::Text => values
            .iter()
            .map(|value| value.as_str().map(str::to_owned).ok_or_else(|| format!("{value} is not a text")))
            .collect::<Result<_, _>>()
            .map(Test::TextIn),
        FieldKind::Number => values
            .iter()
            .map(|value| value.as_i64().ok_or_else(|| format!("{value} is not a whole number")))
            .collect::<Result<_, _>>()
            .map(Test::NumberIn),
        kind => Err(format!("the field is {}, only `exists` can be asked of it", described(kind))),
    }
}

fn operators(field: Field, table: &Where) -> Result<Test, String> {
    let mut tests = Vec::new();
    let (mut from, mut to) = (i64::MIN, i64::MAX);
    let kind = field.kind();
    for (operator, value) in table {
        match operator.as_str() {
            "not" => tests.push(Test::Not(Box::new(test_of(field, value)?))),
            "exists" => tests.push(Test::Exists(
                value.as_bool().ok_or_else(|| format!("`exists` is true or false, not {value}"))?,
            )),
            "prefix" if kind == FieldKind::Text => tests.push(Test::Prefix(
                value.as_str().ok_or_else(|| format!("`prefix` is a text, not {value}"))?.to_owned(),
            )),
            "gt" | "gte" | "lt" | "lte" if kind == FieldKind::Number => {
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
                return Err(format!("`{operator}` cannot be asked of {}", described(kind)));
            }
            other => {
                return Err(format!(
                    "`{other}` is not known; there are not, exists, prefix, gt, gte, lt and lte"
                ));
            }
        }
    }
    if (from, to) != (i64::MIN, i64::MAX) {
        tests.push(Test::Between(from, to));
    }
    match kind {
        FieldKind::List | FieldKind::Map | FieldKind::Uuid => {
            return Err(format!("the field is {}, which `where` cannot look into", described(kind)));
        }
        FieldKind::Text | FieldKind::Number | FieldKind::Key => {}
    }
    if tests.is_empty() { Err("the table is empty".into()) } else { Ok(Test::All(tests)) }
}

/// A kind of field in words.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Condition>, String> {
        let where_: Where = toml::from_str(text).unwrap();
        parse(&where_)
    }

    #[test]
    fn a_where_holds_when_every_operator_holds() {
        for (text, value, expected) in [
            (r#"kind = "event""#, "event", true),
            (r#"kind = "event""#, "test", false),
            (r#"platform = ["ios", "android"]"#, "android", true),
            (r#"platform = ["ios", "android"]"#, "web", false),
            (r#"page_path = { prefix = "/vip/" }"#, "/vip/landing", true),
            (r#"page_path = { prefix = "/vip/" }"#, "/home", false),
            (r#"event_name = { not = "page_view" }"#, "login", true),
            (r#"event_name = { not = ["page_view", "login"] }"#, "login", false),
            (r#"event_name = { not = { prefix = "play" } }"#, "playback_ping", false),
            (r#"event_name = { prefix = "play", not = "playback_ping" }"#, "playback_ping", false),
            (r#"event_name = { prefix = "play", not = "playback_ping" }"#, "playback_started", true),
            (r#"activity_id = { exists = true }"#, "", false),
            (r#"activity_id = { exists = false }"#, "", true),
        ] {
            assert_eq!(read(text).unwrap()[0].test.text(value), expected, "{text} on {value:?}");
        }
    }

    #[test]
    fn bounds_of_numbers_include_or_exclude_their_end() {
        for (text, value, expected) in [
            ("lateness_ms = { gt = 600000 }", 600_000, false),
            ("lateness_ms = { gt = 600000 }", 600_001, true),
            ("lateness_ms = { gte = 5, lt = 7 }", 5, true),
            ("lateness_ms = { gte = 5, lt = 7 }", 7, false),
            ("lateness_ms = { lte = -1 }", -1, true),
            ("quantity = [1, 2]", 3, false),
            ("quantity = { not = 0 }", 3, true),
            ("user_key = { exists = true }", 0, false),
        ] {
            assert_eq!(read(text).unwrap()[0].test.number(value), expected, "{text} on {value}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_way_out() {
        for (text, expected) in [
            ("plattform = 'web'", "there is no field `plattform`, the nearest is `platform`"),
            ("kind = 3", "3 is not a text"),
            ("kind = []", "the list is empty"),
            ("kind = { gt = 3 }", "`gt` cannot be asked of a text"),
            ("kind = { like = 'x' }", "`like` is not known"),
            ("quantity = 'x'", "is not a whole number"),
            ("tags = 'x'", "the field is a list"),
            ("kind = true", "neither a value"),
        ] {
            let problem = read(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
