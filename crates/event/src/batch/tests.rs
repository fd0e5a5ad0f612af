//! Batches are read back as built, by this crate and by any Protobuf library.
use super::*;
use crate::field::{FIELDS, Field, FieldKind};
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};

fn two_events() -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    builder.text(Field::EventName, "login");
    builder.uuid(Field::EventId, 7 << 64 | 9);
    builder.push_list(Field::Tags, "music");
    builder.push_list(Field::Tags, "live");
    builder.end_row();
    builder.text(Field::EventName, "login");
    builder.number(Field::PlayedMs, -5);
    builder.end_row();
    builder.finish()
}

#[test]
fn a_batch_is_read_back_as_built() {
    let batch = Batch::decode(&two_events()).unwrap();
    assert_eq!(batch.rows(), 2);
    assert_eq!(batch.text(Field::EventName, 1), "login");
    assert_eq!(batch.uuid(Field::EventId, 0), 7 << 64 | 9);
    assert_eq!(batch.uuid(Field::EventId, 1), 0);
    assert_eq!((batch.number(Field::PlayedMs, 0), batch.number(Field::PlayedMs, 1)), (0, -5));
    let tags: Vec<&str> = batch.list(Field::Tags, 0).iter().map(|&t| batch.resolve(t)).collect();
    assert_eq!(tags, ["music", "live"]);
    assert!(batch.list(Field::Tags, 1).is_empty());
    assert_eq!(batch.text(Field::UserId, 0), "");
}

/// The batch as read with the published schema alone.
fn by_schema(bytes: &[u8]) -> DynamicMessage {
    let schemas = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas");
    let files = protox::compile(["event_batch.proto"], [schemas]).unwrap();
    let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
    let batch = pool.get_message_by_name("millrace.v1.EventBatch").unwrap();
    DynamicMessage::decode(batch, bytes).unwrap()
}

#[test]
fn a_batch_is_written_as_the_published_schema_says() {
    let message = by_schema(&two_events());
    let field = |message: &DynamicMessage, name: &str| message.get_field_by_name(name).unwrap().into_owned();
    let integers = |message: &DynamicMessage, name: &str| {
        let list = field(message, name);
        let list = list.as_message().unwrap();
        let bytes = field(list, "bytes").as_bytes().unwrap().to_vec();
        (field(list, "width").as_u32().unwrap(), field(list, "base").as_i64().unwrap(), bytes)
    };
    assert_eq!(field(&message, "format"), Value::U32(2));
    assert_eq!(field(&message, "rows"), Value::U32(2));
    assert_eq!(field(&message, "text"), Value::Bytes(b"loginmusiclive".as_slice().to_vec().into()));
    assert_eq!(integers(&message, "text_lengths"), (1, 0, vec![5, 5, 4]));
    let columns = field(&message, "columns");
    let columns: Vec<&DynamicMessage> =
        columns.as_list().unwrap().iter().map(|c| c.as_message().unwrap()).collect();
    let names: Vec<Value> = columns.iter().map(|column| field(column, "field")).collect();
    assert_eq!(names, ["event_name", "event_id", "tags", "played_ms"].map(|name| Value::String(name.into())));
    assert_eq!(integers(columns[0], "values"), (1, 0, vec![1, 1]));
    let halves = [7u64.to_le_bytes(), 9u64.to_le_bytes()].concat();
    assert_eq!(integers(columns[1], "values"), (8, 0, halves));
    assert_eq!(integers(columns[2], "values"), (1, 0, vec![2, 3]));
    assert_eq!(integers(columns[2], "list_lengths"), (1, 0, vec![2]));
    assert_eq!(integers(columns[3], "values"), (1, -5, vec![5, 0]));
}

#[test]
fn a_batch_written_by_a_protobuf_library_is_read() {
    let message = by_schema(&two_events());
    let batch = Batch::decode(&message.encode_to_vec()).unwrap();
    assert_eq!((batch.rows(), batch.number(Field::PlayedMs, 1)), (2, -5));
}

#[test]
fn stamping_adds_and_replaces_columns_and_keeps_unknown_ones() {
    // Field 5, length-delimited: a column whose field is not in the catalogue.
    let newer = b"\x2a\x0f\x0a\x0dof_the_future";
    let message = [two_events().as_slice(), newer].concat();
    let mut builder = BatchBuilder::stamping(Batch::decode(&message).unwrap());
    builder.end_row();
    builder.text(Field::ChannelGroup, "direct");
    builder.text(Field::EventName, "logout");
    builder.end_row();
    let bytes = builder.finish();
    let batch = Batch::decode(&bytes).unwrap();
    assert_eq!((batch.text(Field::EventName, 0), batch.text(Field::EventName, 1)), ("login", "logout"));
    assert_eq!((batch.text(Field::ChannelGroup, 0), batch.text(Field::ChannelGroup, 1)), ("", "direct"));
    assert_eq!(batch.number(Field::PlayedMs, 1), -5);
    assert!(bytes.ends_with(newer));
}

#[test]
fn a_builder_can_be_used_again() {
    let mut builder = BatchBuilder::default();
    builder.text(Field::EventName, "login");
    builder.end_row();
    builder.finish();
    builder.text(Field::EventName, "share");
    builder.end_row();
    let batch = Batch::decode(&builder.finish()).unwrap();
    assert_eq!((batch.rows(), batch.text(Field::EventName, 0)), (1, "share"));
}

