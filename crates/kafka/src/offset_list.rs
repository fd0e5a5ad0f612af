//! Offsets with their metadata, as librdkafka takes them.
use event::NextOffset;
use rdkafka::{Offset as RdOffset, TopicPartitionList, error::KafkaError};

/// Offsets to commit, each with its metadata.
pub(crate) fn offsets_with_metadata(
    topic: &str,
    offsets: &[(i32, NextOffset, impl AsRef<str>)],
) -> Result<TopicPartitionList, KafkaError> {
    // A new list each time: setting the metadata of an element twice leaks memory.
    let mut list = TopicPartitionList::new();
    for (partition, next, metadata) in offsets {
        let mut element = list.add_partition(topic, *partition);
        element.set_offset(RdOffset::Offset(next.0))?;
        if !metadata.as_ref().is_empty() {
            element.set_metadata(metadata.as_ref());
        }
    }
    Ok(list)
}
