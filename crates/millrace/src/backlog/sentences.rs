//! What an operator should know about a backlog, one sentence for each cause.
use super::{PartitionBacklog, PipelineBacklog, StageBacklog};
use crate::output::text::{count, duration};

/// A transaction that has been open for less is one of the pipeline's own.
const OPEN_FOR_LONG_MS: i64 = 5_000;

impl PipelineBacklog {
    /// Partitions that nobody can read from, because they have no leader.
    pub(crate) fn unseen(&self) -> Vec<String> {
        let topics = self.topics.iter().filter(|topic| !topic.leaderless.is_empty());
        topics
            .map(|topic| {
                format!("{} {}: no leader", topic.name, partitions(topic.leaderless.iter().copied()))
            })
            .collect()
    }
}

impl StageBacklog {
    /// The partitions that no member of the group reads.
    pub(crate) fn unread(&self) -> Option<String> {
        let unread = || self.partitions.iter().filter(|partition| partition.has_reader == Some(false));
        unread().next()?;
        let records = count(unread().map(|partition| partition.lag).sum::<i64>());
        if self.members == 0 {
            return Some(format!(
                "{}: no process of {} reads it, {records} records wait",
                self.topic, self.stage
            ));
        }
        let partitions = partitions(unread().map(|partition| partition.partition));
        Some(format!(
            "{} {partitions}: no member of {} reads it, {records} records wait",
            self.topic, self.group
        ))
    }

    /// The partitions whose records wait behind a transaction that has been open for long.
    pub(crate) fn open_transactions(&self) -> Vec<String> {
        let is_long = |open_for: Option<i64>| open_for.is_none_or(|ms| ms >= OPEN_FOR_LONG_MS);
        let open = self
            .partitions
            .iter()
            .filter(|partition| partition.behind_open_transaction > 0 && is_long(partition.open_for_ms));
        open.map(|partition| self.open_transaction(partition)).collect()
    }

    fn open_transaction(&self, partition: &PartitionBacklog) -> String {
        let age =
            partition.open_for_ms.map_or(String::new(), |ms| format!(" that is open for {}", duration(ms)));
        format!(
            "{} partition {}: {} records wait behind a transaction{age}, until its producer commits or aborts it",
            self.topic,
            partition.partition,
            count(partition.behind_open_transaction)
        )
    }

    /// The batches that cannot be decoded.
    pub(crate) fn undecodable(&self) -> Vec<String> {
        let found = self.partitions.iter().flat_map(|partition| {
            partition.undecodable.iter().map(move |offsets| (partition.partition, *offsets))
        });
        let sentence = |(partition, (first, last))| {
            format!("{} partition {partition}: {} cannot be decoded", self.topic, batch(first, last))
        };
        found.map(sentence).collect()
    }
}

fn batch(first: i64, last: i64) -> String {
    if first == last {
        format!("the batch at offset {first}")
    } else {
        format!("the batch with offsets {first} to {last}")
    }
}

/// `partition 3` or `partitions 3, 4`.
pub(crate) fn partitions(numbers: impl Iterator<Item = i32>) -> String {
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    let word = if numbers.len() == 1 { "partition" } else { "partitions" };
    format!("{word} {}", numbers.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(members: usize, partitions: Vec<PartitionBacklog>) -> StageBacklog {
        StageBacklog {
            stage: "ingest",
            group: "millrace-ingest".into(),
            topic: "raw-events".into(),
            started: true,
            state: "Stable".into(),
            members,
            lag: 0,
            behind_open_transactions: 0,
            partitions,
        }
    }

    fn partition(partition: i32, lag: i64, has_reader: bool) -> PartitionBacklog {
        PartitionBacklog {
            partition,
            next: None,
            high_watermark: lag,
            lag,
            behind_open_transaction: 0,
            open_for_ms: None,
            has_reader: Some(has_reader),
            undecodable: Vec::new(),
        }
    }

    #[test]
    fn unread_partitions_are_named() {
        let partitions = || vec![partition(0, 0, true), partition(1, 7, false), partition(2, 3, false)];
        assert_eq!(
            stage(1, partitions()).unread().unwrap(),
            "raw-events partitions 1, 2: no member of millrace-ingest reads it, 10 records wait"
        );
        assert_eq!(
            stage(0, partitions()).unread().unwrap(),
            "raw-events: no process of ingest reads it, 10 records wait"
        );
        assert_eq!(stage(1, vec![partition(0, 5, true)]).unread(), None);
        let unknown = PartitionBacklog { has_reader: None, ..partition(0, 5, true) };
        assert_eq!(stage(1, vec![unknown]).unread(), None, "a rebalance");
    }

    #[test]
    fn a_transaction_is_named_when_it_is_open_for_long() {
        let open = |open_for_ms| {
            let waiting =
                PartitionBacklog { behind_open_transaction: 500, open_for_ms, ..partition(3, 500, true) };
            stage(1, vec![waiting]).open_transactions()
        };
        assert_eq!(open(Some(300)), [""; 0], "one of the pipeline's own");
        assert_eq!(
            open(Some(45_000)),
            [
                "raw-events partition 3: 500 records wait behind a transaction that is open for 45 s, until its producer \
              commits or aborts it"
            ]
        );
        assert_eq!(open(None).len(), 1);
    }

    #[test]
    fn an_undecodable_batch_is_named_with_its_offsets() {
        let damaged = PartitionBacklog { undecodable: vec![(12, 161)], ..partition(1, 150, true) };
        assert_eq!(
            stage(1, vec![damaged]).undecodable(),
            ["raw-events partition 1: the batch with offsets 12 to 161 cannot be decoded"]
        );
    }
}
