//! A valid event as a row of a batch, and the partition its device lives on.
use event::{BatchBuilder, Field, Kind, partition_for};
use std::borrow::Cow;

use crate::{
    contract::{self, PARTS},
    json::Value,
    parse::{Event, places},
    validate::Facts,
};

/// Where an event comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// Partition of the raw record.
    pub partition: i32,
    /// Offset of the raw record.
    pub offset: i64,
    /// Place in the record's array.
    pub index: usize,
    /// The raw record's time, epoch milliseconds.
    pub received_at: i64,
}

/// Adds a row.
pub fn encode(event: &Event<'_>, facts: &Facts, origin: Origin, batch: &mut BatchBuilder) {
    fields(event, batch);
    let time = facts.time;
    batch.uuid(Field::EventId, facts.event_id.as_u128());
    batch.number(Field::EventTime, time.event_time);
    batch.number(Field::ReceivedAt, origin.received_at);
    batch.text(Field::TimeSource, time.source.as_str());
    batch.number(Field::ClockSkewMs, time.skew_ms);
    batch.number(Field::LatenessMs, origin.received_at.saturating_sub(time.event_time));
    batch.number(Field::OriginPartition, origin.partition.into());
    batch.number(Field::OriginOffset, origin.offset);
    batch.number(Field::OriginIndex, i64::try_from(origin.index).unwrap_or(i64::MAX));
    let kind = if facts.is_test { Kind::Test } else { Kind::Event };
    batch.text(Field::Kind, kind.as_str());
    batch.end_row();
}

/// The output partition: all events of a device share one. Events of a server that acts for no device are spread
/// by their own identifier. `key` is room for the partition's key, so that none is allocated per event.
pub fn partition(event: &Event<'_>, facts: &Facts, partitions: u32, key: &mut Vec<u8>) -> u32 {
    key.clear();
    match event.text(contract::ANONYMOUS_ID) {
        Some(anonymous_id) => {
            key.extend(event.text(contract::APP_ID).unwrap_or(Cow::Borrowed("")).as_bytes());
            key.push(b':');
            key.extend(anonymous_id.as_bytes());
        }
        None => key.extend(facts.event_id.hyphenated().encode_lower(&mut [0; 36]).as_bytes()),
    }
    partition_for(key, partitions)
}

fn fields(event: &Event<'_>, batch: &mut BatchBuilder) {
    for place in places(event.present()) {
        let Some(field) = PARTS[place].field else { continue };
        match event.value(place) {
            Value::Whole(number) => batch.number(field, number),
            Value::Text(text) if is_mostly_unique(field) => batch.unique_text(field, &text.read()),
            Value::Text(text) => batch.text(field, &text.read()),
            // The properties travel as they were sent.
            Value::Object { json, .. } if field == Field::Properties => batch.unique_text(field, json),
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

/// Whether a text is likely to differ from one device or page to the next: looking for an equal one in the batch
/// would cost more than it saves.
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
