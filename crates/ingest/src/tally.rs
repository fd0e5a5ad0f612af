//! What ingest tells its operators: counters once per committed batch, a warning now and then for each code, and an
//! alarm when most of a partition is refused. None of it stops the stage, none of it shows a payload.
use event::{RejectCode, TimeSource};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How many of a partition's last records decide whether most of them are refused.
const WINDOW: usize = 10_000;
/// A code is warned about at most this often.
const WARN_EVERY: Duration = Duration::from_secs(10);
const CODES: usize = RejectCode::ALL.len();

/// Counts of what was decided, kept back until the transaction has committed.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    batch: Counts,
    /// Whether each record of the batch was refused (in an array: the first element that was, stands for all).
    settled: Vec<(i32, bool)>,
    partitions: BTreeMap<i32, Recent>,
    warnings: [Warning; CODES],
}

#[derive(Debug, Default)]
struct Counts {
    emitted: u64,
    rejected: [u64; CODES],
    sources: [u64; TimeSource::ALL.len()],
    unknown_fields: u64,
}

#[derive(Debug, Default)]
struct Warning {
    last: Option<Instant>,
    /// Refusals since then.
    silent: u64,
    /// The newest refusal: partition, offset and pointer.
    example: Option<(i32, i64, String)>,
}

impl Tally {
    pub(crate) fn assigned(&mut self, partition: i32) {
        self.partitions.insert(partition, Recent::default());
        mostly_rejected(partition, false);
    }

    pub(crate) fn revoked(&mut self, partition: i32) {
        self.partitions.remove(&partition);
        mostly_rejected(partition, false);
    }

    /// Every field of an event that the contract does not know, whatever became of the event.
    pub(crate) fn unknown_fields(&mut self, count: u64) {
        self.batch.unknown_fields += count;
    }

    pub(crate) fn emitted(&mut self, source: TimeSource) {
        self.batch.emitted += 1;
        self.batch.sources[source as usize] += 1;
    }

    pub(crate) fn rejected(&mut self, code: RejectCode, partition: i32, offset: i64, pointer: &str) {
        let code = code as usize;
        if self.batch.rejected[code] == 0 {
            self.warnings[code].example = Some((partition, offset, pointer.to_owned()));
        }
        self.batch.rejected[code] += 1;
    }

    pub(crate) fn record(&mut self, partition: i32, any_rejected: bool) {
        self.settled.push((partition, any_rejected));
    }

    /// The batch never happened.
    pub(crate) fn aborted(&mut self) {
        self.batch = Counts::default();
        self.settled.clear();
    }

    /// The batch is settled: its counts count.
    pub(crate) fn committed(&mut self) {
        let counts = std::mem::take(&mut self.batch);
        let events = |verdict| metrics::counter!("millrace_ingest_events_total", "verdict" => verdict);
        events("emitted").increment(counts.emitted);
        events("rejected").increment(counts.rejected.iter().sum());
        metrics::counter!("millrace_ingest_unknown_fields_total").increment(counts.unknown_fields);
        for (source, count) in TimeSource::ALL.iter().zip(counts.sources) {
            metrics::counter!("millrace_ingest_time_source_total", "time_source" => source.as_str())
                .increment(count);
        }
        let now = Instant::now();
        for ((code, count), warning) in RejectCode::ALL.iter().zip(counts.rejected).zip(&mut self.warnings) {
            if count > 0 {
                metrics::counter!("millrace_dead_letters_total", "stage" => "ingest", "code" => code.as_str())
                    .increment(count);
                warning.warn(*code, count, now);
            }
        }
        for (partition, rejected) in self.settled.drain(..) {
            self.partitions.entry(partition).or_default().push(rejected);
        }
        for (&partition, recent) in &mut self.partitions {
            recent.report(partition);
        }
    }
}

impl Warning {
    fn warn(&mut self, code: RejectCode, count: u64, now: Instant) {
        self.silent += count;
        let too_soon = self.last.is_some_and(|last| now.duration_since(last) < WARN_EVERY);
        if let (false, Some((partition, offset, pointer))) = (too_soon, self.example.take()) {
            let count = std::mem::take(&mut self.silent);
            tracing::warn!(code = code.as_str(), count, partition, offset, pointer, "events refused");
            self.last = Some(now);
        }
    }
}

/// The last records of a partition, one bit each.
#[derive(Debug)]
struct Recent {
    rejected: Vec<u64>,
    next: usize,
    sum: usize,
    alarmed: bool,
}

impl Default for Recent {
    fn default() -> Self {
        Self { rejected: vec![0; WINDOW.div_ceil(64)], next: 0, sum: 0, alarmed: false }
    }
}

impl Recent {
    fn push(&mut self, rejected: bool) {
        let (word, bit) = (&mut self.rejected[self.next / 64], 1 << (self.next % 64));
        self.sum -= usize::from(*word & bit != 0);
        self.sum += usize::from(rejected);
        *word = if rejected { *word | bit } else { *word & !bit };
        self.next = (self.next + 1) % WINDOW;
    }

    fn mostly_rejected(&self) -> bool {
        self.sum > WINDOW / 2
    }

    fn report(&mut self, partition: i32) {
        let alarm = self.mostly_rejected();
        if alarm != self.alarmed {
            self.alarmed = alarm;
            mostly_rejected(partition, alarm);
            if alarm {
                let rejected = self.sum;
                tracing::error!(
                    partition,
                    rejected,
                    of = WINDOW,
                    "most records of a partition are refused: see dead-letters"
                );
            } else {
                tracing::info!(partition, "most records of the partition are accepted again");
            }
        }
    }
}

fn mostly_rejected(partition: i32, alarm: bool) {
    let label = partition.to_string();
    metrics::gauge!("millrace_ingest_mostly_rejected", "partition" => label).set(if alarm {
        1.0
    } else {
        0.0
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_needs_more_than_half_of_the_last_ten_thousand() {
        let mut recent = Recent::default();
        for _ in 0..WINDOW / 2 {
            recent.push(true);
        }
        assert!(!recent.mostly_rejected());
        recent.push(true);
        assert!(recent.mostly_rejected());
        for _ in 0..WINDOW / 2 - 1 {
            recent.push(false);
        }
        assert!(recent.mostly_rejected(), "5001 are still among the last 10000");
        recent.push(false);
        assert!(!recent.mostly_rejected(), "the oldest was forgotten");
        assert_eq!(recent.sum, recent.rejected.iter().map(|word| word.count_ones() as usize).sum::<usize>());
    }

    #[test]
    fn an_aborted_batch_counts_nothing() {
        let mut tally = Tally::default();
        tally.assigned(3);
        for _ in 0..WINDOW {
            tally.record(3, true);
        }
        tally.rejected(RejectCode::TooOld, 3, 7, "/original_timestamp");
        tally.aborted();
        tally.committed();
        assert!(!tally.partitions[&3].mostly_rejected());
        assert_eq!(tally.warnings[RejectCode::TooOld as usize].silent, 0);
    }
}
