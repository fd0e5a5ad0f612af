//! How long a stage did not count after a fault, seen from outside: by the offsets its group commits.
//!
//! A stage has recovered when every one of its partitions has moved beyond where it stood after the fault. Clients
//! never pause, so there is always something to move; what other faults do meanwhile is part of the time.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use devstack::pipeline::{Pipeline, STAGES};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

use super::schedule::Kind;
use crate::Error;

/// How often the groups are asked. Recovery times are no finer than this.
const EVERY: Duration = Duration::from_millis(200);

/// The group behind a stage's name and the topic it reads, in the order of [`STAGES`].
const GROUPS: [(&str, &str); STAGES.len()] =
    [("ingest", "raw-events"), ("enrich", "clean-events"), ("aggregate-live", "enriched-events")];

/// What one group had committed at one moment.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// Index into [`STAGES`].
    pub(super) stage: usize,
    /// Just before the broker was asked.
    pub(super) asked: Instant,
    /// Just after it had answered.
    pub(super) answered: Instant,
    /// Next offset of each partition.
    pub(super) offsets: Vec<i64>,
}

/// Asks about the groups from a thread of its own, until the receiver is dropped.
pub(super) fn watch(pipeline: &Pipeline, brokers: &str, partitions: i32) -> Result<Receiver<Sample>, Error> {
    let (sender, samples) = sync_channel(1024);
    for (stage, (group, topic)) in GROUPS.into_iter().enumerate() {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", format!("{}-{group}", pipeline.name()))
            // Offsets of transactions that are still open are not waited for.
            .set("isolation.level", "read_uncommitted")
            .set("reconnect.backoff.max.ms", "500")
            .set("log_level", "0")
            .create()?;
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(&format!("{}.{topic}", pipeline.name()), 0, partitions - 1);
        let sender = sender.clone();
        thread::spawn(move || ask_again_and_again(stage, &consumer, &asked, &sender));
    }
    Ok(samples)
}

fn ask_again_and_again(
    stage: usize,
    consumer: &BaseConsumer,
    partitions: &TopicPartitionList,
    sender: &SyncSender<Sample>,
) {
    loop {
        let asked = Instant::now();
        // An error is no sample: a broker that is gone has nothing to say.
        if let Ok(list) = consumer.committed_offsets(partitions.clone(), Duration::from_secs(5)) {
            let next = |offset| if let Offset::Offset(next) = offset { next } else { 0 };
            let offsets = list.elements().iter().map(|element| next(element.offset())).collect();
            let sample = Sample { stage, asked, answered: Instant::now(), offsets };
            if sender.send(sample).is_err() {
                return;
            }
        }
        thread::sleep(EVERY.saturating_sub(asked.elapsed()));
    }
}

/// Recovery times so far.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    pending: Vec<Pending>,
    last: BTreeMap<usize, Vec<i64>>,
    progressed: [bool; STAGES.len()],
    /// By kind of fault and stage.
    pub(super) times: BTreeMap<(Kind, &'static str), Vec<Duration>>,
}

#[derive(Debug)]
struct Pending {
    kind: Kind,
    stage: usize,
    since: Instant,
    baseline: Option<Vec<i64>>,
}

impl Recoveries {
    /// A fault met a stage.
    pub(super) fn begin(&mut self, kind: Kind, stage: usize, since: Instant) {
        self.pending.push(Pending { kind, stage, since, baseline: None });
    }

    /// Takes note of what a group has committed.
    pub(super) fn add(&mut self, sample: &Sample) {
        let Some(&stage) = STAGES.get(sample.stage) else { return };
        let last = self.last.insert(sample.stage, sample.offsets.clone());
        if last.is_some_and(|last| last != sample.offsets)
            && let Some(progressed) = self.progressed.get_mut(sample.stage)
        {
            *progressed = true;
        }
        let times = &mut self.times;
        self.pending.retain_mut(|pending| {
            if pending.stage != sample.stage || sample.asked < pending.since {
                return true;
            }
            let Some(baseline) = &pending.baseline else {
                pending.baseline = Some(sample.offsets.clone());
                return true;
            };
            let is_moving = baseline.iter().zip(&sample.offsets).all(|(before, now)| now > before);
            if is_moving {
                times.entry((pending.kind, stage)).or_default().push(sample.answered - pending.since);
            }
            !is_moving
        });
    }

    /// Which stages have committed anything since the last call.
    pub(super) fn progressed(&mut self) -> [bool; STAGES.len()] {
        std::mem::take(&mut self.progressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_has_recovered_when_every_partition_has_moved_since_the_fault() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let sample = |ms: u64, stage: usize, offsets: &[i64]| Sample {
            stage,
            asked: at(ms),
            answered: at(ms + 1),
            offsets: offsets.to_vec(),
        };
        let mut recoveries = Recoveries::default();
        recoveries.begin(Kind::Kill, 1, at(100));
        // Before the fault; of another stage; the first after the fault; one partition only; both.
        recoveries.add(&sample(90, 1, &[5, 5]));
        recoveries.add(&sample(150, 0, &[9, 9]));
        recoveries.add(&sample(300, 1, &[6, 6]));
        recoveries.add(&sample(500, 1, &[7, 6]));
        assert!(recoveries.times.is_empty());
        assert_eq!(recoveries.progressed(), [false, true, false]);
        recoveries.add(&sample(700, 1, &[7, 7]));
        assert_eq!(recoveries.times[&(Kind::Kill, "enrich")], [Duration::from_millis(601)]);
    }
}
