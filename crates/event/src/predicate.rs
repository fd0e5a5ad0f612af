//! The `where` language: for each field what its value must be, all entries together. One language serves cubes,
//! measures and activity rules; in TOML or JSON alike.
mod property;

use std::{cell::OnceCell, fmt};

use serde_json::Value;

pub use self::property::{PropertyPath, PropertyReader, PropertyValue};
use crate::{Batch, FIELDS, Field, FieldKind};

/// A `where` as it is written: for each field what it must be.
pub type Where = serde_json::Map<String, Value>;

/// One field, or one value inside `properties`, and what it must be.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The field looked at.
    pub field: Field,
    /// Where to look inside the field, which is then [`Field::Properties`].
    pub path: Option<PropertyPath>,
    /// What its value must be.
    pub test: Test,
}

impl Condition {
    /// Whether an event passes. For many events ask [`test`](Self::test) column by column instead.
    pub fn holds(&self, event: &Event<'_>) -> bool {
        let Event { batch, row, .. } = *event;
        if let Some(path) = &self.path {
            return match event.known_property(path) {
                Some(value) => self.test.property(value),
                None => self.test.property(&path.value(batch.text(Field::Properties, row))),
            };
        }
        match self.field.kind() {
            FieldKind::Text => self.test.text(batch.text(self.field, row)),
            FieldKind::Number => self.test.number(batch.number(self.field, row)),
            // Only whether it is there can be asked of a key.
            FieldKind::Key => self.test.number(i64::from(batch.key(self.field, row) != 0)),
            FieldKind::Uuid | FieldKind::List | FieldKind::Map => false,
        }
    }
}

/// One event of a batch, of which several conditions are asked. Its `properties` are read when the first condition
/// asks for one, and then all that the reader knows, so that they are read once however many conditions there are.
#[derive(Debug)]
pub struct Event<'a> {
    batch: &'a Batch,
    row: usize,
    reader: &'a PropertyReader,
    properties: OnceCell<Vec<PropertyValue<'a>>>,
}

impl<'a> Event<'a> {
    /// The event in this row. `reader` is that of [`properties_of`] all conditions that may be asked of it; a property
    /// that it does not know is read by itself, each time it is asked for.
    pub fn new(batch: &'a Batch, row: usize, reader: &'a PropertyReader) -> Self {
        Self { batch, row, reader, properties: OnceCell::new() }
    }

    fn known_property(&self, path: &PropertyPath) -> Option<&PropertyValue<'a>> {
        let slot = self.reader.slot(path)?;
        let values = self.properties.get_or_init(|| {
            let mut values = Vec::new();
            self.reader.read(self.batch.text(Field::Properties, self.row), &mut values);
            values
        });
        values.get(slot)
    }
}

/// Reads every property that some conditions ask for.
pub fn properties_of<'c>(conditions: impl IntoIterator<Item = &'c Condition>) -> PropertyReader {
    let mut reader = PropertyReader::default();
    for path in conditions.into_iter().filter_map(|condition| condition.path.as_ref()) {
        reader.add(path);
    }
    reader
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

    /// Whether a value inside `properties` passes: a question about a number is asked of its number, any other of its
    /// text.
    pub fn property(&self, value: &PropertyValue<'_>) -> bool {
        match self {
            Self::TextIn(_) | Self::Prefix(_) => self.text(&value.text()),
            Self::NumberIn(_) | Self::Between(..) => value.number().is_some_and(|number| self.number(number)),
            Self::Exists(exists) => value.exists() == *exists,
            Self::Not(inner) => !inner.property(value),
            Self::All(tests) => tests.iter().all(|test| test.property(value)),
        }
    }
}

/// As it would be written in TOML: `event_name = { prefix = "playback_" }`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "\"{path}\" = {}", self.test),
            None => write!(f, "{} = {}", self.field.name(), self.test),
        }
    }
}

