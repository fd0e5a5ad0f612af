//! Writes a rejected event to `dead-letters`: the original key and bytes as the message, cut when they are too large,
//! and the reason and the origin as headers.
use event::{KeptBytes, Rejection, header};
use runtime::{
    Error,
    stage::{Message, Output, Record},
};

use super::topics::IngestTopics;
use crate::decide::Decision;

/// Sends the dead letter of one decision about `record`.
pub(crate) fn send(
    topics: &IngestTopics,
    record: &Record<'_>,
    decision: &Decision<'_, '_>,
    rejection: &Rejection,
    output: &mut dyn Output,
) -> Result<(), Error> {
    let Rejection { code, pointer, message } = rejection;
    let event = decision.event;
    let (app_id, platform, library) = (event.app_id(), event.platform(), event.library());
    let partition = record.partition.to_string();
    let offset = record.offset.to_string();
    let index = decision.index.to_string();
    let received_at = record.timestamp_ms.to_string();
    let is_whole_record = record.value.is_none_or(|value| value.len() == decision.bytes.len());
    let kept = if is_whole_record {
        KeptBytes::of_record(record.key, decision.bytes)
    } else {
        KeptBytes::of_element(record.key, decision.bytes)
    };
    let mut headers = vec![
        (header::CODE, code.as_str()),
        (header::MESSAGE, message),
        (header::POINTER, pointer),
        (header::ORIGIN_TOPIC, &topics.raw),
        (header::ORIGIN_PARTITION, &partition),
        (header::ORIGIN_OFFSET, &offset),
        (header::ORIGIN_INDEX, &index),
        (header::STAGE, "ingest"),
        (header::VERSION, env!("CARGO_PKG_VERSION")),
        (header::APP_ID, &app_id),
        (header::PLATFORM, &platform),
        (header::LIBRARY, &library),
        (header::RECEIVED_AT, &received_at),
    ];
    headers.extend(kept.headers());
    output.send(Message {
        topic: &topics.dead_letters,
        partition: record.partition.rem_euclid(topics.dead_letter_partitions.max(1) as i32),
        key: kept.key,
        value: kept.value,
        headers: &headers,
    })
}
