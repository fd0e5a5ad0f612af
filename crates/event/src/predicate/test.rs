//! What a value must be, and whether it is.
use std::fmt;

use super::property_value::PropertyValue;

/// What a value must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// The text is one of these.
    TextIn(Vec<String>),
    /// The text starts with this.
    Prefix(String),
    /// The number is one of these.
    NumberIn(Vec<i64>),
    /// The number is between these, both included.
    Between(i64, i64),
    /// Whether the value exists: it is not '' or 0.
    Exists(bool),
    /// The inner test fails.
    Not(Box<Test>),
    /// All of these hold.
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

    /// Whether a value inside `properties` passes. Tests on numbers use its number, all others its text.
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

/// As the value of a condition in TOML.
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
