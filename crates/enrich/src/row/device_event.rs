//! Builds events of devices from rows.
use event::{ActivityStatus, Batch, Field};

use super::names::NameFacts;
use crate::device::{FastEvent, commerce::CommerceEvent, playback::PlaybackEvent, text_hash};

/// The fast part of a row's event: for the stream from the clean batch, for a restore from the enriched one. It reads
/// only fields that enrich does not change. `touched_activity` is the activity that the event touches with status `ok`:
/// the registry names it for the stream, [`stamped_touch`] for a restore.
pub(crate) fn fast_event<'a>(
    batch: &Batch,
    row: usize,
    event_key: u128,
    touched_activity: Option<&'a str>,
) -> FastEvent<'a> {
    FastEvent {
        time_ms: batch.number(Field::EventTime, row),
        received_ms: batch.number(Field::ReceivedAt, row),
        id: (event_key >> 64) as u64 ^ event_key as u64,
        number: batch.number(Field::EventNumber, row),
        playback: playback_event(batch, row),
        touched_activity,
    }
}

/// The activity that the event of an enriched row touches with status `ok`.
pub(crate) fn stamped_touch(batch: &Batch, row: usize) -> Option<&str> {
    let is_ok = batch.text(Field::ActivityStatus, row) == ActivityStatus::Ok.as_str();
    is_ok.then(|| batch.text(Field::ActivityId, row))
}

/// The order or VIP page of a row.
pub(crate) fn commerce_event(batch: &Batch, row: usize, name: NameFacts) -> Option<CommerceEvent<'_>> {
    if name.is_vip_page {
        return Some(CommerceEvent::Page { entry_point: batch.text(Field::EntryPoint, row) });
    }
    let id = text_hash(batch.text(Field::OrderId, row));
    name.is_order.then_some(CommerceEvent::Order { id, is_vip: name.is_vip_order })
}

/// Hash of the client's session ID.
pub(crate) fn session(batch: &Batch, row: usize) -> Option<u64> {
    match batch.text(Field::SessionId, row) {
        "" => None,
        id => Some(text_hash(id)),
    }
}

fn playback_event(batch: &Batch, row: usize) -> Option<PlaybackEvent> {
    let id = match batch.text(Field::PlaybackId, row) {
        "" => return None,
        id => id,
    };
    if !batch.text(Field::EventName, row).starts_with("playback_") {
        return None;
    }
    let content = match batch.text(Field::ContentId, row) {
        "" => 0,
        content => text_hash(content),
    };
    Some(PlaybackEvent {
        id: text_hash(id),
        played_ms: batch.number(Field::PlayedMs, row),
        duration_ms: batch.number(Field::ContentDurationMs, row),
        content,
    })
}
