//! One event of a batch as one JSON object: every field that is set, by its name and in the order of the catalogue.
use event::{Batch, FIELDS, Field, FieldKind, FieldOrigin};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{embedded::embedded, position::RecordPosition};

/// One event of a batch, and the position of the batch.
pub(crate) struct EventLine<'a> {
    pub(crate) position: RecordPosition,
    pub(crate) batch: &'a Batch,
    pub(crate) row: usize,
}

impl Serialize for EventLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.position.write(&mut map)?;
        map.serialize_entry("_row", &self.row)?;
        for &field in FIELDS {
            self.write(field, &mut map)?;
        }
        map.end()
    }
}

impl EventLine<'_> {
    fn write<M: SerializeMap>(&self, field: Field, map: &mut M) -> Result<(), M::Error> {
        let (batch, row, name) = (self.batch, self.row, field.name());
        match field.kind() {
            FieldKind::Text => match batch.text(field, row) {
                "" => Ok(()),
                text if field == Field::Properties => match embedded(text) {
                    Some(json) => map.serialize_entry(name, &json),
                    None => map.serialize_entry(name, text),
                },
                text => map.serialize_entry(name, text),
            },
            // A batch stores an absent number as 0. Ingest sets its fields on every event, so their 0 is a value.
            FieldKind::Number => match batch.number(field, row) {
                0 if field.origin() != FieldOrigin::Ingest => Ok(()),
                number => map.serialize_entry(name, &number),
            },
            // As text, because most JSON readers would round it.
            FieldKind::Key => match batch.key(field, row) {
                0 => Ok(()),
                key => map.serialize_entry(name, &key.to_string()),
            },
            FieldKind::Uuid => match batch.uuid(field, row) {
                0 => Ok(()),
                id => map.serialize_entry(name, &uuid::Uuid::from_u128(id).to_string()),
            },
            FieldKind::List => match batch.list(field, row) {
                [] => Ok(()),
                list => {
                    let texts: Vec<&str> = list.iter().map(|&text| batch.resolve(text)).collect();
                    map.serialize_entry(name, &texts)
                }
            },
            FieldKind::Map => match batch.list(field, row) {
                [] => Ok(()),
                list => map.serialize_entry(name, &Pairs { batch, list }),
            },
        }
    }
}

/// A map field: names and values alternate.
struct Pairs<'a> {
    batch: &'a Batch,
    list: &'a [event::TextRef],
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let resolve = |text: &event::TextRef| self.batch.resolve(*text);
        let pairs = self.list.chunks(2);
        serializer.collect_map(pairs.map(|pair| (resolve(&pair[0]), pair.get(1).map_or("", resolve))))
    }
}

#[cfg(test)]
mod tests {
    use event::BatchBuilder;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_shows_the_fields_it_has_and_no_others() {
        let mut builder = BatchBuilder::default();
        builder.text(Field::EventName, "share");
        builder.end_row();
        builder.text(Field::EventName, "content_view");
        builder.uuid(Field::EventId, 0x0190_0000_0000_7000_8000_0000_0000_0001);
        builder.key(Field::DeviceKey, u64::MAX);
        builder.number(Field::EventTime, 1_772_366_400_000);
        builder.number(Field::PlayedMs, -5);
        for text in ["music", "直播"] {
            builder.push_list(Field::Tags, text);
        }
        for text in ["home", "B", "player", "A"] {
            builder.push_list(Field::Experiments, text);
        }
        builder.text(Field::Properties, "{\"price\":1.10,\n\"n\":[1]}");
        builder.end_row();
        builder.text(Field::Properties, "{broken");
        builder.end_row();
        let batch = Batch::decode(&builder.finish()).unwrap();

        let row = |row| {
            let position = RecordPosition { partition: 3, offset: 41, timestamp_ms: Some(7) };
            let line = serde_json::to_string(&EventLine { position, batch: &batch, row }).unwrap();
            assert!(!line.contains('\n'), "{line}");
            (serde_json::from_str::<serde_json::Value>(&line).unwrap(), line)
        };
        let (event, line) = row(1);
        assert!(line.starts_with(r#"{"_partition":3,"_offset":41,"_timestamp":7,"_row":1,"#), "{line}");
        assert!(line.contains(r#""price":1.10"#), "numbers keep their digits: {line}");
        for (name, value) in [
            ("event_name", json!("content_view")),
            ("event_id", json!("01900000-0000-7000-8000-000000000001")),
            ("device_key", json!("18446744073709551615")),
            ("event_time", json!(1_772_366_400_000_i64)),
            ("clock_skew_ms", json!(0)),
            ("played_ms", json!(-5)),
            ("tags", json!(["music", "直播"])),
            ("experiments", json!({"home": "B", "player": "A"})),
            ("properties", json!({"price": 1.10, "n": [1]})),
        ] {
            assert_eq!(event[name], value, "{name}");
        }
        let (event, _) = row(0);
        for name in ["event_id", "played_ms", "tags", "experiments", "properties", "user_id"] {
            assert!(event.get(name).is_none(), "{name}");
        }
        assert_eq!(row(2).0["properties"], "{broken");
    }
}
