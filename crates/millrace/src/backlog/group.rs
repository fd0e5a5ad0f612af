//! What a consumer group has committed, and which partitions its members read.
use std::collections::{BTreeMap, BTreeSet};

use rdkafka::{Offset, TopicPartitionList, consumer::Consumer};
use runtime::config::Settings;

use crate::{error::Error, topic_reader};

/// A consumer group and how far it has read its topic.
pub(super) struct GroupProgress {
    pub(super) group: String,
    pub(super) topic: String,
    /// Committed offsets by partition.
    pub(super) committed: BTreeMap<i32, i64>,
    /// The state in Kafka: Stable, Empty, PreparingRebalance, …
    pub(super) state: String,
    pub(super) members: usize,
    /// The partitions that members read; unknown during a rebalance.
    pub(super) assigned: Option<BTreeSet<i32>>,
}

impl GroupProgress {
    /// Reads the group's progress. `known` has the partitions of the topic.
    pub(super) fn read(
        settings: &Settings,
        group: String,
        topic: String,
        known: &[(i32, bool)],
    ) -> Result<Self, Error> {
        let failed = || Error::kafka(format!("reading group {group}"));
        let consumer = topic_reader::group_observer(settings, &group)?;
        let mut requested = TopicPartitionList::new();
        for &(partition, _) in known {
            requested.add_partition(&topic, partition);
        }
        let committed = match known {
            [] => requested,
            _ => consumer.committed_offsets(requested, topic_reader::REQUEST_TIMEOUT).map_err(failed())?,
        };
        let committed = committed.elements_for_topic(&topic).into_iter().filter_map(|element| {
            let Offset::Offset(offset) = element.offset() else { return None };
            Some((element.partition(), offset))
        });
        let committed = committed.collect();
        let groups =
            consumer.fetch_group_list(Some(&group), topic_reader::REQUEST_TIMEOUT).map_err(failed())?;
        let found = groups.groups().iter().find(|found| found.name() == group);
        let state = found.map_or("", |found| found.state()).to_owned();
        let members = found.map_or(&[][..], |found| found.members());
        let is_settled = members.is_empty() || state == "Stable";
        let assigned = is_settled.then(|| {
            let assignments = members.iter().filter_map(|member| member.assignment());
            assignments.flat_map(|bytes| assigned_partitions(bytes, &topic).unwrap_or_default()).collect()
        });
        let members = members.len();
        Ok(Self { group, topic, committed, state, members, assigned })
    }
}

/// The partitions of a topic in the assignment of a member, in the format `ConsumerProtocolAssignment` of Kafka: version,
/// then an array of topics with their partitions.
fn assigned_partitions(mut bytes: &[u8], topic: &str) -> Option<Vec<i32>> {
    fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(taken)
    }
    fn int16(bytes: &mut &[u8]) -> Option<usize> {
        usize::try_from(i16::from_be_bytes(take(bytes, 2)?.try_into().ok()?)).ok()
    }
    fn int32(bytes: &mut &[u8]) -> Option<i32> {
        Some(i32::from_be_bytes(take(bytes, 4)?.try_into().ok()?))
    }
    let _version = int16(&mut bytes)?;
    let mut partitions = Vec::new();
    for _ in 0..int32(&mut bytes)? {
        let length = int16(&mut bytes)?;
        let is_wanted = take(&mut bytes, length)? == topic.as_bytes();
        for _ in 0..int32(&mut bytes)? {
            let partition = int32(&mut bytes)?;
            if is_wanted {
                partitions.push(partition);
            }
        }
    }
    Some(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_assignment_of_a_member_is_read() {
        let mut bytes = vec![0, 1, 0, 0, 0, 2];
        for (topic, partitions) in [("raw", &[0_i32, 3][..]), ("other", &[1])] {
            bytes.extend((topic.len() as i16).to_be_bytes());
            bytes.extend(topic.as_bytes());
            bytes.extend((partitions.len() as i32).to_be_bytes());
            partitions.iter().for_each(|partition| bytes.extend(partition.to_be_bytes()));
        }
        bytes.extend([0xff; 4]); // No user data.
        assert_eq!(assigned_partitions(&bytes, "raw"), Some(vec![0, 3]));
        assert_eq!(assigned_partitions(&bytes, "other"), Some(vec![1]));
        assert_eq!(assigned_partitions(&bytes, "absent"), Some(vec![]));
        assert_eq!(assigned_partitions(&bytes[..9], "raw"), None);
        assert_eq!(assigned_partitions(&[], "raw"), None);
    }
}
