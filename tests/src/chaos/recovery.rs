//! Recovery times: how long a stage's consumer group commits no offsets after a fault.
//!
//! A stage has recovered when each of its partitions has a larger committed offset than after the fault. Clients never
//! pause, so there is always a record to commit. The effect of other faults meanwhile is part of the time.

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

use super::fault::FaultKind;
use crate::Error;

/// How often the offsets are read: the resolution of recovery times.
const EVERY: Duration = Duration::from_millis(200);

/// The group behind a stage's name and the topic it reads, in the order of [`STAGES`].
const GROUPS: [(&str, &str); STAGES.len()] =
    [("ingest", "raw-events"), ("enrich", "clean-events"), ("aggregate-live", "enriched-events")];

/// The committed offsets of one group.
#[derive(Debug, Clone)]
pub(super) struct OffsetSample {
    /// Index into [`STAGES`].
    pub(super) stage: usize,
    /// Just before the request.
    pub(super) requested: Instant,
    /// Just after the response.
    pub(super) responded: Instant,
    /// Next offset of each partition.
    pub(super) offsets: Vec<i64>,
}

/// Reads the offsets of each group in its own thread, until the receiver is dropped.
pub(super) fn watch(
    pipeline: &Pipeline,
    brokers: &str,
    partitions: i32,
) -> Result<Receiver<OffsetSample>, Error> {
    let (sender, samples) = sync_channel(1024);
    for (stage, (group, topic)) in GROUPS.into_iter().enumerate() {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", format!("{}-{group}", pipeline.name()))
            // Do not wait for offsets of open transactions.
            .set("isolation.level", "read_uncommitted")
            .set("reconnect.backoff.max.ms", "500")
            .set("log_level", "0")
            .create()?;
        let mut topic_partitions = TopicPartitionList::new();
        topic_partitions.add_partition_range(&format!("{}.{topic}", pipeline.name()), 0, partitions - 1);
        let sender = sender.clone();
        thread::spawn(move || read_offsets(stage, &consumer, &topic_partitions, &sender));
    }
    Ok(samples)
}

fn read_offsets(
    stage: usize,
    consumer: &BaseConsumer,
    partitions: &TopicPartitionList,
    sender: &SyncSender<OffsetSample>,
) {
    loop {
        let requested = Instant::now();
        // There is no sample while the broker does not respond.
        if let Ok(list) = consumer.committed_offsets(partitions.clone(), Duration::from_secs(5)) {
            let next = |offset| if let Offset::Offset(next) = offset { next } else { 0 };
            let offsets = list.elements().iter().map(|element| next(element.offset())).collect();
            let sample = OffsetSample { stage, requested, responded: Instant::now(), offsets };
            if sender.send(sample).is_err() {
                return;
            }
        }
        thread::sleep(EVERY.saturating_sub(requested.elapsed()));
    }
}

/// Recovery times by kind of fault and stage.
pub(super) type RecoveryTimes = BTreeMap<(FaultKind, &'static str), Vec<Duration>>;

/// Recovery times so far.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    pending: Vec<PendingRecovery>,
    last: BTreeMap<usize, Vec<i64>>,
    progressed: [bool; STAGES.len()],
    /// Of faults that the stage has recovered from.
    pub(super) times: RecoveryTimes,
}

#[derive(Debug)]
struct PendingRecovery {
    kind: FaultKind,
    stage: usize,
    since: Instant,
    baseline: Option<Vec<i64>>,
}

impl Recoveries {
    /// A stage had a fault.
    pub(super) fn begin(&mut self, kind: FaultKind, stage: usize, since: Instant) {
        self.pending.push(PendingRecovery { kind, stage, since, baseline: None });
    }

    /// Takes the next sample.
    pub(super) fn add(&mut self, sample: &OffsetSample) {
        let Some(&stage) = STAGES.get(sample.stage) else { return };
        let last = self.last.insert(sample.stage, sample.offsets.clone());
        if last.is_some_and(|last| last != sample.offsets)
            && let Some(progressed) = self.progressed.get_mut(sample.stage)
        {
            *progressed = true;
        }
        let times = &mut self.times;
        self.pending.retain_mut(|pending| {
            if pending.stage != sample.stage || sample.requested < pending.since {
                return true;
            }
            let Some(baseline) = &pending.baseline else {
                pending.baseline = Some(sample.offsets.clone());
                return true;
            };
            let is_moving = baseline.iter().zip(&sample.offsets).all(|(before, now)| now > before);
            if is_moving {
                times.entry((pending.kind, stage)).or_default().push(sample.responded - pending.since);
            }
            !is_moving
        });
    }

    /// Stages that have committed a new offset since the last call.
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
        let sample = |ms: u64, stage: usize, offsets: &[i64]| OffsetSample {
            stage,
            requested: at(ms),
            responded: at(ms + 1),
            offsets: offsets.to_vec(),
        };
        let mut recoveries = Recoveries::default();
        recoveries.begin(FaultKind::Kill, 1, at(100));
        // Before the fault; another stage; the first after the fault; one partition has moved; both have.
        recoveries.add(&sample(90, 1, &[5, 5]));
        recoveries.add(&sample(150, 0, &[9, 9]));
        recoveries.add(&sample(300, 1, &[6, 6]));
        recoveries.add(&sample(500, 1, &[7, 6]));
        assert!(recoveries.times.is_empty());
        assert_eq!(recoveries.progressed(), [false, true, false]);
        recoveries.add(&sample(700, 1, &[7, 7]));
        assert_eq!(recoveries.times[&(FaultKind::Kill, "enrich")], [Duration::from_millis(601)]);
    }
}
