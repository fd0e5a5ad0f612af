//! Executes the commands of partitions: the only place where a decision meets Kafka, ClickHouse, logs and metrics.
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime::health::Degraded;
use xxhash_rust::xxh3::Xxh3;

use super::delivery::Job;

use super::partition::Partition;
use super::partitions::Commands;
use super::signal::{Built, Command, Report, Signal};
use super::worker::{BuiltFlush, Lane};
use crate::Error;
use crate::block::{Block, Mark};
use crate::fold::Flushed;
use crate::protocol;
use crate::time::now_ms;

/// What sending a flush takes beside its blocks: buffers of the block's bytes, and the same compressed.
const DELIVERY_BYTES: usize = 1024 * 1024;
/// Requests that fail for a shorter time are retried without a word.
const DEGRADED_AFTER: Duration = Duration::from_secs(5);
/// A partition that has records and has written nothing for this long after the flush interval does not work as it should.
const UNWRITTEN_AFTER: Duration = Duration::from_secs(30);

impl Lane<'_> {
    pub(super) fn execute(&mut self, commands: Commands) -> Result<(), Error> {
        for (partition, command) in commands {
            match command {
                // `record` folds; it has the record.
                Command::Fold => (),
                Command::Discard => {
                    self.buffers.discard(partition);
                    self.flushes.remove(&partition);
                }
                Command::Pause => self.pause(partition),
                Command::Resume => self.resume(partition),
                Command::Build { epoch, end, ledger_partition } => {
                    let source = protocol::source(epoch, &self.delivery.topic, partition);
                    let mark = Mark::new(source, end.0 as u64);
                    let built =
                        self.build(partition, Mark { ledger_table_partition: ledger_partition, ..mark });
                    self.signal(partition, Signal::Built(built))?;
                }
                Command::Deliver(request, delay) => {
                    let Some(flush) = self.flushes.get(&partition) else { continue };
                    let (blocks, own_blocks) = (Arc::clone(&flush.blocks), flush.own_blocks);
                    let assignment = self.partitions.assignment();
                    let job = Job { assignment, partition, request, delay, blocks, own_blocks };
                    let delivery = Arc::clone(&self.delivery);
                    self.tokio.spawn(async move { delivery.deliver(job).await });
                }
                Command::Report(report) => self.report(partition, report),
            }
        }
        Ok(())
    }

    fn pause(&self, partition: i32) {
        // It fails when the partition is not being read, which is what is wanted.
        if let Err(error) = self.source.pause(&[partition]) {
            tracing::debug!(lane = self.options.lane, partition, %error, "pausing a partition failed");
        }
    }

    fn resume(&self, partition: i32) {
        if let Err(error) = self.source.resume(&[partition]) {
            tracing::warn!(lane = self.options.lane, partition, %error, "resuming a partition failed");
        }
    }

    fn build(&mut self, partition: i32, mark: Mark) -> Built {
        let is_recovered = mark.ledger_table_partition.is_some();
        let Flushed { blocks, own_blocks, counts } = self.buffers.flush(partition, mark);
        let lane = self.options.lane;
        metrics::counter!("millrace_aggregate_events_total", "lane" => lane).increment(counts.events);
        metrics::counter!("millrace_aggregate_overflowed_events_total", "lane" => lane)
            .increment(counts.overflowed);
        if !is_recovered {
            self.flushed_received_max = self.flushed_received_max.max(Some(counts.received_max));
        }
        let hash = hash(&blocks);
        let partitions = blocks.iter().map(|block| block.table_partitions().clone()).collect();
        let received_max = counts.received_max;
        let bytes = DELIVERY_BYTES + blocks.iter().map(Block::heap_bytes).sum::<usize>();
        let flush = BuiltFlush { blocks: blocks.into(), own_blocks, received_max, is_recovered };
        self.flushes.insert(partition, flush);
        Built { hash, partitions, bytes }
    }

    fn report(&mut self, partition: i32, report: Report) {
        let lane = self.options.lane;
        match report {
            Report::Halted(reason) => {
                let topic = &self.delivery.topic;
                tracing::error!(lane, topic, partition, reason, "partition halted");
                self.report_halted();
            }
            Report::Blocked(reason) => {
                let (topic, retry_seconds) = (&self.delivery.topic, self.options.retry_halted.as_secs());
                tracing::error!(
                    lane,
                    topic,
                    partition,
                    reason,
                    retry_seconds,
                    "partition halted by a permanent error of clickhouse, retrying"
                );
                self.report_halted();
            }
            Report::Unblocked => {
                tracing::info!(lane, partition, "partition resumed");
                self.report_halted();
            }
            Report::Replayed { begin, end, waits_until_ms } => {
                metrics::counter!("millrace_aggregate_intents_replayed_total", "lane" => lane).increment(1);
                let (begin, end) = (begin.0, end.0);
                if let Some(until) = waits_until_ms {
                    let waits_ms = (until - now_ms()).max(0);
                    tracing::warn!(
                        lane,
                        partition,
                        begin,
                        end,
                        waits_ms,
                        "intent replayed, but this program or its cubes builds other rows; waiting until no insert of \
                         the earlier rows can be running, then the markers decide"
                    );
                } else {
                    tracing::info!(lane, partition, begin, end, "intent replayed");
                }
            }
            Report::Markers { begin, end, found, missing, new_token } => {
                metrics::counter!("millrace_aggregate_markers_found_total", "lane" => lane)
                    .increment(found as u64);
                metrics::counter!("millrace_aggregate_markers_missing_total", "lane" => lane)
                    .increment(missing as u64);
                let (begin, end) = (begin.0, end.0);
                tracing::info!(lane, partition, begin, end, found, missing, "markers read");
                if new_token {
                    metrics::counter!("millrace_aggregate_inserts_under_new_token_total", "lane" => lane)
                        .increment(1);
                    tracing::warn!(
                        lane,
                        partition,
                        begin,
                        end,
                        "clickhouse remembers the token without the rows, inserting them under a new token"
                    );
                }
            }
            Report::Written { begin, end } => {
                // Also when only the markers showed it: its insert was executed and the reply was lost.
                self.delivery.writers.own.report_success();
                self.unwritten.written(partition);
                let Some(flush) = self.flushes.remove(&partition) else { return };
                if flush.received_max > 0 {
                    self.delivery.writers.own.inserted_up_to(flush.received_max);
                }
                if flush.is_recovered {
                    let (begin, end) = (begin.0, end.0);
                    tracing::info!(lane, partition, begin, end, "recovered");
                }
            }
        }
    }

    /// How much memory the partitions hold, and which of them are paused, in metrics and in `/status`.
    pub(super) fn report_memory(&self) {
        let labels = [("lane", self.options.lane.to_owned()), ("worker", self.options.worker.to_string())];
        let (bytes, paused) = (self.partitions.bytes(), self.partitions.ids(Partition::is_paused));
        metrics::gauge!("millrace_aggregate_buffered_bytes", &labels).set(bytes as f64);
        metrics::gauge!("millrace_aggregate_paused_partitions", &labels).set(paused.len() as f64);
        let cause = self.partitions.is_short_of_memory().then(|| {
            format!(
                "{bytes} bytes wait to be written; partitions {paused:?} are paused until some of them are"
            )
        });
        self.health.set_degraded(&self.component, Degraded::MemoryLimit, cause);
        self.health.report(&self.component, "buffered_bytes", bytes);
        self.health.report(&self.component, "paused", paused);
    }

    /// Which server does not do what it should, and whether records wait without a known cause, in `/status`.
    pub(super) fn report_waiting(&mut self) {
        let has_work = |partition: &Partition| {
            partition.halt_reason().is_none() && (partition.has_records() || partition.flushes())
        };
        let now = Instant::now();
        self.unwritten.observe(&self.partitions.ids(has_work).into_iter().collect(), now);
        let longest = self.unwritten.longest(now);
        let too_long = longest.filter(|(_, waited)| *waited >= self.interval() + UNWRITTEN_AFTER);
        let cause = too_long.map(|(partition, waited)| {
            let seconds = waited.as_secs();
            format!(
                "partition {partition} has had records to write for {seconds} s, and no flush of it has ended"
            )
        });
        self.health.set_degraded(&self.component, Degraded::Waiting, cause);
        let failing = self.delivery.writers.own.failing_for();
        let cause = failing.filter(|(duration, _)| *duration >= DEGRADED_AFTER).map(|(_, cause)| cause);
        self.health.set_degraded(&self.component, Degraded::ClickHouseUnreachable, cause);
        let failing = self.commits_fail_since.filter(|since| since.elapsed() >= DEGRADED_AFTER);
        let not_committed = failing.map(|_| "offsets cannot be committed; the log has the error".to_owned());
        let cause = self.source.outage().or(not_committed);
        self.health.set_degraded(&self.component, Degraded::KafkaUnreachable, cause);
    }

    /// Which partitions are halted, in metrics and in `/status`.
    pub(super) fn report_halted(&self) {
        let mut reasons = serde_json::Map::new();
        for (id, partition) in self.partitions.iter() {
            let reason = partition.halt_reason();
            self.report_halted_metric(id, reason.is_some());
            if let Some(reason) = reason {
                reasons.insert(id.to_string(), reason.into());
            }
        }
        let cause = (!reasons.is_empty()).then(|| serde_json::Value::Object(reasons.clone()).to_string());
        self.health.set_degraded(&self.component, Degraded::HaltedPartition, cause);
        self.health.report(&self.component, "halted", reasons);
    }

    pub(super) fn report_halted_metric(&self, partition: i32, is_halted: bool) {
        let labels = [("lane", self.options.lane.to_owned()), ("partition", partition.to_string())];
        metrics::gauge!("millrace_aggregate_partition_halted", &labels).set(f64::from(u8::from(is_halted)));
    }
}

/// A hash of all blocks of a flush.
fn hash(blocks: &[Block]) -> u128 {
    let mut hasher = Xxh3::new();
    for block in blocks {
        hasher.update(&block.digest().to_le_bytes());
    }
    hasher.digest128()
}
