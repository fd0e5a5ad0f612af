//! A condition on one event, and the values of the event that conditions read.
use std::{cell::OnceCell, fmt};

use super::{
    property_path::PropertyPath,
    property_reader::{self, PropertyReader},
    property_value::PropertyValue,
    test::Test,
};
use crate::{
    batch::Batch,
    field::{Field, FieldKind},
};

/// What the value of one field, or one value inside `properties`, must be.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The field.
    pub field: Field,
    /// The path of a value inside `properties`; `field` is then [`Field::Properties`].
    pub path: Option<PropertyPath>,
    /// What its value must be.
    pub test: Test,
}

impl Condition {
    /// Whether the condition holds for an event. For many events, apply [`test`](Self::test) column by column
    /// instead.
    pub fn holds(&self, event: &EventValues<'_>) -> bool {
        let EventValues { batch, row, .. } = *event;
        if let Some(path) = &self.path {
            return match event.known_property(path) {
                Some(value) => self.test.property(value),
                None => {
                    self.test.property(&property_reader::value_at(path, batch.text(Field::Properties, row)))
                }
            };
        }
        match self.field.kind() {
            FieldKind::Text => self.test.text(batch.text(self.field, row)),
            FieldKind::Number => self.test.number(batch.number(self.field, row)),
            // A key supports `exists` only.
            FieldKind::Key => self.test.number(i64::from(batch.key(self.field, row) != 0)),
            FieldKind::Uuid | FieldKind::List | FieldKind::Map => false,
        }
    }
}

/// The values of one event, for several conditions. The first condition on a property reads all properties that the
/// reader knows, so the event's `properties` are read once for any number of conditions.
#[derive(Debug)]
pub struct EventValues<'a> {
    batch: &'a Batch,
    row: usize,
    reader: &'a PropertyReader,
    properties: OnceCell<Vec<PropertyValue<'a>>>,
}

impl<'a> EventValues<'a> {
    /// The event in this row. `reader` comes from [`properties_of`] all conditions that may be checked; a property
    /// that it does not know is read separately, each time.
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

/// A reader of every property that the conditions use.
pub fn properties_of<'c>(conditions: impl IntoIterator<Item = &'c Condition>) -> PropertyReader {
    let mut reader = PropertyReader::default();
    for path in conditions.into_iter().filter_map(|condition| condition.path.as_ref()) {
        reader.add(path);
    }
    reader
}

/// As written in TOML: `event_name = { prefix = "playback_" }`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "\"{path}\" = {}", self.test),
            None => write!(f, "{} = {}", self.field.name(), self.test),
        }
    }
}
