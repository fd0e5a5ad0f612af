//! What waits in the topics for the consumer groups of the pipeline: all records from the committed offset of a group to the
//! high watermark, of every partition, whether or not a member reads it, and whether or not it is visible to readers.
mod ends;
mod group;
mod sentences;

use std::collections::BTreeMap;

use event::{Lane, Topic};
use runtime::config::Settings;
use serde::Serialize;

pub(crate) use self::{ends::TopicEnds, sentences::partitions};

use self::{ends::PartitionEnds, group::GroupProgress};
use crate::{
    error::Error,
    topic_reader::{self, OffsetRange, TopicReader},
};

/// Up to this many offsets of a group are counted by reading the records. The last offsets of a transactional topic can be
/// control records, which consumers neither read nor commit.
const MAX_COUNTED: i64 = 2_000;

/// Everything that waits, by consumer group, and the topics it waits in.
pub(crate) struct PipelineBacklog {
    pub(crate) stages: Vec<StageBacklog>,
    pub(crate) topics: Vec<TopicEnds>,
}

/// What waits for one consumer group.
#[derive(Debug, Serialize)]
pub(crate) struct StageBacklog {
    pub(crate) stage: &'static str,
    pub(crate) group: String,
    pub(crate) topic: String,
    /// Whether it has committed an offset.
    pub(crate) started: bool,
    /// The state in Kafka: Stable, Empty, PreparingRebalance, …
    pub(crate) state: String,
    pub(crate) members: usize,
    /// Records that wait, up to the high watermark of every partition.
    pub(crate) lag: i64,
    /// Those of them that no reader sees before an open transaction is committed or aborted.
    pub(crate) behind_open_transactions: i64,
    pub(crate) partitions: Vec<PartitionBacklog>,
}

/// What waits in one partition for a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PartitionBacklog {
    pub(crate) partition: i32,
    /// The committed offset.
    pub(crate) next: Option<i64>,
    pub(crate) high_watermark: i64,
    pub(crate) lag: i64,
    pub(crate) behind_open_transaction: i64,
    /// For how long the oldest open transaction has been open.
    pub(crate) open_for_ms: Option<i64>,
    /// Whether a member of the group reads it; unknown during a rebalance.
    pub(crate) has_reader: Option<bool>,
    /// First and last offset of batches that cannot be decoded.
    pub(crate) undecodable: Vec<(i64, i64)>,
}

/// Stage, lane and input of every consumer group that the settings name.
pub(crate) fn consumer_groups(settings: &Settings) -> Vec<(&'static str, Topic)> {
    let lanes = [
        (Lane::Live, "aggregate-live", Topic::EnrichedEvents),
        (Lane::Report, "aggregate-report", Topic::EnrichedEvents),
        (Lane::Events, "aggregate-events", Topic::EnrichedEvents),
        (Lane::DeadLetters, "aggregate-dead_letters", Topic::DeadLetters),
    ];
    let lanes = lanes.into_iter().filter(|(lane, ..)| settings.aggregate.lanes.contains(lane));
    [("ingest", Topic::RawEvents), ("enrich", Topic::CleanEvents)]
        .into_iter()
        .chain(lanes.map(|(_, stage, topic)| (stage, topic)))
        .collect()
}

/// Reads the groups first and the ends of the topics afterwards, so that no end is before a committed offset.
pub(crate) fn read(settings: &Settings, now_ms: i64) -> Result<PipelineBacklog, Error> {
    let consumer = topic_reader::connect(settings)?;
    let mut partitions = BTreeMap::new();
    for &topic in Topic::ALL {
        let name = settings.kafka.topic(topic);
        match topic_reader::partitions_with_leader(settings, &consumer, &name) {
            Ok(found) => _ = partitions.insert(name, found),
            Err(Error::Broker(::kafka::Error::MissingTopic(_))) => (),
            Err(error) => return Err(error),
        }
    }
    let mut groups = Vec::new();
    for (stage, topic) in consumer_groups(settings) {
        let topic = settings.kafka.topic(topic);
        let group = format!("{}-{stage}", settings.pipeline);
        let known = partitions.get(&topic).map_or(&[][..], |found| found);
        groups.push((stage, GroupProgress::read(settings, group, topic, known)?));
    }
    let mut topics = Vec::new();
    for &topic in Topic::ALL {
        let name = settings.kafka.topic(topic);
        let known = partitions.get(&name).map(Vec::as_slice);
        topics.push(TopicEnds::read(settings, &consumer, name, known, now_ms)?);
    }
    let mut stages = Vec::new();
    for (stage, progress) in groups {
        let ends = topics.iter().find(|topic| topic.name == progress.topic);
        let ends = ends.map_or(&[][..], |topic| &topic.partitions);
        stages.push(stage_backlog(settings, stage, progress, ends)?);
    }
    Ok(PipelineBacklog { stages, topics })
}

