//! A commit that the broker answers late, against librdkafka's own broker in memory.
use super::*;
use crate::group_consumer::GroupMember;
use event::Start;
use rdkafka::mocking::MockCluster;
use runtime::{config::load_from, shutdown::Shutdown, stage::Polled};

const WAIT: Duration = Duration::from_secs(60);

#[test]
fn a_revocation_is_answered_only_when_no_commit_is_on_its_way() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("raw-events", 1, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let settings = load_from(None, [("MILLRACE__KAFKA__BROKERS".into(), brokers)]).unwrap();
    let member = GroupMember {
        group: "g",
        topic: "raw-events",
        name: "m",
        start: Start::Earliest,
        start_metadata: |_| String::new(),
    };
    let consumer = GroupConsumer::new(&settings, member, &Shutdown::default()).unwrap();
    let started = Instant::now();
    while !matches!(consumer.poll(Duration::from_millis(50)).unwrap(), Polled::Assigned(_)) {
        assert!(started.elapsed() < WAIT, "not assigned");
    }
    consumer.assign(&[(0, NextOffset(0))]).unwrap();
    // The coordinator is away when the commit begins, and librdkafka keeps it.
    cluster.broker_down(1).unwrap();
    consumer.begin_commit(&[(0, NextOffset(7), "")]).unwrap();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| consumer.unassign().unwrap());
        std::thread::sleep(Duration::from_secs(1));
        assert!(consumer.consumer.context().is_committing(), "the broker is away");
        assert!(!answer.is_finished(), "the revocation is answered before the commit");
        cluster.broker_up(1).unwrap();
    });
    assert!(!consumer.consumer.context().is_committing());
    assert!(consumer.commit_answer().is_some(), "whoever began the commit waits for its reply");
}
