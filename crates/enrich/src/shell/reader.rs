//! Consumers that read whole partitions to their end, outside any group.
use rdkafka::{
    ClientContext, Offset,
    consumer::{BaseConsumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};
use runtime::{config::Settings, kafka};
use std::time::Duration;

/// A consumer that tells the end of each partition as `PartitionEOF`.
pub(crate) type Reader = BaseConsumer<EndIsNoError>;

/// The end of a partition is what a reader waits for: rdkafka would log it as an error.
pub(crate) struct EndIsNoError;

impl ClientContext for EndIsNoError {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::warn!(%error, reason, "reading outside a group");
        }
    }
}

impl ConsumerContext for EndIsNoError {}

/// A reader called `name`, which sees what `isolation` says: `read_committed` or `read_uncommitted`.
pub(crate) fn reader(settings: &Settings, name: &str, isolation: &str) -> Result<Reader, KafkaError> {
    kafka::client(settings)
        // librdkafka wants a group name to consume at all; nothing is ever committed under it.
        .set("group.id", format!("{}-{name}", settings.pipeline))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", isolation)
        // An offset that has been removed since we asked for it: by default the reader would jump to the end.
        .set("auto.offset.reset", "earliest")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.wait.max.ms", "50")
        .set("max.partition.fetch.bytes", "4194304")
        .set("queued.max.messages.kbytes", "65536")
        .create_with_context(EndIsNoError)
}

/// Where each partition of a topic begins, as numbers: `Offset::Beginning` costs half a second, because librdkafka looks it
/// up before it knows the leader and waits that long until it tries again.
pub(crate) fn first_offsets(consumer: &Reader, topic: &str, partitions: &[i32]) -> Vec<(i32, Offset)> {
    const ASK_TIMEOUT: Duration = Duration::from_secs(2);
    let asked: Vec<(&str, i32)> = partitions.iter().map(|&partition| (topic, partition)).collect();
    match kafka::ends(consumer, &asked, Offset::Beginning, ASK_TIMEOUT) {
        Ok(first) => partitions.iter().copied().zip(first.into_iter().map(Offset::Offset)).collect(),
        Err(_) => partitions.iter().map(|&partition| (partition, Offset::Beginning)).collect(),
    }
}