#[test]
fn only_a_format_of_a_newer_program_is_newer() {
    for (bytes, newer) in [
        (&b""[..], false),
        // The first field of many Protobuf messages is a number.
        (b"\x08\x03", false),
        (b"\x08\x03\x10\x01", true),
        (b"\x08\x01\x10\x01", false),
        (b"\x08\xff\xff\x03\x10\x01", false),
        (b"{\"event\":1}", false),
    ] {
        let error = Batch::decode(bytes).unwrap_err();
        assert_eq!(error.is_newer(), newer, "{bytes:?}: {error}");
    }
}

#[test]
fn a_batch_is_split_into_messages_of_bounded_size_and_a_large_row_goes_alone() {
    let mut builder = BatchBuilder::default();
    for row in 0..100_u64 {
        let length = if row == 60 { 9_000 } else { 50 };
        builder.unique_text(Field::PageUrl, &row.to_string().repeat(length));
        builder.text(Field::EventName, ["login", "share"][row as usize % 2]);
        builder.uuid(Field::EventId, u128::from(row) << 64 | 1);
        builder.key(Field::DeviceKey, row);
        builder.number(Field::PlayedMs, -(row as i64));
        if row % 3 == 1 {
            builder.push_list(Field::Tags, "music");
            builder.push_list(Field::Tags, &row.to_string());
        }
        builder.end_row();
    }
    let shown = |message: &[u8]| {
        let batch = Batch::decode(message).unwrap();
        let row = |row| {
            let tags: Vec<&str> =
                batch.list(Field::Tags, row).iter().map(|&tag| batch.resolve(tag)).collect();
            let name = batch.text(Field::EventName, row);
            let (url, id) = (batch.text(Field::PageUrl, row), batch.uuid(Field::EventId, row));
            let (key, played) = (batch.key(Field::DeviceKey, row), batch.number(Field::PlayedMs, row));
            format!("{name} {url} {id} {key} {played} {tags:?}")
        };
        (0..batch.rows()).map(row).collect::<Vec<_>>()
    };
    let whole = builder.clone().finish_within(1 << 20);
    assert_eq!(whole, [builder.clone().finish()]);
    let parts = builder.finish_within(2_000);
    assert_eq!(parts.iter().flat_map(|part| shown(part)).collect::<Vec<_>>(), shown(&whole[0]));
    let large: Vec<_> = parts.iter().filter(|part| part.len() > 2_000).collect();
    assert_eq!(large.len(), 1);
    assert_eq!(Batch::decode(large[0]).unwrap().rows(), 1);
    assert!(parts.len() < 20, "{} parts", parts.len());
    assert_eq!(builder.rows(), 0);
}

proptest! {
    #[test]
    fn numbers_of_any_width_are_read_back(
        least in any::<i64>(),
        distances in prop::collection::vec(0u32..64, 0..9),
    ) {
        let value = |&distance: &u32| least.wrapping_add_unsigned(1 << distance);
        let numbers: Vec<i64> = distances.iter().map(value).collect();
        let mut builder = BatchBuilder::default();
        for &number in &numbers {
            builder.number(Field::PlayedMs, number);
            builder.end_row();
        }
        let batch = Batch::decode(&builder.finish()).unwrap();
        let read: Vec<i64> = (0..batch.rows()).map(|row| batch.number(Field::PlayedMs, row)).collect();
        prop_assert_eq!(read, numbers);
    }

    #[test]
    fn any_number_of_texts_is_read_back(count in prop::sample::select(vec![1usize, 254, 255, 256, 65_535, 65_536])) {
        let mut builder = BatchBuilder::default();
        (0..count).for_each(|nth| builder.push_list(Field::Tags, &nth.to_string()));
        builder.end_row();
        let batch = Batch::decode(&builder.finish()).unwrap();
        let tags = batch.list(Field::Tags, 0);
        prop_assert_eq!(tags.len(), count);
        prop_assert_eq!(batch.resolve(tags[count - 1]), (count - 1).to_string());
    }

    #[test]
    fn texts_are_the_same_when_their_bytes_are(
        a in prop::collection::vec(0u8..3, 0..80),
        change in any::<prop::sample::Index>(),
    ) {
        let mut b = a.clone();
        prop_assert!(same_text(&a, &b));
        prop_assert!(!same_text(&a, &[&b[..], b"x"].concat()));
        if !b.is_empty() {
            let at = change.index(b.len());
            b[at] += 1;
            prop_assert!(!same_text(&a, &b));
        }
    }

    #[test]
    fn damaged_bytes_never_panic(at in 0usize..200, value: u8) {
        let mut bytes = two_events();
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(batch) = Batch::decode(&bytes) {
            for row in 0..batch.rows() {
                for &field in FIELDS {
                    match field.kind() {
                        FieldKind::Text => { batch.text(field, row); }
                        FieldKind::Number => { batch.number(field, row); }
                        FieldKind::Key => { batch.key(field, row); }
                        FieldKind::Uuid => { batch.uuid(field, row); }
                        FieldKind::List | FieldKind::Map => { batch.list(field, row); }
                    }
                }
            }
        }
    }
}
