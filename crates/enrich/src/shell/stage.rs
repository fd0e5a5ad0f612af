//! Enrich as a stage: one memory per assigned partition, one enriched batch for each clean batch.
#[cfg(test)]
mod tests;

use event::{Batch, IdentityKey, LedgerCounts, Topic, calendar::BusinessDays};
use hashbrown::HashMap;
use runtime::{
    Error,
    config::Settings,
    failpoint::{self, Safeguard},
    health::Health,
    stage::{Message, Output, Record, Stage},
};
use std::{collections::BTreeSet, sync::Arc};

use super::{
    dead_letter::DeadLetters,
    raw_progress::RawLooks,
    registry::Registry,
    restore::{Restore, RestoreOptions},
};
use crate::{
    channel::ChannelRules,
    device::active::Definitions,
    memory::{MemoryBudget, PartitionBudget},
    partition::{Partition, PartitionLimits, dedupe::DedupeLimits, devices::DeviceLimits},
    stamp::{StampCounts, Stamper},
    user_agent::UserAgents,
};

const DAY_SECONDS: u64 = 86_400;
/// Most tombstones of one partition in one transaction: a day's tombstones at once would delay the events.
const MAX_EXPIRED: usize = 5_000;

/// What all workers of a process start with.
#[derive(Clone)]
pub(super) struct WorkerInputs {
    pub(super) identity: IdentityKey,
    pub(super) rules: Arc<ChannelRules>,
    pub(super) registry: Registry,
    pub(super) definitions: Arc<Definitions>,
    pub(super) days: BusinessDays,
    pub(super) agents: UserAgents,
    pub(super) dead_letters: DeadLetters,
    pub(super) raw_looks: RawLooks,
    pub(super) health: Health,
}

/// The stage of one worker.
pub(super) struct EnrichStage {
    inputs: WorkerInputs,
    conversion_events: Vec<String>,
    input: String,
    output: String,
    state: String,
    budget: MemoryBudget,
    /// Those of each partition; the bytes depend on how many are assigned.
    limits: PartitionLimits,
    partitions: HashMap<i32, Partition>,
    /// Assigned partitions whose restore has not ended.
    to_restore: BTreeSet<i32>,
    restore: Option<Restore>,
    restore_options: RestoreOptions,
    /// Number of the newest look at the raw topic that the partitions know.
    look: u64,
    /// Offset behind the newest record of each partition in the open transaction.
    reached: HashMap<i32, i64>,
    /// Buffer for one record of the changelog.
    value: Vec<u8>,
}

impl EnrichStage {
    pub(super) fn new(settings: &Settings, mut inputs: WorkerInputs, worker: usize) -> Self {
        let budget = MemoryBudget::of_worker(settings.memory_limit, settings.workers);
        inputs.agents.set_limit(budget.agents());
        let enrich = &settings.enrich;
        let window = DedupeLimits {
            length_ms: enrich.dedupe_window.as_millis() as i64,
            max_entries: enrich.dedupe_max_entries,
            max_bytes: 0,
        };
        let devices = DeviceLimits {
            ttl_days: i32::try_from(enrich.device_ttl.as_secs().div_ceil(DAY_SECONDS)).unwrap_or(i32::MAX),
            max_devices: enrich.max_devices,
            max_bytes: 0,
            window_ms: window.length_ms,
        };
        let restore_options = RestoreOptions {
            settings: settings.clone(),
            identity: inputs.identity.clone(),
            rules: Arc::clone(&inputs.rules),
            days: inputs.days.clone(),
            health: inputs.health.clone(),
            worker: format!("enrich-{worker}"),
            window_ms: window.length_ms,
        };
        Self {
            inputs,
            conversion_events: enrich.conversion_events.clone(),
            input: settings.kafka.topic(Topic::CleanEvents),
            output: settings.kafka.topic(Topic::EnrichedEvents),
            state: settings.kafka.topic(Topic::EnrichState),
            budget,
            limits: PartitionLimits { window, devices },
            partitions: HashMap::new(),
            to_restore: BTreeSet::new(),
            restore: None,
            restore_options,
            look: 0,
            reached: HashMap::new(),
            value: Vec::new(),
        }
    }

    /// Tells the partitions of the newest look at the raw topic.
    fn take_look(&mut self) {
        let look = self.inputs.raw_looks.newest();
        if look.number == self.look {
            return;
        }
        self.look = look.number;
        for (&number, partition) in &mut self.partitions {
            if let Some(&end) = usize::try_from(number).ok().and_then(|number| look.clean_ends.get(number)) {
                partition.pending.look(end, look.since_ms);
            }
        }
    }

    /// Divides the memory of the worker among its partitions.
    fn divide_memory(&mut self) {
        let PartitionBudget { window, devices } = self.budget.of_partition(self.partitions.len());
        self.limits.window.max_bytes = window;
        self.limits.devices.max_bytes = devices;
        for (&number, partition) in &mut self.partitions {
            if !partition.set_limits(self.limits) {
                *partition = Partition::new(self.limits);
                self.to_restore.insert(number);
                // The new memory learns the newest look too.
                self.look = 0;
            }
        }
        metrics::gauge!("millrace_enrich_state_limit_bytes")
            .set(((window + devices) * self.partitions.len()) as f64);
    }

    /// Writes the changes of the transaction to the changelog, one record per device.
    fn write_changes(&mut self, output: &mut dyn Output) -> Result<(), Error> {
        let Self { partitions, value, state, .. } = self;
        let mut written = 0;
        for (&number, partition) in partitions {
            partition.devices.expire(MAX_EXPIRED);
            for (key, device) in partition.devices.changes() {
                if failpoint::is_off(Safeguard::Changelog) {
                    continue;
                }
                let key = key.to_be_bytes();
                match device {
                    Some(device) => {
                        device.encode(value);
                        let message =
                            Message { topic: state, partition: number, key: Some(&key), value, headers: &[] };
                        output.send(message)?;
                    }
                    None => output.send_tombstone(state, number, &key)?,
                }
                written += 1;
            }
        }
        metrics::counter!("millrace_enrich_state_records_total").increment(written);
        Ok(())
    }

