//! Writes a valid event as a row of a batch, and computes the partition of its device.
use event::{BatchBuilder, Field, Kind, partition_for};
use std::borrow::Cow;

use crate::{
    contract::{ANONYMOUS_ID, APP_ID, CONTRACT_FIELDS},
    json::JsonValue,
    raw_event::{RawEvent, places},
    validate::Validated,
};

/// Where an event was read from.
#[derive(Debug, Clone, Copy)]
pub struct RecordOrigin {
    /// Partition of the raw record.
    pub partition: i32,
    /// Offset of the raw record.
    pub offset: i64,
    /// Position in the record's array.
    pub index: usize,
    /// Timestamp of the raw record, epoch milliseconds.
    pub received_at: i64,
}

/// Adds the event as a row.
pub fn encode(event: &RawEvent<'_>, validated: &Validated, origin: RecordOrigin, batch: &mut BatchBuilder) {
    fields(event, batch);
    let time = validated.time;
    batch.uuid(Field::EventId, validated.event_id.as_u128());
    batch.number(Field::EventTime, time.event_time);
    batch.number(Field::ReceivedAt, origin.received_at);
    batch.text(Field::TimeSource, time.source.as_str());
    batch.number(Field::ClockSkewMs, time.skew_ms);
    batch.number(Field::LatenessMs, origin.received_at.saturating_sub(time.event_time));
    batch.number(Field::OriginPartition, origin.partition.into());
    batch.number(Field::OriginOffset, origin.offset);
    batch.number(Field::OriginIndex, i64::try_from(origin.index).unwrap_or(i64::MAX));
    let kind = if validated.is_test { Kind::Test } else { Kind::Event };
    batch.text(Field::Kind, kind.as_str());
    batch.end_row();
}

/// The output partition. It is the same for all events of a device. Events of a server without an `anonymous_id` are
/// spread by their `event_id`. `key` is a buffer for the partition key, reused to avoid an allocation for each event.
pub fn partition(event: &RawEvent<'_>, validated: &Validated, partitions: u32, key: &mut Vec<u8>) -> u32 {
    key.clear();
    match event.text(ANONYMOUS_ID) {
        Some(anonymous_id) => {
            key.extend(event.text(APP_ID).unwrap_or(Cow::Borrowed("")).as_bytes());
            key.push(b':');
            key.extend(anonymous_id.as_bytes());
        }
        None => key.extend(validated.event_id.hyphenated().encode_lower(&mut [0; 36]).as_bytes()),
    }
    partition_for(key, partitions)
}

fn fields(event: &RawEvent<'_>, batch: &mut BatchBuilder) {
    for place in places(event.present()) {
        let Some(field) = CONTRACT_FIELDS[place].stored_as else { continue };
        match event.value(place) {
            JsonValue::Whole(number) => batch.number(field, number),
            JsonValue::Text(text) if is_mostly_unique(field) => batch.unique_text(field, &text.read()),
            JsonValue::Text(text) => batch.text(field, &text.read()),
            // Properties are stored byte for byte as sent.
            JsonValue::Object { json, .. } if field == Field::Properties => batch.unique_text(field, json),
            _ => (),
        }
    }
    for tag in &event.tags {
        batch.push_list(Field::Tags, &tag.read());
    }
    for (name, variant) in &event.experiments {
        batch.push_list(Field::Experiments, name);
        batch.push_list(Field::Experiments, &variant.read());
    }
}

/// Whether the texts of a field usually differ between devices or pages. For these fields, searching the batch for an
/// equal text costs more than it saves.
fn is_mostly_unique(field: Field) -> bool {
    matches!(
        field,
        Field::AnonymousId
            | Field::UserId
            | Field::SessionId
            | Field::DeviceId
            | Field::PageUrl
            | Field::PageTitle
            | Field::ClickId
            | Field::PlaybackId
            | Field::UploadId
            | Field::OrderId
    )
}
