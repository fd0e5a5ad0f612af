//! One event that was found in a topic or in a table: its fields as a batch of one row, and its position.
use event::{Batch, BatchBuilder, FIELDS, Field, FieldKind, Kind};
use serde_json::Value;
use uuid::Uuid;

use super::position::{EnrichedPosition, RawPosition};
use crate::{
    error::Error,
    json_lines::{event::EventLine, position::RecordPosition},
};

/// An enriched event.
#[derive(Debug)]
pub(crate) struct TracedEvent {
    pub(crate) position: EnrichedPosition,
    /// A batch with this event only.
    pub(crate) batch: Batch,
}

impl TracedEvent {
    /// One event of a batch of `enriched-events`.
    pub(crate) fn of_batch(batch: &Batch, position: EnrichedPosition) -> Result<Self, Error> {
        let row = position.row;
        let mut builder = BatchBuilder::default();
        for &field in FIELDS {
            match field.kind() {
                FieldKind::Text => builder.text(field, batch.text(field, row)),
                FieldKind::Number => builder.number(field, batch.number(field, row)),
                FieldKind::Key => builder.key(field, batch.key(field, row)),
                FieldKind::Uuid => builder.uuid(field, batch.uuid(field, row)),
                FieldKind::List | FieldKind::Map => {
                    for &text in batch.list(field, row) {
                        builder.push_list(field, batch.resolve(text));
                    }
                }
            }
        }
        Self::finish(builder, position)
    }

    /// One row of the view `events`, as JSON by [`columns`].
    pub(crate) fn of_row(row: &Value) -> Result<Self, Error> {
        let number = |name: &str| match &row[name] {
            Value::String(text) => text.parse().unwrap_or(0),
            other => other.as_i64().unwrap_or(0),
        };
        let mut builder = BatchBuilder::default();
        for &field in FIELDS {
            let value = &row[field.name()];
            let text = value.as_str().unwrap_or_default();
            match field.kind() {
                FieldKind::Text => builder.text(field, text),
                FieldKind::Number => builder.number(field, number(field.name())),
                FieldKind::Key => builder.key(field, text.parse().unwrap_or(0)),
                FieldKind::Uuid => builder.uuid(field, Uuid::parse_str(text).map_or(0, |id| id.as_u128())),
                FieldKind::List => {
                    let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
                    texts.for_each(|text| builder.push_list(field, text));
                }
                FieldKind::Map => {
                    for (name, value) in value.as_object().into_iter().flatten() {
                        builder.push_list(field, name);
                        builder.push_list(field, value.as_str().unwrap_or_default());
                    }
                }
            }
        }
        let position = EnrichedPosition {
            partition: i32::try_from(number("enriched_partition")).unwrap_or(0),
            offset: number("enriched_offset"),
            row: usize::try_from(number("enriched_row")).unwrap_or(0),
        };
        Self::finish(builder, position)
    }

    fn finish(mut builder: BatchBuilder, position: EnrichedPosition) -> Result<Self, Error> {
        builder.end_row();
        let batch = Batch::decode(&builder.finish());
        let batch = batch.map_err(|error| Error::Failed(format!("the event at {position}: {error}")))?;
        Ok(Self { position, batch })
    }

    pub(crate) fn text(&self, field: Field) -> &str {
        self.batch.text(field, 0)
    }

    pub(crate) fn number(&self, field: Field) -> i64 {
        self.batch.number(field, 0)
    }

    pub(crate) fn list(&self, field: Field) -> Vec<&str> {
        self.batch.list(field, 0).iter().map(|&text| self.batch.resolve(text)).collect()
    }

    pub(crate) fn raw_position(&self, topic: &str) -> RawPosition {
        RawPosition {
            topic: topic.to_owned(),
            partition: self.number(Field::OriginPartition),
            offset: self.number(Field::OriginOffset),
            index: self.number(Field::OriginIndex),
        }
    }

    /// Whether this is the accepted event of which the other one is a duplicate.
    pub(crate) fn is_original_of(&self, other: &Self) -> bool {
        let same = |field| self.text(field) == other.text(field);
        same(Field::AppId) && same(Field::AnonymousId) && self.text(Field::Kind) != Kind::Duplicate.as_str()
    }

    /// Whether enrich read the state of the device for this event.
    pub(crate) fn has_device_facts(&self) -> bool {
        self.text(Field::Kind) == Kind::Event.as_str() && self.batch.key(Field::DeviceKey, 0) != 0
    }

    /// Every field that is set, as `millrace cat` prints it.
    pub(crate) fn fields(&self) -> Result<Value, Error> {
        let EnrichedPosition { partition, offset, .. } = self.position;
        let position = RecordPosition { partition, offset, timestamp_ms: None };
        let row = EventLine { position, batch: &self.batch, row: 0 };
        let mut fields =
            serde_json::to_value(&row).map_err(|error| Error::Failed(format!("the event: {error}")))?;
        if let Some(fields) = fields.as_object_mut() {
            fields.retain(|name, _| !name.starts_with('_'));
        }
        Ok(fields)
    }
}

/// The columns of the view `events` in the form that [`TracedEvent::of_row`] reads: times as epoch milliseconds, keys as
/// text.
pub(crate) fn columns() -> String {
    let of_field = |field: &Field| {
        let name = field.name();
        match field.kind() {
            FieldKind::Number if aggregate::table::is_time(*field) => {
                format!("toUnixTimestamp64Milli({name}) AS {name}")
            }
            FieldKind::Key => format!("toString({name}) AS {name}"),
            _ => name.to_owned(),
        }
    };
    let mut columns: Vec<String> = FIELDS.iter().map(of_field).collect();
    columns.extend(["enriched_partition", "enriched_offset", "enriched_row"].map(str::to_owned));
    columns.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_of_the_table_and_a_row_of_a_batch_give_the_same_event() {
        let row = json!({
            "event_id": "0199f0a0-7c1e-7abc-8def-0123456789ab", "event_name": "content_view",
            "device_key": "18446744073709551615", "event_time": 1_772_366_400_000_i64, "played_ms": "-5",
            "tags": ["music", "直播"], "experiments": {"home": "B"},
            "enriched_partition": 3, "enriched_offset": "41", "enriched_row": 7,
        });
        let from_table = TracedEvent::of_row(&row).unwrap();
        assert_eq!(from_table.position, EnrichedPosition { partition: 3, offset: 41, row: 7 });
        let position = EnrichedPosition { row: 0, ..from_table.position };
        let from_batch = TracedEvent::of_batch(&from_table.batch, position).unwrap();
        let fields = from_batch.fields().unwrap();
        assert_eq!(fields, from_table.fields().unwrap());
        for (name, value) in [
            ("event_id", json!("0199f0a0-7c1e-7abc-8def-0123456789ab")),
            ("device_key", json!("18446744073709551615")),
            ("event_time", json!(1_772_366_400_000_i64)),
            ("played_ms", json!(-5)),
            ("tags", json!(["music", "直播"])),
            ("experiments", json!({"home": "B"})),
        ] {
            assert_eq!(fields[name], value, "{name}");
        }
    }
}