fn stage_backlog(
    settings: &Settings,
    stage: &'static str,
    progress: GroupProgress,
    ends: &[PartitionEnds],
) -> Result<StageBacklog, Error> {
    let mut partitions: Vec<_> = ends.iter().map(|ends| partition_backlog(&progress, ends)).collect();
    let offsets: i64 = partitions.iter().map(|partition| partition.lag).sum();
    if (1..=MAX_COUNTED).contains(&offsets) {
        count_records(settings, &progress.topic, ends, &mut partitions)?;
    } else if offsets > 0 {
        find_undecodable(settings, &progress.topic, &mut partitions)?;
    }
    Ok(StageBacklog {
        stage,
        started: !progress.committed.is_empty(),
        state: progress.state,
        members: progress.members,
        group: progress.group,
        topic: progress.topic,
        lag: partitions.iter().map(|partition| partition.lag).sum(),
        behind_open_transactions: partitions.iter().map(|partition| partition.behind_open_transaction).sum(),
        partitions,
    })
}

/// The backlog in offsets.
fn partition_backlog(progress: &GroupProgress, ends: &PartitionEnds) -> PartitionBacklog {
    let PartitionEnds { partition, low, stable, high, open_for_ms } = *ends;
    let next = progress.committed.get(&partition).copied();
    let start = next.unwrap_or(low).max(low);
    PartitionBacklog {
        partition,
        next,
        high_watermark: high,
        lag: (high - start).max(0),
        behind_open_transaction: (high - stable.max(start)).max(0),
        open_for_ms,
        has_reader: progress.assigned.as_ref().map(|assigned| assigned.contains(&partition)),
        undecodable: Vec::new(),
    }
}

/// Replaces numbers of offsets by numbers of records. A record in a batch that cannot be decoded is one offset.
fn count_records(
    settings: &Settings,
    topic: &str,
    ends: &[PartitionEnds],
    partitions: &mut [PartitionBacklog],
) -> Result<(), Error> {
    let mut visible = Vec::new();
    let mut open = Vec::new();
    for (ends, backlog) in ends.iter().zip(partitions.iter_mut()) {
        let start = ends.high - backlog.lag;
        let stable = ends.stable.clamp(start, ends.high);
        visible.push(OffsetRange { partition: ends.partition, start, end: stable });
        open.push(OffsetRange { partition: ends.partition, start: stable, end: ends.high });
        (backlog.lag, backlog.behind_open_transaction) = (0, 0);
    }
    for (consumer, ranges, is_open) in [
        (topic_reader::connect(settings)?, visible, false),
        (topic_reader::uncommitted_observer(settings)?, open, true),
    ] {
        if ranges.iter().all(|range| range.start >= range.end) {
            continue;
        }
        let mut reader = TopicReader::new(settings, consumer, topic, &ranges, false)?;
        let counts = reader.count_to_end()?;
        let skipped = reader.undecodable();
        for backlog in partitions.iter_mut() {
            let skipped = skipped.iter().filter(|range| range.partition == backlog.partition);
            let mut records = counts.get(&backlog.partition).copied().unwrap_or(0);
            for range in skipped {
                records += range.end - range.start;
                backlog.undecodable.push((range.start, range.end - 1));
            }
            backlog.lag += records;
            if is_open {
                backlog.behind_open_transaction += records;
            }
        }
    }
    Ok(())
}

/// Whether the next batch of a partition can be decoded, where there are too many records to read them all.
fn find_undecodable(
    settings: &Settings,
    topic: &str,
    partitions: &mut [PartitionBacklog],
) -> Result<(), Error> {
    let next = |backlog: &PartitionBacklog| {
        let start = backlog.high_watermark - backlog.lag;
        let is_visible = backlog.lag > backlog.behind_open_transaction;
        is_visible.then_some(OffsetRange { partition: backlog.partition, start, end: start + 1 })
    };
    let next: Vec<OffsetRange> = partitions.iter().filter_map(next).collect();
    let mut reader = TopicReader::new(settings, topic_reader::connect(settings)?, topic, &next, false)?;
    reader.count_to_end()?;
    for range in reader.undecodable() {
        let found = partitions.iter_mut().find(|backlog| backlog.partition == range.partition);
        found.into_iter().for_each(|backlog| backlog.undecodable.push((range.start, range.end - 1)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_behind_an_open_transaction_and_in_unread_partitions_are_part_of_the_backlog() {
        let progress = GroupProgress {
            group: "millrace-ingest".into(),
            topic: "raw-events".into(),
            committed: BTreeMap::from([(0, 40), (1, 3)]),
            state: "Stable".into(),
            members: 1,
            assigned: Some([0, 1].into()),
        };
        for (partition, low, stable, high, lag, behind, has_reader) in [
            (0, 0, 40, 540, 500, 500, true),
            (0, 0, 45, 540, 500, 495, true),
            (0, 0, 40, 40, 0, 0, true),
            // Retention removed records that were not read.
            (1, 10, 20, 20, 10, 0, true),
            (2, 5, 25, 30, 25, 5, false),
        ] {
            let ends = PartitionEnds { partition, low, stable, high, open_for_ms: None };
            let backlog = partition_backlog(&progress, &ends);
            assert_eq!(
                (backlog.lag, backlog.behind_open_transaction, backlog.has_reader),
                (lag, behind, Some(has_reader)),
                "{ends:?}"
            );
        }
    }
}
