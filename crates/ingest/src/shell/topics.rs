//! The topics of ingest by their full names, with the number of partitions of its outputs.
use event::Topic;
use runtime::{Error, config::Kafka};

/// What ingest reads and writes.
#[derive(Debug, Clone)]
pub(crate) struct IngestTopics {
    /// Raw records.
    pub(crate) raw: String,
    /// Batches of valid events.
    pub(crate) clean: String,
    /// Partitions of `clean`. A device stays on its partition, so the number must never change.
    pub(crate) clean_partitions: u32,
    /// The bytes of rejected events and records.
    pub(crate) dead_letters: String,
    /// Partitions of `dead_letters`.
    pub(crate) dead_letter_partitions: u32,
}

impl IngestTopics {
    /// The topics of a pipeline. `partitions` reads the number of partitions of a topic from the broker.
    ///
    /// # Errors
    /// The first error of `partitions`.
    pub(crate) fn new(kafka: &Kafka, partitions: impl Fn(&str) -> Result<u32, Error>) -> Result<Self, Error> {
        let (clean, dead_letters) = (kafka.topic(Topic::CleanEvents), kafka.topic(Topic::DeadLetters));
        let (clean_partitions, dead_letter_partitions) = (partitions(&clean)?, partitions(&dead_letters)?);
        Ok(Self {
            raw: kafka.topic(Topic::RawEvents),
            clean,
            clean_partitions,
            dead_letters,
            dead_letter_partitions,
        })
    }
}
