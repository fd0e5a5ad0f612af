//! Whether `clean-events` still has the number of partitions over which its devices were spread.
//!
//! A device is in the partition that the hash of its ID gives, and enrich remembers it in the partition of the same number.
//! With another number of partitions known devices come to partitions that do not know them, and count as new. Partitions
//! cannot be removed, and the number is written nowhere, so it is found from the events themselves.
use event::{Batch, Field, partition_for};
use rdkafka::{
    Message,
    consumer::{BaseConsumer, DefaultConsumerContext},
    error::KafkaError,
};
use runtime::config::Settings;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::{
    bounds::bounds,
    client,
    partition_reader::{PartitionReader, Read},
};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a sample may take. A start must not wait for a slow broker.
const SAMPLE_FOR: Duration = Duration::from_secs(3);
/// Offsets at the beginning of a partition of which the first batch is taken. Some can be control records.
const OFFSETS: i64 = 100;

/// A device of an old batch, and the partition it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    /// The partition key: `app_id:anonymous_id`.
    key: String,
    partition: u32,
}

/// Devices of the oldest batch of each partition.
pub(super) fn sample(settings: &Settings, topic: &str, partitions: u32) -> Result<Vec<Placed>, KafkaError> {
    let mut config = client::client(settings);
    config
        .set("group.id", format!("{}-topics", settings.pipeline))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        // A broker returns at least one batch, and one is enough.
        .set("max.partition.fetch.bytes", "1")
        .set("fetch.wait.max.ms", "50");
    let consumer: BaseConsumer<DefaultConsumerContext> = config.create()?;
    let named: Vec<(&str, i32)> = (0..partitions as i32).map(|partition| (topic, partition)).collect();
    let ends = bounds(&consumer, &named, REQUEST_TIMEOUT)?;
    let spans: Vec<(i32, i64, i64)> = named
        .iter()
        .zip(ends)
        .map(|(&(_, partition), (low, high))| (partition, low, high.min(low + OFFSETS)))
        .filter(|(_, low, high)| low < high)
        .collect();
    let mut reader = PartitionReader::with_consumer(consumer);
    reader.read_up_to(topic, &spans)?;
    let (mut placed, mut seen) = (Vec::new(), BTreeSet::new());
    let started = Instant::now();
    while seen.len() < spans.len() && started.elapsed() < SAMPLE_FOR {
        match reader.next(Duration::from_millis(100)) {
            Ok(Read::Record(message)) if seen.insert(message.partition()) => {
                placed.extend(devices(message.payload().unwrap_or_default(), message.partition()));
            }
            Ok(Read::End) => break,
            // An error is retried by librdkafka. A batch that cannot be decoded is no evidence.
            Ok(_) | Err(_) => (),
        }
    }
    Ok(placed)
}

/// Whether a topic has any record.
pub(super) fn is_empty(settings: &Settings, topic: &str, partitions: u32) -> Result<bool, KafkaError> {
    let mut config = client::client(settings);
    let consumer: BaseConsumer = config.set("group.id", format!("{}-topics", settings.pipeline)).create()?;
    let named: Vec<(&str, i32)> = (0..partitions as i32).map(|partition| (topic, partition)).collect();
    Ok(bounds(&consumer, &named, REQUEST_TIMEOUT)?.iter().all(|(low, high)| low == high))
}

fn devices(value: &[u8], partition: i32) -> Vec<Placed> {
    let Ok(batch) = Batch::decode(value) else { return Vec::new() };
    let with_device = (0..batch.rows()).filter(|&row| !batch.text(Field::AnonymousId, row).is_empty());
    let placed = with_device.map(|row| Placed {
        key: format!("{}:{}", batch.text(Field::AppId, row), batch.text(Field::AnonymousId, row)),
        partition: partition as u32,
    });
    placed.collect()
}

/// The number of partitions over which these devices were spread, if it is not `partitions`. A few devices in a wrong
/// partition prove nothing: another program may have written them.
pub(super) fn spread_over(placed: &[Placed], partitions: u32) -> Option<u32> {
    let misplaced = |partitions: u32| {
        placed
            .iter()
            .filter(|placed| partition_for(placed.key.as_bytes(), partitions) != placed.partition)
            .count()
    };
    if misplaced(partitions) * 4 < placed.len().max(1) {
        return None;
    }
    let most = partitions.saturating_mul(2);
    (1..=most).rev().find(|&number| misplaced(number) * 4 < placed.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(devices: u32, partitions: u32) -> Vec<Placed> {
        let placed = (0..devices).map(|device| {
            let key = format!("web-main:d{device}");
            Placed { partition: partition_for(key.as_bytes(), partitions), key }
        });
        placed.collect()
    }

    #[test]
    fn the_number_of_partitions_is_found_from_where_the_devices_are() {
        for (before, now, found) in [
            (8, 8, None),
            (6, 8, Some(6)),
            (8, 16, Some(8)),
            (1, 2, Some(1)),
            (8, 6, Some(8)),
            (8, 9, Some(8)),
        ] {
            assert_eq!(spread_over(&spread(200, before), now), found, "{before} became {now}");
        }
        assert_eq!(spread_over(&[], 8), None);
    }

    #[test]
    fn a_few_devices_in_a_wrong_partition_prove_nothing() {
        let mut placed = spread(100, 8);
        for foreign in placed.iter_mut().take(20) {
            foreign.partition = (foreign.partition + 1) % 8;
        }
        assert_eq!(spread_over(&placed, 8), None);
    }
}
