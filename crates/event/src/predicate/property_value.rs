//! A value inside `properties`, as text and as number.
use std::borrow::Cow;

/// The value at a path. Objects, arrays and `null` count as absent.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum PropertyValue<'a> {
    /// There is no value.
    #[default]
    Absent,
    /// A text.
    Text(Cow<'a, str>),
    /// A number without a fraction.
    Whole(i64),
    /// Any other number.
    Decimal(f64),
    /// true or false.
    Bool(bool),
}

impl PropertyValue<'_> {
    /// Whether the value exists; '' does not, as in every field.
    pub fn exists(&self) -> bool {
        !matches!(self, Self::Absent) && !matches!(self, Self::Text(text) if text.is_empty())
    }

    /// The value as a text; '' when absent. Numbers have their shortest form, so 1, 1.0 and 1e0 are equal.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Absent => Cow::Borrowed(""),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Whole(number) => Cow::Owned(number.to_string()),
            Self::Decimal(number) => {
                Cow::Owned(serde_json::Number::from_f64(*number).map_or_else(String::new, |n| n.to_string()))
            }
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
        }
    }

    /// The value as a whole number, rounded; true is 1. None for a text.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Absent | Self::Text(_) => None,
            Self::Whole(number) => Some(*number),
            // `as` saturates.
            Self::Decimal(number) => Some(number.round() as i64),
            Self::Bool(is_true) => Some(i64::from(*is_true)),
        }
    }
}