/// The value of a condition as it would be written in TOML.
impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TextIn(values) => match values.as_slice() {
                [one] => write!(f, "{one:?}"),
                several => write!(f, "{several:?}"),
            },
            Self::NumberIn(values) => match values.as_slice() {
                [one] => write!(f, "{one}"),
                several => write!(f, "{several:?}"),
            },
            operators => {
                let mut written = Vec::new();
                operators.operators(&mut written);
                write!(f, "{{ {} }}", written.join(", "))
            }
        }
    }
}

impl Test {
    fn operators(&self, written: &mut Vec<String>) {
        match self {
            Self::TextIn(_) | Self::NumberIn(_) => written.push(self.to_string()),
            Self::Prefix(prefix) => written.push(format!("prefix = {prefix:?}")),
            Self::Between(from, to) => {
                let bounds = [("gte", *from, i64::MIN), ("lte", *to, i64::MAX)];
                let bounds = bounds.into_iter().filter(|(_, bound, none)| bound != none);
                written.extend(bounds.map(|(operator, bound, _)| format!("{operator} = {bound}")));
            }
            Self::Exists(exists) => written.push(format!("exists = {exists}")),
            Self::Not(inner) => written.push(format!("not = {inner}")),
            Self::All(tests) => tests.iter().for_each(|test| test.operators(written)),
        }
    }
}

/// What can be asked of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Field(FieldKind),
    Property,
}

