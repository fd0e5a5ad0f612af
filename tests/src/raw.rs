//! Reads topics of a pipeline from beginning to end.

use std::time::Duration;

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::BorrowedMessage,
};

use crate::{Error, reference::RawRecord, result_source::ResultSource};

/// Calls `each` with every message of a topic, in the order of each partition.
///
/// # Errors
/// Kafka does not respond, or `each` fails.
pub fn messages(
    source: ResultSource<'_>,
    name: &str,
    mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let topic = format!("{}.{name}", source.pipeline);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", source.brokers)
        .set("group.id", "millrace-tests")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(&topic), Duration::from_secs(10))?;
    let mut assignment = TopicPartitionList::new();
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    let mut open: Vec<i32> = partitions.map(|partition| partition.id()).collect();
    for &partition in &open {
        assignment.add_partition_offset(&topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    while !open.is_empty() {
        match consumer.poll(Duration::from_secs(10)) {
            Some(Ok(message)) => each(&message)?,
            Some(Err(KafkaError::PartitionEOF(partition))) => open.retain(|&p| p != partition),
            Some(Err(error)) => return Err(error.into()),
            None => return Err(Error::Answer { what: topic, wanted: "responding" }),
        }
    }
    Ok(())
}

/// Every raw record, in the order of each partition.
///
/// # Errors
/// Kafka does not respond.
pub fn records(source: ResultSource<'_>) -> Result<Vec<RawRecord>, Error> {
    let mut records = Vec::new();
    messages(source, "raw-events", |message| {
        let received_at = message.timestamp().to_millis().unwrap_or_default();
        records.push(RawRecord { received_at, value: message.payload().unwrap_or_default().to_vec() });
        Ok(())
    })?;
    Ok(records)
}
