//! Enrich as a stage: one dedupe window per assigned partition, one message out for each message in.
use event::{Batch, BatchError, IdentityKey, RejectCode, header};
use hashbrown::HashMap;
use runtime::{
    Error,
    config::Settings,
    stage::{Message, Output, Record, Stage},
    topic::Topic,
};
use std::sync::Arc;

use crate::{
    channel::ChannelRules,
    dedupe::Window,
    registry::Registry,
    stamp::{Counts, Stamper},
};

pub(crate) struct EnrichStage {
    identity: IdentityKey,
    rules: Arc<ChannelRules>,
    registry: Registry,
    input: String,
    output: String,
    dead_letters: String,
    window_ms: i64,
    windows: HashMap<i32, Window>,
}

impl EnrichStage {
    pub(crate) fn new(
        settings: &Settings,
        identity: IdentityKey,
        rules: Arc<ChannelRules>,
        registry: Registry,
    ) -> Self {
        Self {
            identity,
            rules,
            registry,
            input: settings.kafka.topic(Topic::CleanEvents),
            output: settings.kafka.topic(Topic::EnrichedEvents),
            dead_letters: settings.kafka.topic(Topic::DeadLetters),
            window_ms: settings.enrich.dedupe_window.as_millis() as i64,
            windows: HashMap::new(),
        }
    }

    /// A message that no ingest wrote: kept as a dead letter, with what it is.
    fn reject(&self, record: &Record<'_>, cause: &BatchError, output: &mut dyn Output) -> Result<(), Error> {
        let code = RejectCode::EnrichmentError;
        tracing::error!(partition = record.partition, offset = record.offset, %cause, "message went to dead-letters");
        metrics::counter!("millrace_dead_letters_total", "stage" => "enrich", "code" => code.as_str())
            .increment(1);
        output.send(Message {
            topic: &self.dead_letters,
            partition: record.partition,
            key: record.key,
            value: record.value.unwrap_or_default(),
            headers: &[
                (header::CODE, code.as_str()),
                (header::MESSAGE, &cause.to_string()),
                (header::POINTER, ""),
                (header::ORIGIN_TOPIC, &self.input),
                (header::ORIGIN_PARTITION, &record.partition.to_string()),
                (header::ORIGIN_OFFSET, &record.offset.to_string()),
                (header::ORIGIN_INDEX, "0"),
                (header::STAGE, "enrich"),
                (header::VERSION, env!("CARGO_PKG_VERSION")),
                (header::RECEIVED_AT, &record.timestamp_ms.to_string()),
            ],
        })
    }
}

impl Stage for EnrichStage {
    fn assigned(&mut self, partition: i32) {
        self.windows.insert(partition, Window::new(self.window_ms));
    }

    fn revoked(&mut self, partition: i32) {
        self.windows.remove(&partition);
    }

    fn process(&mut self, records: &[Record<'_>], output: &mut dyn Output) -> Result<(), Error> {
        let activities = self.registry.now();
        let mut counts = Counts::default();
        for record in records {
            let batch = match Batch::decode(record.value.unwrap_or_default()) {
                Ok(batch) => batch,
                // Written by a newer ingest: a newer enrich will read it.
                Err(source @ BatchError::Format(_)) => {
                    let (partition, offset) = (record.partition, record.offset);
                    return Err(Error::Batch { topic: self.input.clone(), partition, offset, source });
                }
                Err(cause) => {
                    self.reject(record, &cause, output)?;
                    continue;
                }
            };
            let window = self.windows.entry(record.partition).or_insert_with(|| Window::new(self.window_ms));
            let stamper = Stamper { identity: &self.identity, rules: &self.rules, activities: &activities };
            let (value, batch_counts) = stamper.stamp(batch, window);
            counts.events += batch_counts.events;
            counts.duplicates += batch_counts.duplicates;
            counts.tests += batch_counts.tests;
            output.send(Message {
                topic: &self.output,
                // Partition for partition: a device's events stay together and in order.
                partition: record.partition,
                key: None,
                value: &value,
                headers: &[],
            })?;
        }
        for (kind, count) in
            [("event", counts.events), ("duplicate", counts.duplicates), ("test", counts.tests)]
        {
            metrics::counter!("millrace_enrich_events_total", "kind" => kind).increment(count);
        }
        let remembered: usize = self.windows.values().map(Window::len).sum();
        metrics::gauge!("millrace_enrich_dedupe_entries").set(remembered as f64);
        Ok(())
    }

    fn committed(&mut self) {
        self.windows.values_mut().for_each(Window::commit);
    }

    fn aborted(&mut self) {
        self.windows.values_mut().for_each(Window::abort);
    }
}
