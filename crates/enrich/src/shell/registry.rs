//! Follows the compacted topic `activities`: every enrich process knows all of it, and a change as soon
//! as the broker has it.
use event::{Activity, Topic};
use kafka::{Isolation, PartitionReader, Read, first_offsets};
use rdkafka::{Message, Offset, consumer::Consumer, error::KafkaError};
use runtime::{Error, config::Settings, health::Health, shutdown::Shutdown};
use std::{
    sync::{Arc, OnceLock, PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use crate::activity::Activities;

/// The registry as it stands, shared by all workers of the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registry {
    now: Arc<RwLock<Arc<Activities>>>,
    /// Set when the first reading to the end is over, or has failed.
    begun: Arc<OnceLock<Result<(), String>>>,
}

const COMPONENT: &str = "activity-registry";
/// A change is delivered as soon as it is there; this only bounds how late a shutdown is seen.
const POLL: Duration = Duration::from_millis(500);
/// How long a stage waits at a time for the first reading to end.
const SHORTLY: Duration = Duration::from_millis(20);
/// Most changes that become visible together: a large import is not published, that is copied, entry by entry.
const AT_ONCE: usize = 1_000;
/// How often the broker is asked whether anything is missing. Silence alone does not show that nothing was said.
const CHECK_EVERY: Duration = Duration::from_secs(5);
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

impl Registry {
    /// Reads the topic to its end and keeps reading until `shutdown`, on a thread of its own: the stage joins its group
    /// meanwhile.
    pub(crate) fn follow(settings: &Settings, shutdown: &Shutdown, health: &Health) -> Result<Self, Error> {
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

    /// Whether all of it has been read, after a short wait if not. No event may be judged before.
    pub(crate) fn is_read(&self) -> Result<bool, Error> {
        if self.begun.get().is_none() {
            thread::sleep(SHORTLY);
        }
        match self.begun.get() {
            Some(Ok(())) => Ok(true),
            Some(Err(failure)) => Err(Error::Stage(failure.clone())),
            None => Ok(false),
        }
    }

    /// The registry as of now. Take it once per batch.
    pub(crate) fn now(&self) -> Arc<Activities> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, activities: &Activities, health: &Health) {
        health.report(COMPONENT, "activities", activities.len());
        health.report(COMPONENT, "rules", activities.rule_count());
        metrics::gauge!("millrace_enrich_activities").set(activities.len() as f64);
        metrics::gauge!("millrace_enrich_activity_rules").set(activities.rule_count() as f64);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(activities.clone());
    }
}

struct Follower {
    registry: Registry,
    shutdown: Shutdown,
    health: Health,
    topic: String,
    partitions: i32,
    /// When it was last certain that nothing of the topic was missing.
    complete_at: Instant,
    checked_at: Instant,
}

impl Follower {
    fn run(self, mut reader: PartitionReader) {
        let mut activities = Activities::default();
        let read = self.read_to_the_end(&mut reader, &mut activities);
        if self.shutdown.requested() {
            // It may have been cut short: no event is judged by a part of it.
            return;
        }
        let failed = read.is_err();
        let told = read.map_err(|error| format!("reading {} failed: {error}", self.topic));
        // Nobody else sets it.
        let _ = self.registry.begun.set(told);
        if !failed {
            self.health.set_ready(COMPONENT, true);
            self.keep_reading(&mut reader, activities);
        }
    }

    fn read_to_the_end(
        &self,
        reader: &mut PartitionReader,
        activities: &mut Activities,
    ) -> Result<(), KafkaError> {
        let Self { topic, registry, health, .. } = self;
        let partitions: Vec<i32> = (0..self.partitions).collect();
        reader.read_to_end(topic, &first_offsets(reader.consumer(), topic, &partitions))?;
        while !self.shutdown.requested() {
            match reader.next(POLL) {
                Ok(Read::Record(message)) => apply(activities, message.key(), message.payload()),
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
            let mut patience = POLL;
            while applied < AT_ONCE {
                match reader.next(patience) {
                    Ok(Read::Record(message)) => {
                        apply(&mut activities, message.key(), message.payload());
                        applied += 1;
                    }
                    Ok(Read::Idle | Read::End) => break,
                    Err(error) => {
                        tracing::warn!(%error, "following the activity registry failed, librdkafka retries");
                        break;
                    }
                }
                // What came with it.
                patience = Duration::ZERO;
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
        if self.checked_at.elapsed() >= CHECK_EVERY {
            if is_complete(reader, &self.topic, self.partitions).unwrap_or(false) {
                self.complete_at = Instant::now();
            }
            self.checked_at = Instant::now();
        }
        metrics::gauge!("millrace_enrich_registry_age_seconds").set(self.complete_at.elapsed().as_secs_f64());
    }
}

/// Whether everything in the topic has been read.
fn is_complete(reader: &PartitionReader, topic: &str, partitions: i32) -> Result<bool, KafkaError> {
    let positions = reader.consumer().position()?;
    let asked: Vec<(&str, i32)> = (0..partitions).map(|partition| (topic, partition)).collect();
    for (&(_, partition), (first, end)) in
        asked.iter().zip(kafka::bounds(reader.consumer(), &asked, CHECK_TIMEOUT)?)
    {
        let next = positions.find_partition(topic, partition).map(|element| element.offset());
        // A partition of which nothing has been read yet has no position.
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

/// A tombstone removes the activity; an entry that cannot be read changes nothing.
fn apply(activities: &mut Activities, key: Option<&[u8]>, payload: Option<&[u8]>) {
    let key = String::from_utf8_lossy(key.unwrap_or_default());
    match payload {
        None => activities.remove(&key),
        Some(payload) => match Activity::parse(payload) {
            Ok(activity) => activities.insert(activity),
            Err(error) => {
                metrics::counter!("millrace_enrich_registry_errors_total").increment(1);
                tracing::error!(%key, %error, "entry of the activity registry ignored; write it again with `millrace activity`");
            }
        },
    }
}
