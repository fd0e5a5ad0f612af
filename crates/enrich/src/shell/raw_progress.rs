//! Looks at how far ingest has read the raw topic, so that the de-duplication window follows the slowest raw partition.
use event::Topic;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use runtime::{Error, config::Settings, shutdown::Shutdown};
use std::{
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::partition::pending::RawProgress;

const INTERVAL: Duration = Duration::from_secs(2);
/// How soon a request to stop is seen.
const STEP: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest difference between the clocks of enrich and the broker.
const CLOCK_MARGIN_MS: i64 = 60_000;

/// The newest look.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    /// Counts the looks; 0 before the first.
    pub(super) number: u64,
    /// Since when the events of the raw records were received that ingest has not committed yet.
    pub(super) since_ms: i64,
    /// The end of each partition of `clean-events`, read after that.
    pub(super) clean_ends: Vec<i64>,
}

/// Looks again and again, on a thread of its own.
#[derive(Debug, Clone, Default)]
pub(super) struct RawLooks(Arc<RwLock<Arc<Look>>>);

impl RawLooks {
    /// Starts to look.
    pub(super) fn follow(settings: &Settings, shutdown: &Shutdown) -> Result<Self, Error> {
        let looks = Self::default();
        let mut reader = Reader {
            consumer: kafka::client(settings)
                .set("group.id", format!("{}-ingest", settings.pipeline))
                .create()
                .map_err(|error: KafkaError| {
                    Error::Stage(format!("reading the progress of ingest failed: {error}"))
                })?,
            raw: settings.kafka.topic(Topic::RawEvents),
            clean: settings.kafka.topic(Topic::CleanEvents),
            progress: RawProgress::default(),
        };
        let (newest, shutdown) = (looks.clone(), shutdown.clone());
        let follow = move || {
            let mut number = 0;
            while !shutdown.requested() {
                match reader.look() {
                    Ok((since_ms, clean_ends)) => {
                        number += 1;
                        *newest.0.write().unwrap_or_else(PoisonError::into_inner) =
                            Arc::new(Look { number, since_ms, clean_ends });
                    }
                    Err(error) => tracing::warn!(%error, "reading the progress of ingest failed, retrying"),
                }
                let mut waited = Duration::ZERO;
                while waited < INTERVAL && !shutdown.requested() {
                    thread::sleep(STEP);
                    waited += STEP;
                }
            }
        };
        thread::Builder::new()
            .name("raw-progress".into())
            .spawn(follow)
            .map_err(|source| Error::System { action: "starting a thread", source })?;
        Ok(looks)
    }

    /// The newest look.
    pub(super) fn newest(&self) -> Arc<Look> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Reader {
    consumer: BaseConsumer,
    raw: String,
    clean: String,
    progress: RawProgress,
}

impl Reader {
    /// The ends are read before the committed offsets, and those before the ends of `clean-events`: what is committed at
    /// or behind an end was appended after the look began, and an event behind an end of `clean-events` is of a raw record
    /// that was not committed yet.
    fn look(&mut self) -> Result<(i64, Vec<i64>), KafkaError> {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let raw = self.partitions(&self.raw)?;
        let ends = kafka::bounds(&self.consumer, &raw, TIMEOUT)?;
        let committed = self.committed(&ends)?;
        let clean = self.partitions(&self.clean)?;
        let clean_ends = kafka::ends(&self.consumer, &clean, Offset::End, TIMEOUT)?;
        let ends = ends.into_iter().map(|(_, end)| end).collect();
        let since_ms = self.progress.look(now_ms, ends, &committed);
        Ok((since_ms.saturating_sub(CLOCK_MARGIN_MS), clean_ends))
    }

    /// The offset that ingest reads next in each raw partition. Before its first commit that is the first one.
    fn committed(&self, bounds: &[(i64, i64)]) -> Result<Vec<i64>, KafkaError> {
        let mut request = TopicPartitionList::new();
        for partition in 0..bounds.len() {
            request.add_partition(&self.raw, partition as i32);
        }
        let found = self.consumer.committed_offsets(request, TIMEOUT)?;
        let next = |(partition, &(first, _)): (usize, &(i64, i64))| {
            let offset = found.find_partition(&self.raw, partition as i32).map(|element| element.offset());
            match offset {
                Some(Offset::Offset(next)) => next.max(first),
                _ => first,
            }
        };
        Ok(bounds.iter().enumerate().map(next).collect())
    }

    fn partitions<'t>(&self, topic: &'t str) -> Result<Vec<(&'t str, i32)>, KafkaError> {
        let metadata = self.consumer.fetch_metadata(Some(topic), TIMEOUT)?;
        let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        Ok((0..count as i32).map(|partition| (topic, partition)).collect())
    }
}
