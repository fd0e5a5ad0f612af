//! Which part of Kafka does not answer, from librdkafka's statistics.
use rdkafka::Statistics;
use std::collections::BTreeSet;

/// A member that reads records or sends heartbeats hears from its brokers every few seconds.
const SILENT_AFTER_US: i64 = 10_000_000;

/// None when the leader of every partition that is read answers, and with no partitions any broker.
pub(super) fn outage(statistics: &Statistics) -> Option<String> {
    let answers = statistics
        .brokers
        .values()
        .filter(|broker| broker.state == "UP" && (0..SILENT_AFTER_US).contains(&broker.rxidle));
    let answers: BTreeSet<i32> = answers.map(|broker| broker.nodeid).collect();
    if answers.is_empty() {
        return Some("no broker answers".to_owned());
    }
    for (topic, stats) in &statistics.topics {
        for (partition, stats) in stats.partitions.iter().filter(|(_, stats)| stats.desired) {
            if !answers.contains(&stats.leader) {
                let leader = match stats.leader {
                    ..0 => "it has no leader".to_owned(),
                    leader => format!("its leader, broker {leader}, does not answer"),
                };
                return Some(format!("{topic}/{partition}: {leader}"));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::{Broker, Partition, Topic};

    use super::*;

    fn statistics(state: &str, idle_seconds: i64, leader: i32) -> Statistics {
        let broker =
            Broker { nodeid: 1, state: state.into(), rxidle: idle_seconds * 1_000_000, ..Broker::default() };
        let partition = Partition { desired: true, leader, ..Partition::default() };
        let mut topic = Topic::default();
        topic.partitions.insert(3, partition);
        let mut all = Statistics::default();
        all.brokers.insert("b".into(), broker);
        all.topics.insert("raw".into(), topic);
        all
    }

    #[test]
    fn a_broker_that_is_down_or_frozen_and_a_partition_without_leader_are_outages() {
        assert_eq!(outage(&statistics("UP", 1, 1)), None);
        assert_eq!(outage(&statistics("DOWN", 1, 1)).unwrap(), "no broker answers");
        assert_eq!(outage(&statistics("UP", 11, 1)).unwrap(), "no broker answers");
        assert_eq!(outage(&statistics("UP", 1, 2)).unwrap(), "raw/3: its leader, broker 2, does not answer");
        assert_eq!(outage(&statistics("UP", 1, -1)).unwrap(), "raw/3: it has no leader");
    }
}
