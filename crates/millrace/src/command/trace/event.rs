//! One event that was found, wherever it was found: its fields as a batch of one row, and its places.
use std::fmt;

use event::{Batch, BatchBuilder, FIELDS, Field, FieldKind, Kind, RejectCode};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::find::RawPlace;
use crate::{error::Error, record::Place, row::Row};

/// Where the enriched event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct EnrichedPlace {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) row: usize,
}

impl fmt::Display for EnrichedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, offset, row } = self;
        write!(f, "enriched-events partition {partition}, offset {offset}, row {row}")
    }
}

/// An enriched event.
#[derive(Debug)]
pub(crate) struct Traced {
    pub(crate) place: EnrichedPlace,
    /// The event alone.
    pub(crate) batch: Batch,
}

impl Traced {
    /// One event of a batch of `enriched-events`.
    pub(crate) fn of_batch(batch: &Batch, place: EnrichedPlace) -> Result<Self, Error> {
        let row = place.row;
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
        Self::finished(builder, place)
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
        let place = EnrichedPlace {
            partition: i32::try_from(number("enriched_partition")).unwrap_or(0),
            offset: number("enriched_offset"),
            row: usize::try_from(number("enriched_row")).unwrap_or(0),
        };
        Self::finished(builder, place)
    }

    fn finished(mut builder: BatchBuilder, place: EnrichedPlace) -> Result<Self, Error> {
        builder.end_row();
        let batch = Batch::decode(&builder.finish());
        let batch = batch.map_err(|error| Error::Failed(format!("the event at {place}: {error}")))?;
        Ok(Self { place, batch })
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

    pub(crate) fn raw_place(&self, topic: &str) -> RawPlace {
        RawPlace {
            topic: topic.to_owned(),
            partition: self.number(Field::OriginPartition),
            offset: self.number(Field::OriginOffset),
            index: self.number(Field::OriginIndex),
        }
    }

    /// Whether this one is why the other, by the same device, is a duplicate.
    pub(crate) fn is_accepted_before(&self, other: &Self) -> bool {
        let same = |field| self.text(field) == other.text(field);
        same(Field::AppId) && same(Field::AnonymousId) && self.text(Field::Kind) != Kind::Duplicate.as_str()
    }

    /// Every field it has, as `millrace cat` prints it.
    pub(crate) fn fields(&self) -> Result<Value, Error> {
        let EnrichedPlace { partition, offset, .. } = self.place;
        let row = Row { place: Place { partition, offset, timestamp_ms: None }, batch: &self.batch, row: 0 };
        let mut fields =
            serde_json::to_value(&row).map_err(|error| Error::Failed(format!("the event: {error}")))?;
        if let Some(fields) = fields.as_object_mut() {
            fields.retain(|name, _| !name.starts_with('_'));
        }
        Ok(fields)
    }
}

/// What to select from the view `events`, so that [`Traced::of_row`] reads it: times as epoch milliseconds, keys as
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

/// A refused record or element of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DeadLetter {
    pub(crate) code: String,
    pub(crate) message: String,
    /// JSON pointer to the field; '' for all of it.
    pub(crate) pointer: String,
    pub(crate) stage: String,
    pub(crate) raw: RawPlace,
    /// Epoch milliseconds.
    pub(crate) received_at: i64,
    pub(crate) app_id: String,
    pub(crate) anonymous_id: String,
    pub(crate) event_name: String,
    /// Whether the refused bytes are this event, and not something larger or broken that names its ID.
    pub(crate) is_its_own: bool,
}

impl DeadLetter {
    /// What its code means.
    pub(crate) fn meaning(&self) -> String {
        let known = RejectCode::ALL.iter().find(|code| code.as_str() == self.code);
        known.map_or_else(String::new, |code| code.meaning().to_owned())
    }

    /// Reads the refused bytes as far as they can be read. None when they do not name the event.
    pub(crate) fn reading(self, id: u128, payload: &[u8]) -> Option<Self> {
        let wanted = Uuid::from_u128(id).to_string();
        let named = payload.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted.as_bytes()));
        if !named {
            return None;
        }
        let event: Value = serde_json::from_slice(payload).unwrap_or_default();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let is_its_own = text("event_id").eq_ignore_ascii_case(&wanted);
        if event.is_object() && !is_its_own {
            // Another event that mentions the ID, in its properties for example.
            return None;
        }
        let app_id = if self.app_id.is_empty() { text("app_id") } else { self.app_id };
        let (anonymous_id, event_name) = (text("anonymous_id"), text("event_name"));
        Some(Self { app_id, anonymous_id, event_name, is_its_own, ..self })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: u128 = 0x0199_f0a0_7c1e_7abc_8def_0123_4567_89ab;

    #[test]
    fn a_row_of_the_table_and_a_row_of_a_batch_are_the_same_event() {
        let row = json!({
            "event_id": "0199f0a0-7c1e-7abc-8def-0123456789ab", "event_name": "content_view",
            "device_key": "18446744073709551615", "event_time": 1_772_366_400_000_i64, "played_ms": "-5",
            "tags": ["music", "直播"], "experiments": {"home": "B"},
            "enriched_partition": 3, "enriched_offset": "41", "enriched_row": 7,
        });
        let from_table = Traced::of_row(&row).unwrap();
        assert_eq!(from_table.place, EnrichedPlace { partition: 3, offset: 41, row: 7 });
        let place = EnrichedPlace { row: 0, ..from_table.place };
        let from_batch = Traced::of_batch(&from_table.batch, place).unwrap();
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

    #[test]
    fn refused_bytes_are_the_event_or_name_it_or_have_nothing_to_do_with_it() {
        for (payload, expected) in [
            (r#"{"event_id":"0199F0A0-7C1E-7ABC-8DEF-0123456789AB","event_name":"x"}"#, Some(true)),
            (r#"{"event_id":"0199f0a0-7c1e-7abc-8def-0123456789ab",broken"#, Some(false)),
            (r#"[{"event_id":"0199f0a0-7c1e-7abc-8def-0123456789ab"}]"#, Some(false)),
            (r#"{"event_id":"x","properties":{"a":"0199f0a0-7c1e-7abc-8def-0123456789ab"}}"#, None),
            (r#"{"event_id":"0199f0a0-7c1e-7abc-8def-0123456789ac"}"#, None),
            ("", None),
        ] {
            let letter = DeadLetter::default().reading(ID, payload.as_bytes());
            assert_eq!(letter.map(|letter| letter.is_its_own), expected, "{payload}");
        }
    }
}
