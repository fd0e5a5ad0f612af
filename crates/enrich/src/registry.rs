//! Follows the compacted topic `activities`: every enrich process knows all of it, and a change within a second.
use event::Activity;
use rdkafka::{Message, TopicPartitionList, consumer::Consumer, error::KafkaError};
use runtime::{Error, config::Settings, health::Health, kafka, shutdown::Shutdown, topic::Topic};
use std::{
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::Duration,
};

use crate::{
    activity::Activities,
    reader::{Reader, first_offset, reader},
};

/// The registry as it stands, shared by all workers of the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registry {
    now: Arc<RwLock<Arc<Activities>>>,
}

const COMPONENT: &str = "activity-registry";
const POLL: Duration = Duration::from_millis(500);

impl Registry {
    /// Reads the topic to its end, then keeps reading on a thread of its own until `shutdown`.
    pub(crate) fn follow(settings: &Settings, shutdown: &Shutdown, health: &Health) -> Result<Self, Error> {
        let topic = settings.kafka.topic(Topic::Activities);
        let partitions = kafka::partition_count(settings, &topic, shutdown)?;
        let failed = |source| Error::Stage(format!("reading {topic} failed: {source}"));
        let consumer = reader(settings, "activity-registry", "read_committed").map_err(failed)?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..partitions as i32 {
            let first = first_offset(&consumer, &topic, partition);
            assignment.add_partition_offset(&topic, partition, first).map_err(failed)?;
        }
        let mut waiting: Vec<i32> = (0..partitions as i32).collect();
        consumer.assign(&assignment).map_err(failed)?;
        let registry = Self::default();
        let mut activities = Activities::default();
        health.set_ready(COMPONENT, false);
        while !waiting.is_empty() && !shutdown.requested() {
            match consumer.poll(POLL) {
                Some(Ok(message)) => apply(&mut activities, message.key(), message.payload()),
                Some(Err(KafkaError::PartitionEOF(partition))) => waiting.retain(|&p| p != partition),
                Some(Err(error)) => tracing::warn!(topic, %error, "reading the activity registry, trying on"),
                None => (),
            }
            health.beat(COMPONENT);
        }
        registry.publish(&activities, health);
        health.set_ready(COMPONENT, true);
        tracing::info!(topic, activities = activities.len(), "activity registry read");
        let follower =
            Follower { registry: registry.clone(), shutdown: shutdown.clone(), health: health.clone() };
        thread::Builder::new()
            .name("activity-registry".into())
            .spawn(move || follower.run(&consumer, activities))
            .map_err(|source| Error::System { action: "starting a thread", source })?;
        Ok(registry)
    }

    /// The registry as of now. Take it once per batch.
    pub(crate) fn now(&self) -> Arc<Activities> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, activities: &Activities, health: &Health) {
        health.report(COMPONENT, "activities", activities.len());
        metrics::gauge!("millrace_enrich_activities").set(activities.len() as f64);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(activities.clone());
    }
}

struct Follower {
    registry: Registry,
    shutdown: Shutdown,
    health: Health,
}

impl Follower {
    fn run(&self, consumer: &Reader, mut activities: Activities) {
        while !self.shutdown.requested() {
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    apply(&mut activities, message.key(), message.payload());
                    self.registry.publish(&activities, &self.health);
                }
                Some(Err(KafkaError::PartitionEOF(_))) | None => (),
                Some(Err(error)) => tracing::warn!(%error, "following the activity registry, trying on"),
            }
            self.health.beat(COMPONENT);
        }
    }
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
