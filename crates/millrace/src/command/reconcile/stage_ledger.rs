//! What ingest and enrich have committed to Kafka: their ledgers in the metadata of their offsets.
use std::collections::BTreeMap;

use event::{LedgerCounts, LedgerEntry, NextOffset, Topic};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use runtime::config::Settings;

use crate::{error::Error, topic_reader};

/// What a stage has committed, by partition of its input topic.
pub(super) struct StageLedger {
    pub(super) counts: BTreeMap<i32, LedgerCounts>,
    /// The next offset it reads.
    pub(super) ends: BTreeMap<i32, i64>,
}

impl StageLedger {
    /// Reads the committed offsets of a stage and their metadata. Waits for transactions that are being committed.
    pub(super) fn read(
        settings: &Settings,
        client: &BaseConsumer,
        stage: &str,
        topic: Topic,
    ) -> Result<Self, Error> {
        let (group, topic) = (format!("{}-{stage}", settings.pipeline), settings.kafka.topic(topic));
        let mut requested = TopicPartitionList::new();
        for partition in topic_reader::partitions(settings, client, &topic)? {
            requested.add_partition(&topic, partition);
        }
        let failed = Error::kafka(format!("reading the offsets of {group}"));
        let committed = topic_reader::group_observer(settings, &group)?
            .committed_offsets(requested, topic_reader::REQUEST_TIMEOUT)
            .map_err(failed)?;
        let mut ledger = Self { counts: BTreeMap::new(), ends: BTreeMap::new() };
        for element in committed.elements() {
            let Offset::Offset(offset) = element.offset() else { continue };
            let partition = element.partition();
            let unreadable = |error| {
                Error::Failed(format!(
                    "group {group}, {topic} partition {partition}, offset {offset}: {error}"
                ))
            };
            let entry = match element.metadata() {
                // A start position, or an offset that was set by hand: the ledger begins here.
                "" => LedgerEntry::begin(NextOffset(offset)),
                metadata => metadata.parse().map_err(unreadable)?,
            };
            ledger.counts.insert(partition, entry.counts);
            ledger.ends.insert(partition, offset);
        }
        Ok(ledger)
    }

    /// The sum over all partitions.
    pub(super) fn total(&self) -> LedgerCounts {
        let mut total = LedgerCounts::default();
        self.counts.values().for_each(|counts| total.add(counts));
        total
    }
}