impl Asked {
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

/// Reads a `where` table.
///
/// # Errors
/// One sentence that names the field, what is wrong with it and what is possible.
pub fn parse(table: &Where) -> Result<Vec<Condition>, String> {
    let mut conditions = Vec::with_capacity(table.len());
    for (name, value) in table {
        conditions.push(condition(name, value)?);
    }
    conditions.sort_by(|a, b| (a.field, &a.path).cmp(&(b.field, &b.path)));
    Ok(conditions)
}

/// Reads one entry of a `where` table.
///
/// # Errors
/// As [`parse`].
pub fn condition(name: &str, value: &Value) -> Result<Condition, String> {
    let (field, path, asked) = match PropertyPath::parse(name) {
        Some(path) => (Field::Properties, Some(path?), Asked::Property),
        None => {
            let field = field_called(name)?;
            (field, None, Asked::Field(field.kind()))
        }
    };
    let test = test_of(asked, value).map_err(|problem| format!("`where` for {name}: {problem}"))?;
    Ok(Condition { field, path, test })
}

/// Reads what a text must be.
///
/// # Errors
/// One sentence that says what is wrong and what is possible.
pub fn text_test(value: &Value) -> Result<Test, String> {
    test_of(Asked::Field(FieldKind::Text), value)
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

fn test_of(asked: Asked, value: &Value) -> Result<Test, String> {
    match value {
        Value::String(_) | Value::Number(_) => one_of(asked, std::slice::from_ref(value)),
        // Numbers and truths are texts, too, where they have no type.
        Value::Bool(value) if asked == Asked::Property => Ok(Test::TextIn(vec![value.to_string()])),
        Value::Array(values) => one_of(asked, values),
        Value::Object(table) => operators(asked, table),
        other => {
            Err(format!("{other} is neither a value, a list of values nor a table such as {{ not = … }}"))
        }
    }
}

fn one_of(asked: Asked, values: &[Value]) -> Result<Test, String> {
    if values.is_empty() {
        return Err("the list is empty, so nothing would ever count".into());
    }
    let texts = || values.iter().map(|value| value.as_str().map(str::to_owned));
    let numbers = || values.iter().map(Value::as_i64);
    match asked {
        Asked::Field(FieldKind::Text) => {
            let wrong = |value: &Value| format!("{value} is not a text");
            let texts = texts().zip(values).map(|(text, value)| text.ok_or_else(|| wrong(value)));
            texts.collect::<Result<_, _>>().map(Test::TextIn)
        }
        Asked::Field(FieldKind::Number) => {
            let wrong = |value: &Value| format!("{value} is not a whole number");
            let numbers = numbers().zip(values).map(|(number, value)| number.ok_or_else(|| wrong(value)));
            numbers.collect::<Result<_, _>>().map(Test::NumberIn)
        }
        Asked::Property => {
            let all_texts = texts().collect::<Option<_>>().map(Test::TextIn);
            let all_numbers = || numbers().collect::<Option<_>>().map(Test::NumberIn);
            all_texts
                .or_else(all_numbers)
                .ok_or_else(|| "the list mixes texts and whole numbers, or holds something else".into())
        }
        other => Err(format!("the field is {}, only `exists` can be asked of it", other.described())),
    }
}

fn operators(asked: Asked, table: &Where) -> Result<Test, String> {
    let mut tests = Vec::new();
    let (mut from, mut to) = (i64::MIN, i64::MAX);
    for (operator, value) in table {
        match operator.as_str() {
            "not" => tests.push(Test::Not(Box::new(test_of(asked, value)?))),
            "exists" => tests.push(Test::Exists(
                value.as_bool().ok_or_else(|| format!("`exists` is true or false, not {value}"))?,
            )),
            "prefix" if asked.takes_texts() => tests.push(Test::Prefix(
                value.as_str().ok_or_else(|| format!("`prefix` is a text, not {value}"))?.to_owned(),
            )),
            "gt" | "gte" | "lt" | "lte" if asked.takes_numbers() => {
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
                return Err(format!("`{operator}` cannot be asked of {}", asked.described()));
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
    if let Asked::Field(kind @ (FieldKind::List | FieldKind::Map | FieldKind::Uuid)) = asked {
        return Err(format!("the field is {}, which `where` cannot look into", described(kind)));
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
    fn a_condition_is_shown_as_it_is_written() {
        for text in [
            r#"kind = "event""#,
            r#"platform = ["ios", "android"]"#,
            r#"page_path = { prefix = "/vip/" }"#,
            r#"event_name = { not = ["page_view", "login"] }"#,
            r#"event_name = { not = { prefix = "play" } }"#,
            r#"event_name = { not = "playback_ping", prefix = "play" }"#,
            "activity_id = { exists = true }",
            "lateness_ms = { gte = 600001 }",
            "quantity = [1, 2]",
            "quantity = { gte = 1, lte = 5 }",
            r#""properties.level" = "gold""#,
        ] {
            assert_eq!(read(text).unwrap()[0].to_string(), text);
        }
    }

    #[test]
    fn a_property_is_asked_by_its_path_as_text_or_number() {
        for (text, json, expected) in [
            (r#""properties.level" = "gold""#, r#"{"level":"gold"}"#, true),
            (r#""properties.level" = ["gold", "silver"]"#, r#"{"level":"iron"}"#, false),
            (r#""properties.a.b" = { prefix = "x" }"#, r#"{"a":{"b":"xy"}}"#, true),
            (r#""properties.score" = 10"#, r#"{"score":10.2}"#, true),
            (r#""properties.score" = { gte = 10 }"#, r#"{"score":10}"#, true),
            (r#""properties.score" = { gte = 10 }"#, r#"{"score":"10"}"#, false),
            (r#""properties.score" = { gte = 10 }"#, "{}", false),
            (r#""properties.score" = { not = 10 }"#, "{}", true),
            (r#""properties.vip" = true"#, r#"{"vip":true}"#, true),
            (r#""properties.vip" = { exists = true }"#, r#"{"vip":false}"#, true),
            (r#""properties.vip" = { exists = true }"#, r#"{"vip":""}"#, false),
        ] {
            let mut builder = crate::BatchBuilder::default();
            builder.unique_text(Field::Properties, json);
            builder.end_row();
            let batch = Batch::decode(&builder.finish()).unwrap();
            let conditions = read(text).unwrap();
            for reader in [PropertyReader::default(), properties_of(&conditions)] {
                let event = Event::new(&batch, 0, &reader);
                assert_eq!(conditions[0].holds(&event), expected, "{text} on {json}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_way_out() {
        for (text, expected) in [
            (r#""properties.a" = [1, "x"]"#, "mixes texts and whole numbers"),
            (r#""properties..a" = 1"#, "empty part"),
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
