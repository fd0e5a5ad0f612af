//! First and next offsets of partitions.
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};
use std::time::Duration;

/// First offset of each of these partitions and the offset after its last record, in the given order, as this
/// consumer's isolation level sees them.
///
/// One request for all of them: `fetch_watermarks` takes one per partition, and a restart would wait for each.
///
/// # Errors
/// A broker did not answer within `timeout`, or a partition does not exist or has no leader.
pub fn bounds<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[(&str, i32)],
    timeout: Duration,
) -> Result<Vec<(i64, i64)>, KafkaError> {
    let first = ends(consumer, partitions, Offset::Beginning, timeout)?;
    let next = ends(consumer, partitions, Offset::End, timeout)?;
    Ok(first.into_iter().zip(next).collect())
}

/// One end of each of these partitions, in the given order: `Offset::Beginning` or `Offset::End`.
///
/// # Errors
/// As [`bounds`].
pub fn ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[(&str, i32)],
    end: Offset,
    timeout: Duration,
) -> Result<Vec<i64>, KafkaError> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut request = TopicPartitionList::new();
    for &(topic, partition) in partitions {
        // Kafka's special timestamps for both ends have the same numbers as librdkafka's special offsets.
        request.add_partition_offset(topic, partition, end)?;
    }
    let response = consumer.offsets_for_times(request, timeout)?;
    let found = partitions.iter().map(|&(topic, partition)| {
        let found = response.find_partition(topic, partition);
        let found = found.ok_or(KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition))?;
        found.error()?;
        match found.offset() {
            Offset::Offset(offset) => Ok(offset),
            _ => Err(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset)),
        }
    });
    found.collect()
}
