//! Publishes what ingest counted: metrics once per committed transaction, a log line now and then for each code,
//! and an alarm when most of a partition is rejected.
use metrics::{Unit, describe_counter, describe_gauge};
use std::{collections::BTreeMap, time::Instant};

use crate::{
    batch_counts::BatchCounts,
    contract::CONTRACT_FIELDS,
    rejection_log::RejectionLog,
    rejection_share::{RejectionShare, WINDOW},
};

/// Describes the metrics of ingest; call it once at start.
pub(crate) fn describe() {
    describe_counter!("millrace_ingest_events_total", Unit::Count, "Events read, by verdict.");
    describe_counter!(
        "millrace_ingest_unknown_fields_total",
        Unit::Count,
        "Fields that the contract does not know, in accepted and rejected events. They are ignored."
    );
    describe_counter!(
        "millrace_ingest_truncated_total",
        Unit::Count,
        "Texts of accepted events that were cut to the limit of their field, by field."
    );
    describe_counter!(
        "millrace_ingest_time_source_total",
        Unit::Count,
        "Accepted events, by the clock that their time comes from."
    );
    describe_counter!("millrace_dead_letters_total", Unit::Count, "Dead letters written, by stage and code.");
    describe_gauge!(
        "millrace_ingest_mostly_rejected",
        "1 while more than half of the newest 10 000 records of a partition are rejected, else 0."
    );
}

/// What is published of one worker's partitions.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    log: RejectionLog,
    partitions: BTreeMap<i32, RejectionShare>,
}

impl Telemetry {
    pub(crate) fn assigned(&mut self, partition: i32) {
        self.partitions.insert(partition, RejectionShare::default());
        set_mostly_rejected(partition, false);
    }

    pub(crate) fn revoked(&mut self, partition: i32) {
        self.partitions.remove(&partition);
        set_mostly_rejected(partition, false);
    }

    /// The rejections to be logged.
    pub(crate) fn log(&mut self) -> &mut RejectionLog {
        &mut self.log
    }

    /// Publishes the counts of a committed transaction. `now` is when it committed.
    pub(crate) fn publish(&mut self, counts: &BatchCounts, now: Instant) {
        let events = |verdict| metrics::counter!("millrace_ingest_events_total", "verdict" => verdict);
        events("emitted").increment(counts.emitted);
        events("rejected").increment(counts.rejected_by_code().map(|(_, count)| count).sum());
        metrics::counter!("millrace_ingest_unknown_fields_total").increment(counts.unknown_fields);
        for (place, count) in counts.cut_texts_by_place() {
            metrics::counter!("millrace_ingest_truncated_total", "field" => CONTRACT_FIELDS[place].name())
                .increment(count);
        }
        for (source, count) in counts.by_time_source() {
            metrics::counter!("millrace_ingest_time_source_total", "time_source" => source.as_str())
                .increment(count);
        }
        for (code, count) in counts.rejected_by_code().filter(|&(_, count)| count > 0) {
            metrics::counter!("millrace_dead_letters_total", "stage" => "ingest", "code" => code.as_str())
                .increment(count);
            if let Some((count, example)) = self.log.add(code, count, now) {
                let (partition, offset, pointer) = (example.partition, example.offset, example.pointer);
                tracing::warn!(code = code.as_str(), count, partition, offset, pointer, "events rejected");
            }
        }
        for &(partition, rejected) in counts.records() {
            self.partitions.entry(partition).or_default().push(rejected);
        }
        for (&partition, share) in &mut self.partitions {
            let Some(mostly_rejected) = share.change() else { continue };
            set_mostly_rejected(partition, mostly_rejected);
            if mostly_rejected {
                let rejected = share.sum();
                let of = WINDOW;
                tracing::error!(
                    partition,
                    rejected,
                    of,
                    "most records of a partition are rejected: read dead-letters"
                );
            } else {
                tracing::info!(partition, "most records of the partition are accepted again");
            }
        }
    }
}

fn set_mostly_rejected(partition: i32, mostly_rejected: bool) {
    let label = partition.to_string();
    metrics::gauge!("millrace_ingest_mostly_rejected", "partition" => label)
        .set(f64::from(u8::from(mostly_rejected)));
}
