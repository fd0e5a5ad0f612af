//! First offset, last stable offset and high watermark of the partitions of a topic.
use std::{collections::BTreeMap, time::Duration};

use rdkafka::{consumer::BaseConsumer, message::Message};
use runtime::config::Settings;

use crate::{
    error::Error,
    topic_reader::{self, OffsetRange, Read, TopicReader},
};

/// The ends of the partitions of a topic.
pub(crate) struct TopicEnds {
    pub(crate) name: String,
    pub(crate) exists: bool,
    /// Those that have a leader.
    pub(crate) partitions: Vec<PartitionEnds>,
    /// Partitions without a leader: nothing is known about them.
    pub(crate) leaderless: Vec<i32>,
}

/// The ends of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionEnds {
    pub(crate) partition: i32,
    pub(crate) low: i64,
    /// The last stable offset: consumers read up to here.
    pub(crate) stable: i64,
    /// The high watermark: the offset after the last record.
    pub(crate) high: i64,
    /// For how long the oldest open transaction has been open.
    pub(crate) open_for_ms: Option<i64>,
}

impl TopicEnds {
    /// Reads the ends. `known` has the partitions and whether each has a leader; none when the topic does not exist.
    pub(super) fn read(
        settings: &Settings,
        consumer: &BaseConsumer,
        name: String,
        known: Option<&[(i32, bool)]>,
        now_ms: i64,
    ) -> Result<Self, Error> {
        let partitions = |with_leader: bool| -> Vec<i32> {
            let known = known.iter().copied().flatten();
            known.filter(|(_, leader)| *leader == with_leader).map(|(partition, _)| *partition).collect()
        };
        let (led, leaderless) = (partitions(true), partitions(false));
        let mut found = Self { name, exists: known.is_some(), partitions: Vec::new(), leaderless };
        if led.is_empty() {
            return Ok(found);
        }
        // The high watermark first: a transaction that is committed in between is then not taken for an open one.
        let written =
            topic_reader::bounds(&topic_reader::uncommitted_observer(settings)?, &found.name, &led)?;
        let visible = topic_reader::bounds(consumer, &found.name, &led)?;
        found.partitions = written
            .iter()
            .zip(&visible)
            .map(|(written, visible)| PartitionEnds {
                partition: written.partition,
                low: visible.low,
                stable: visible.high,
                high: written.high.max(visible.high),
                open_for_ms: None,
            })
            .collect();
        found.read_ages(settings, now_ms)?;
        Ok(found)
    }

    /// The first record behind the last stable offset belongs to the oldest open transaction.
    fn read_ages(&mut self, settings: &Settings, now_ms: i64) -> Result<(), Error> {
        let open = self.partitions.iter().filter(|ends| ends.high > ends.stable);
        let first: Vec<OffsetRange> = open
            .map(|ends| OffsetRange { partition: ends.partition, start: ends.stable, end: ends.stable + 1 })
            .collect();
        if first.is_empty() {
            return Ok(());
        }
        let consumer = topic_reader::uncommitted_observer(settings)?;
        let mut reader = TopicReader::new(settings, consumer, &self.name, &first, false)?;
        let mut since = BTreeMap::new();
        loop {
            match reader.next(Duration::from_millis(100))? {
                Read::Record(message) => {
                    since.extend(message.timestamp().to_millis().map(|ms| (message.partition(), ms)));
                }
                Read::Idle => (),
                Read::End => break,
            }
        }
        for ends in &mut self.partitions {
            ends.open_for_ms = since.get(&ends.partition).map(|since| (now_ms - since).max(0));
        }
        Ok(())
    }

    /// Number of offsets, control records of transactions included.
    pub(crate) fn offsets(&self) -> i64 {
        self.partitions.iter().map(|ends| ends.high - ends.low).sum()
    }
}
