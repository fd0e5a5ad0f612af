//! Follows the compacted topic `activities`, the activity registry. Every enrich process has all of it in memory, and a
//! change takes effect as soon as the broker delivers it.
use event::{Activity, Topic};
use kafka::{Isolation, PartitionReader, Read, first_offsets};
use rdkafka::{Message, Offset, consumer::Consumer, error::KafkaError, message::BorrowedMessage};
use runtime::{Error, config::Settings, health::Health, shutdown::Shutdown};
use std::{
    sync::{Arc, OnceLock, PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use crate::activity::Activities;

/// The current registry, shared by all workers of the process.
#[derive(Debug, Clone, Default)]
pub(super) struct Registry {
    current: Arc<RwLock<Arc<Activities>>>,
    /// Set when the topic has been read to its end for the first time, or reading it has failed.
    first_read: Arc<OnceLock<Result<(), String>>>,
}

const COMPONENT: &str = "activity-registry";
/// Longest wait for a change, after which the follower looks for a shutdown. A change is delivered at once.
const POLL: Duration = Duration::from_millis(500);
/// How long a stage waits per call for the first reading.
const FIRST_READ_WAIT: Duration = Duration::from_millis(20);
/// Most changes that are published together. Publishing copies the registry, so a large import is published in parts.
const MAX_CHANGES: usize = 1_000;
/// How often the end of the topic is compared with what was read: a broker that sends nothing may be unreachable.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

impl Registry {
    /// Reads the topic to its end and follows it until `shutdown`, on a thread of its own, so that the stage joins its
    /// group meanwhile.
    pub(super) fn follow(settings: &Settings, shutdown: &Shutdown, health: &Health) -> Result<Self, Error> {
        let topic = settings.kafka.topic(Topic::Activities);
        let partitions = kafka::partition_count(settings, &topic, shutdown)? as i32;
        let reader = PartitionReader::new(settings, "activity-registry", Isolation::ReadCommitted)
            .map_err(|source| Error::Stage(format!("reading {topic} failed: {source}")))?;
        let registry = Self::default();
        health.set_ready(COMPONENT, false);
        let follower = Follower {
            registry: registry.clone(),
            shutdown: shutdown.clone(),
            health: health.clone(),
            topic,
            partitions,
            complete_at: Instant::now(),
            checked_at: Instant::now(),
        };
        thread::Builder::new()
            .name("activity-registry".into())
            .spawn(move || follower.run(reader))
            .map_err(|source| Error::System { action: "starting a thread", source })?;
        Ok(registry)
    }

    /// Whether the topic has been read to its end; waits a short time for it. No event may be processed before.
    pub(super) fn is_read(&self) -> Result<bool, Error> {
        if self.first_read.get().is_none() {
            thread::sleep(FIRST_READ_WAIT);
        }
        match self.first_read.get() {
            Some(Ok(())) => Ok(true),
            Some(Err(failure)) => Err(Error::Stage(failure.clone())),
            None => Ok(false),
        }
    }

    /// The current registry. Take it once per batch.
    pub(super) fn current(&self) -> Arc<Activities> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, activities: &Activities, health: &Health) {
        health.report(COMPONENT, "activities", activities.len());
        health.report(COMPONENT, "rules", activities.rule_count());
        metrics::gauge!("millrace_enrich_activities").set(activities.len() as f64);
        metrics::gauge!("millrace_enrich_activity_rules").set(activities.rule_count() as f64);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(activities.clone());
    }
}

struct Follower {
    registry: Registry,
    shutdown: Shutdown,
    health: Health,
    topic: String,
    partitions: i32,
    /// When the topic was last known to be read completely.
    complete_at: Instant,
    checked_at: Instant,
}

impl Follower {
    fn run(self, mut reader: PartitionReader) {
        let mut activities = Activities::default();
        let read = self.read_first(&mut reader, &mut activities);
        if self.shutdown.requested() {
            // The shutdown may have ended the reading, and no event is processed with a part of the registry.
            return;
        }
        let is_read = read.is_ok();
        let result = read.map_err(|error| format!("reading {} failed: {error}", self.topic));
        // It is set only here, so this cannot fail.
        let _ = self.registry.first_read.set(result);
        if is_read {
            self.health.set_ready(COMPONENT, true);
            self.keep_reading(&mut reader, activities);
        }
    }

    fn read_first(
        &self,
        reader: &mut PartitionReader,
        activities: &mut Activities,
    ) -> Result<(), KafkaError> {
        let Self { topic, registry, health, .. } = self;
        let partitions: Vec<i32> = (0..self.partitions).collect();
        reader.read_to_end(topic, &first_offsets(reader.consumer(), topic, &partitions))?;
        while !self.shutdown.requested() {
            match reader.next(POLL) {
                Ok(Read::Record(message)) => apply(activities, topic, &message),
                Ok(Read::Idle) => (),
                Ok(Read::End) => break,
                Err(error) => {
                    tracing::warn!(topic, %error, "reading the activity registry failed, librdkafka retries")
                }
            }
            health.heartbeat(COMPONENT);
        }
        reader.follow();
        registry.publish(activities, health);
        let rules = activities.rule_count();
        tracing::info!(topic, activities = activities.len(), rules, "activity registry read");
        Ok(())
    }

    fn keep_reading(mut self, reader: &mut PartitionReader, mut activities: Activities) {
        while !self.shutdown.requested() {
            let mut applied = 0;
            let mut timeout = POLL;
            while applied < MAX_CHANGES {
                match reader.next(timeout) {
                    Ok(Read::Record(message)) => {
                        apply(&mut activities, &self.topic, &message);
                        applied += 1;
                    }
                    Ok(Read::Idle | Read::End) => break,
                    Err(error) => {
                        tracing::warn!(%error, "following the activity registry failed, librdkafka retries");
                        break;
                    }
                }
                // Publish the changes that are here already together with the first one.
                timeout = Duration::ZERO;
            }
            if applied > 0 {
                self.registry.publish(&activities, &self.health);
                tracing::info!(changes = applied, activities = activities.len(), "activity registry changed");
            }
            self.check(reader);
            self.health.heartbeat(COMPONENT);
        }
    }

    fn check(&mut self, reader: &PartitionReader) {
        if self.checked_at.elapsed() >= CHECK_INTERVAL {
            if is_complete(reader, &self.topic, self.partitions).unwrap_or(false) {
                self.complete_at = Instant::now();
            }
            self.checked_at = Instant::now();
        }
        metrics::gauge!("millrace_enrich_registry_age_seconds").set(self.complete_at.elapsed().as_secs_f64());
    }
}

/// Whether the topic has been read to its end.
fn is_complete(reader: &PartitionReader, topic: &str, partitions: i32) -> Result<bool, KafkaError> {
    let positions = reader.consumer().position()?;
    let partitions: Vec<(&str, i32)> = (0..partitions).map(|partition| (topic, partition)).collect();
    for (&(_, partition), (first, end)) in
        partitions.iter().zip(kafka::bounds(reader.consumer(), &partitions, CHECK_TIMEOUT)?)
    {
        let next = positions.find_partition(topic, partition).map(|element| element.offset());
        // A partition from which nothing was read has no position.
        let read_up_to = match next {
            Some(Offset::Offset(next)) => next,
            _ => first,
        };
        if read_up_to < end {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Applies a record. An entry that cannot be used is ignored: the activity stays as it was.
fn apply(activities: &mut Activities, topic: &str, message: &BorrowedMessage<'_>) {
    let key = message.key().unwrap_or_default();
    if let Err(problem) = change(activities, key, message.payload()) {
        metrics::counter!("millrace_enrich_registry_errors_total").increment(1);
        let (partition, offset, key) = (message.partition(), message.offset(), String::from_utf8_lossy(key));
        tracing::error!(topic, partition, offset, %key, problem, "entry of the activity registry cannot be read and is ignored; write it again with `millrace activity`");
    }
}

/// Applies an entry; without a value it removes the activity.
fn change(activities: &mut Activities, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
    let Some(value) = value else {
        activities.remove(&String::from_utf8_lossy(key));
        return Ok(());
    };
    let activity = Activity::parse(value).map_err(|error| error.to_string())?;
    // Under another key a later change or removal of the activity would leave this entry in force.
    if activity.activity_id.as_bytes() != key {
        return Err(format!("its key is not its activity_id {}", activity.activity_id));
    }
    activities.insert(activity);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_another_program_leaves_the_activity_as_it_was() {
        let mut activities = Activities::default();
        let spring = br#"{"activity_id":"spring","type":"template","events":[{"key":"join"}]}"#;
        change(&mut activities, b"spring", Some(spring)).unwrap();
        for (key, value) in
            [(&b"spring"[..], &b""[..]), (b"spring", b"{\"id\":7}"), (b"", spring), (b"summer", spring)]
        {
            let problem = change(&mut activities, key, Some(value)).unwrap_err();
            assert!(!problem.is_empty() && activities.len() == 1, "{problem}");
        }
        change(&mut activities, b"\xff", None).unwrap();
        assert_eq!(activities.len(), 1);
        change(&mut activities, b"spring", None).unwrap();
        assert_eq!(activities.len(), 0);
    }
}
