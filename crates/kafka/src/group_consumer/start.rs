//! Where a group starts to read a topic: decided once, and committed at once for every partition.
//!
//! A group that has committed nothing gets its start position in every partition, empty ones too. A partition without a
//! committed offset in a group that has some has therefore appeared later, and is read from its beginning.
//!
//! Processes that start at the same time cannot both decide: the offsets are committed before the process joins the
//! group, and Kafka accepts a commit from outside only while a group has no member.
use event::{NextOffset, Start};
use rdkafka::{
    Offset as RdOffset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaError,
};
use runtime::{config::Settings, shutdown::Shutdown};
use std::time::{Duration, Instant};

use super::member::GroupMember;
use crate::{
    bounds::bounds,
    client,
    error::{Error, lacks_acl},
    offset_list::offsets_with_metadata,
    startup,
};

/// Timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before the next attempt.
const PAUSE: Duration = Duration::from_millis(500);

/// Decides the start of the member's group, unless it has one. Returns the partitions that have appeared since.
///
/// # Errors
/// Kafka did not answer until `startup_timeout`, or a shutdown was requested.
pub(super) fn decide(
    settings: &Settings,
    member: GroupMember<'_>,
    shutdown: &Shutdown,
) -> Result<Vec<i32>, Error> {
    let failed = |e| Error::call("deciding where a group starts", member.name, e);
    let mut config = client::client(settings);
    let observer: BaseConsumer = config
        .set("group.id", member.group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .create()
        .map_err(failed)?;
    let partitions = startup::wait_for_topic(&observer, settings, member.topic, shutdown)?;
    let started = Instant::now();
    loop {
        match try_decide(&observer, member, partitions) {
            Ok(appeared) => return Ok(appeared),
            Err(error) if started.elapsed() >= settings.startup_timeout => return Err(failed(error)),
            Err(_) if shutdown.requested() => return Err(Error::Stopped),
            Err(error) if lacks_acl(&error) => return Err(failed(error)),
            // Another process has joined first and has committed the start, or a broker is away.
            Err(error) => {
                let (group, topic) = (member.group, member.topic);
                tracing::warn!(group, topic, %error, "deciding where the group starts failed, retrying");
                std::thread::sleep(PAUSE);
            }
        }
    }
}

fn try_decide(
    observer: &BaseConsumer,
    member: GroupMember<'_>,
    partitions: u32,
) -> Result<Vec<i32>, KafkaError> {
    let topic = member.topic;
    let all: Vec<(&str, i32)> = (0..partitions as i32).map(|partition| (topic, partition)).collect();
    let mut request = TopicPartitionList::new();
    for &(topic, partition) in &all {
        request.add_partition(topic, partition);
    }
    let response = observer.committed_offsets(request, REQUEST_TIMEOUT)?;
    let mut without = Vec::new();
    for element in response.elements() {
        element.error()?;
        if !matches!(element.offset(), RdOffset::Offset(_)) {
            without.push(element.partition());
        }
    }
    if without.len() < all.len() {
        return Ok(without);
    }
    let found = bounds(observer, &all, REQUEST_TIMEOUT)?;
    let offsets: Vec<(i32, NextOffset, String)> = all
        .iter()
        .zip(found)
        .map(|(&(_, partition), (low, high))| {
            let next = NextOffset(if member.start == Start::Latest { high } else { low });
            (partition, next, (member.start_metadata)(next))
        })
        .collect();
    observer.commit(&offsets_with_metadata(topic, &offsets)?, CommitMode::Sync)?;
    tracing::info!(group = member.group, topic, start = ?member.start, "start of the group committed for every partition");
    Ok(Vec::new())
}