    fn set_gauges(&self) {
        let partitions = || self.partitions.values();
        let remembered: usize = partitions().map(|partition| partition.window.len()).sum();
        let devices: usize = partitions().map(|partition| partition.devices.len()).sum();
        let horizon = partitions().map(|partition| partition.window.horizon_ms()).min().unwrap_or(0);
        let days = partitions().map(|partition| partition.devices.horizon_days()).reduce(f64::min);
        let bytes: usize = partitions().map(Partition::memory_bytes).sum();
        metrics::gauge!("millrace_enrich_dedupe_entries").set(remembered as f64);
        metrics::gauge!("millrace_enrich_dedupe_horizon_seconds").set(horizon as f64 / 1000.0);
        metrics::gauge!("millrace_enrich_devices").set(devices as f64);
        metrics::gauge!("millrace_enrich_device_horizon_days").set(days.unwrap_or(0.0));
        metrics::gauge!("millrace_enrich_state_bytes").set(bytes as f64);
    }
}

impl Stage for EnrichStage {
    fn assigned(&mut self, partition: i32) {
        self.partitions.insert(partition, Partition::new(self.limits));
        // A new partition learns the newest look too.
        self.look = 0;
        self.to_restore.insert(partition);
        self.divide_memory();
    }

    fn revoked(&mut self, partition: i32) {
        self.partitions.remove(&partition);
        self.to_restore.remove(&partition);
        self.divide_memory();
        // The worker revokes all partitions together, so the restore of the others starts again as well.
        self.restore = None;
    }

    fn restore(&mut self) -> Result<bool, Error> {
        if self.to_restore.is_empty() {
            return Ok(true);
        }
        if !self.inputs.registry.is_read()? {
            return Ok(false);
        }
        self.inputs.agents.parser().map_err(|e| Error::Stage(e.to_string()))?;
        let restore = match &mut self.restore {
            Some(restore) => restore,
            none => none.insert(Restore::start(self.restore_options.clone(), self.to_restore.clone())?),
        };
        let done = restore.step(&mut self.partitions)?;
        if done {
            let restored = self.restore.take();
            // Closing its clients takes 0.1 s each, for which events would wait. Without a thread they are closed here.
            let _ = std::thread::Builder::new().name("restored".into()).spawn(move || drop(restored));
            self.to_restore.clear();
            self.set_gauges();
        }
        Ok(done)
    }

    fn process(&mut self, records: &[Record<'_>], output: &mut dyn Output) -> Result<(), Error> {
        let activities = self.inputs.registry.current();
        let mut counts = StampCounts::default();
        self.take_look();
        for record in records {
            if output.is_too_large() {
                // Devices of records that come again would only take memory.
                return Ok(());
            }
            self.reached.insert(record.partition, record.offset + 1);
            let batch = match Batch::decode(record.value.unwrap_or_default()) {
                Ok(batch) => batch,
                // A newer ingest wrote it, so a newer enrich can read it.
                Err(source) if source.is_newer() => {
                    let (partition, offset) = (record.partition, record.offset);
                    return Err(Error::Batch { topic: self.input.clone(), partition, offset, source });
                }
                Err(cause) => {
                    self.inputs.dead_letters.reject(record, &cause, output)?;
                    let rejected = LedgerCounts { events: 1, rejected: 1, ..LedgerCounts::default() };
                    output.count(record.partition, &rejected);
                    continue;
                }
            };
            let WorkerInputs { identity, rules, definitions, days, agents, .. } = &mut self.inputs;
            let Some(partition) = self.partitions.get_mut(&record.partition) else {
                return Err(not_assigned(record));
            };
            let mut stamper = Stamper {
                identity,
                rules,
                activities: &activities,
                definitions,
                conversion_events: &self.conversion_events,
                days,
                agents,
            };
            let pending_since_ms = partition.pending.at(record.offset);
            let (messages, batch_counts) = stamper.stamp_pending(batch, partition, pending_since_ms);
            counts.add(&batch_counts);
            output.count(record.partition, &batch_counts.ledger());
            for value in &messages {
                output.send(Message {
                    topic: &self.output,
                    // The same partition number, so that the events of a device stay together and in order.
                    partition: record.partition,
                    key: None,
                    value,
                    headers: &[],
                })?;
            }
        }
        self.write_changes(output)?;
        let StampCounts { events, duplicates, tests, bots } = counts;
        for (kind, count) in [("event", events), ("duplicate", duplicates), ("test", tests), ("bot", bots)] {
            metrics::counter!("millrace_enrich_events_total", "kind" => kind).increment(count);
        }
        self.set_gauges();
        Ok(())
    }

    fn committed(&mut self) {
        for (number, next) in self.reached.drain() {
            if let Some(partition) = self.partitions.get_mut(&number) {
                partition.pending.committed(next);
            }
        }
        self.partitions.values_mut().for_each(Partition::commit);
    }

    fn aborted(&mut self) {
        self.reached.clear();
        self.partitions.values_mut().for_each(Partition::abort);
    }
}

/// Without the state of its partition every device would be new and no event a duplicate.
fn not_assigned(record: &Record<'_>) -> Error {
    let Record { partition, offset, .. } = record;
    Error::Stage(format!(
        "record {offset} of partition {partition} was read without the state of the partition, which is not assigned; this \
         is a fault of the program: restart it, and report the log lines before this one"
    ))
}
