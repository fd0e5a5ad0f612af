//! Requests about offsets, retried while a broker restarts.
use kafka::PartitionReader;
use rdkafka::{Offset, TopicPartitionList, consumer::Consumer, error::KafkaError};
use runtime::Error;
use std::{thread, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 30;
const BACK_OFF: Duration = Duration::from_millis(500);

/// First offset and end of each of these partitions, as this reader's isolation level sees them.
pub(super) fn bounds(reader: &PartitionReader, partitions: &[(&str, i32)]) -> Result<Vec<(i64, i64)>, Error> {
    let request = || kafka::bounds(reader.consumer(), partitions, TIMEOUT);
    with_retries("reading the bounds of partitions", request)
}

/// End of each of these partitions, as this reader's isolation level sees it: the high watermark or the last stable
/// offset.
pub(super) fn ends(reader: &PartitionReader, partitions: &[(&str, i32)]) -> Result<Vec<i64>, Error> {
    let request = || kafka::ends(reader.consumer(), partitions, Offset::End, TIMEOUT);
    with_retries("reading the ends of partitions", request)
}

/// The first offset of each partition whose message is of this time, in epoch milliseconds, or later.
pub(super) fn offsets_at(
    reader: &PartitionReader,
    topic: &str,
    times_ms: &[(i32, i64)],
) -> Result<Vec<(i32, Offset)>, Error> {
    let action = "looking up the start of the de-duplication window";
    if times_ms.is_empty() {
        return Ok(Vec::new());
    }
    let mut times = TopicPartitionList::new();
    for &(partition, time_ms) in times_ms {
        times
            .add_partition_offset(topic, partition, Offset::Offset(time_ms))
            .map_err(|e| failed(action, &e))?;
    }
    let request = || reader.consumer().offsets_for_times(times.clone(), TIMEOUT);
    let found = with_retries(action, request)?;
    let offset = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        let offset = match element.offset() {
            Offset::Offset(offset) => Offset::Offset(offset),
            // All messages are older, which happens only when clocks are far apart: read all of them.
            _ => Offset::Beginning,
        };
        (element.partition(), offset)
    };
    Ok(found.elements().iter().map(offset).collect())
}

fn with_retries<T>(
    action: &'static str,
    mut request: impl FnMut() -> Result<T, KafkaError>,
) -> Result<T, Error> {
    for _ in 1..ATTEMPTS {
        match request() {
            Ok(reply) => return Ok(reply),
            Err(error) => tracing::warn!(%error, action, "request to kafka failed, retrying"),
        }
        thread::sleep(BACK_OFF);
    }
    request().map_err(|error| failed(action, &error))
}

pub(super) fn failed(action: &str, error: &KafkaError) -> Error {
    Error::Unavailable(format!("restoring state: {action} failed: {error}").into())
}
