//! The worker with a source and a producer in memory: batches, aborts, rebalances, restores, panics and stops.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod broker;

use event::LedgerCounts;
use proptest::prelude::*;
use runtime::{Error, config::UndecodableBatches, stage::TransactionEnd};
use std::time::{Duration, Instant};

use broker::{Call, Failure, Poll, RECORD, Run};

fn records(partition: i32, count: usize) -> impl Iterator<Item = Poll> {
    std::iter::repeat_n(Poll::Record(partition), count)
}

fn assigned(partitions: &[i32]) -> impl Iterator<Item = Poll> {
    std::iter::once(Poll::Assigned(partitions.to_vec()))
}

#[test]
fn a_batch_ends_at_its_number_of_records() {
    let mut run = Run::new(assigned(&[0]).chain(records(0, 7)));
    run.batch.records = 3;
    run.one_worker().unwrap();
    assert_eq!(run.batches().iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(run.broker().committed[&0].0, 7);
}

#[test]
fn a_batch_ends_with_the_record_that_reaches_its_bytes() {
    let mut run = Run::new(assigned(&[0]).chain(records(0, 5)));
    run.batch.bytes = 2 * RECORD.len() + 1;
    run.one_worker().unwrap();
    assert_eq!(run.batches().iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
}

#[test]
fn a_batch_ends_at_its_interval_after_the_first_record() {
    let idle = [Poll::Idle, Poll::Idle, Poll::Idle];
    let mut run = Run::new(assigned(&[0]).chain(records(0, 1)).chain(idle).chain(records(0, 1)));
    run.batch.interval = Duration::from_millis(20);
    let started = Instant::now();
    run.one_worker().unwrap();
    assert_eq!(run.batches(), [[(0, 0)], [(0, 1)]]);
    assert!(started.elapsed() >= Duration::from_millis(20));
}

#[test]
fn offsets_commit_with_the_ledger_of_the_records_before_them() {
    let run = Run::new(assigned(&[0, 1]).chain(records(0, 2)).chain(records(1, 1)));
    run.one_worker().unwrap();
    let broker = run.broker();
    let (next, metadata) = &broker.committed[&0];
    let counts = LedgerCounts { records: 2, events: 2, emitted: 2, ..LedgerCounts::default() };
    assert_eq!((*next, LedgerCounts::parse(metadata)), (2, Ok(counts)));
    assert_eq!(broker.committed[&1].0, 1);
    assert_eq!(broker.visible, [(0, 0), (0, 1), (1, 0)]);
}

#[test]
fn after_an_abort_the_state_is_undone_and_reading_continues_at_the_committed_offsets() {
    let polls = assigned(&[0]).chain(records(0, 2)).chain([Poll::Idle]).chain(records(0, 1));
    let run = Run::new(polls.chain([Poll::Idle]).chain(records(0, 1)));
    run.broker().ends = [TransactionEnd::Committed, TransactionEnd::Aborted].into();
    run.one_worker().unwrap();
    assert_eq!(run.batches(), [vec![(0, 0), (0, 1)], vec![(0, 2)], vec![(0, 2)]]);
    let calls = run.calls();
    let aborted = calls.iter().position(|call| *call == Call::StateAborted).unwrap();
    assert_eq!(calls[aborted + 1], Call::Seek(vec![(0, 2)]));
    let broker = run.broker();
    assert_eq!(broker.visible, [(0, 0), (0, 1), (0, 2)]);
    assert_eq!(broker.state[&0], 3);
    assert_eq!(LedgerCounts::parse(&broker.committed[&0].1).unwrap().records, 3, "an abort counts nothing");
}

#[test]
fn a_partition_that_comes_back_untouched_keeps_its_state() {
    let polls = assigned(&[0, 1]).chain(records(0, 2)).chain([Poll::Revoked]).chain(assigned(&[0]));
    let run = Run::new(polls.chain(records(0, 1)));
    run.one_worker().unwrap();
    let calls = run.calls();
    let begins = calls.iter().filter(|call| **call == Call::StateBegins(0)).count();
    assert_eq!(begins, 1, "{calls:?}");
    assert!(!calls.contains(&Call::StateEnds(0)), "{calls:?}");
    assert!(calls.contains(&Call::StateEnds(1)), "partition 1 did not come back: {calls:?}");
    assert_eq!(run.broker().state, [(0, 3)].into());
}

#[test]
fn a_partition_that_another_member_has_committed_to_loses_its_state() {
    let polls = assigned(&[0]).chain(records(0, 2)).chain([Poll::Revoked, Poll::OtherProcesses(0, 3)]);
    let run = Run::new(polls.chain(assigned(&[0])).chain(records(0, 1)));
    run.one_worker().unwrap();
    let states: Vec<_> = run.calls().into_iter().filter(is_about_state).collect();
    assert_eq!(states, [Call::StateBegins(0), Call::StateEnds(0), Call::StateBegins(0)]);
    let broker = run.broker();
    assert_eq!(broker.state[&0], 6);
    assert_eq!(LedgerCounts::parse(&broker.committed[&0].1).unwrap().records, 6, "its ledger is continued");
}

fn is_about_state(call: &Call) -> bool {
    matches!(call, Call::StateBegins(_) | Call::StateEnds(_))
}

#[test]
fn nothing_is_processed_for_partitions_that_were_lost() {
    let polls = assigned(&[0]).chain(records(0, 1)).chain([Poll::Idle]).chain(records(0, 2));
    let run = Run::new(polls.chain([Poll::Lost]).chain(assigned(&[0])).chain(records(0, 1)));
    run.one_worker().unwrap();
    assert_eq!(run.batches(), [[(0, 0)], [(0, 1)]], "the two records in hand are read again");
    let calls = run.calls();
    assert!(calls.contains(&Call::StateEnds(0)), "the state of a lost partition is dropped: {calls:?}");
    assert_eq!(run.broker().visible, [(0, 0), (0, 1)]);
}

#[test]
fn a_batch_in_hand_commits_before_its_partitions_are_revoked() {
    let run = Run::new(assigned(&[0]).chain(records(0, 2)).chain([Poll::Revoked]));
    run.one_worker().unwrap();
    let calls = run.calls();
    let place = |wanted: &Call| calls.iter().position(|call| call == wanted).unwrap();
    assert!(place(&Call::StateCommitted) < place(&Call::Unassign), "{calls:?}");
    assert_eq!(run.broker().committed[&0].0, 2);
}

#[test]
fn an_aborted_batch_of_revoked_partitions_is_left_to_their_next_owner() {
    let polls = assigned(&[0]).chain(records(0, 2)).chain([Poll::Revoked]).chain(assigned(&[0]));
    let run = Run::new(polls.chain(records(0, 2)));
    run.broker().ends = [TransactionEnd::Aborted].into();
    run.one_worker().unwrap();
    let calls = run.calls();
    assert!(!calls.iter().any(|call| matches!(call, Call::Seek(_))), "{calls:?}");
    assert_eq!(run.broker().visible, [(0, 0), (0, 1)]);
    assert_eq!(run.broker().state[&0], 2);
}

#[test]
fn a_restore_of_several_calls_pauses_its_partitions_and_then_reads_them_from_the_committed_offsets() {
    let polls = assigned(&[0]).chain([Poll::Prefetched(0), Poll::Idle]).chain(records(0, 1));
    let run = Run::new(polls);
    run.broker().restores = [false, false, true].into();
    run.one_worker().unwrap();
    let expected = [
        Call::StateBegins(0),
        Call::Assign(vec![(0, 0)]),
        Call::Restore(false),
        Call::Pause(vec![0]),
        Call::Restore(false),
        Call::Restore(true),
        Call::Resume(vec![0]),
        Call::Seek(vec![(0, 0)]),
        Call::Process(vec![(0, 0)]),
        Call::StateCommitted,
    ];
    assert_eq!(run.calls(), expected);
}

#[test]
fn a_restore_that_a_revoke_interrupts_begins_again_at_the_next_assignment() {
    let polls = assigned(&[0]).chain([Poll::Idle, Poll::Revoked]).chain(assigned(&[0])).chain(records(0, 1));
    let run = Run::new(polls);
    run.broker().restores = [false, false, false, true].into();
    run.one_worker().unwrap();
    let states: Vec<_> = run.calls().into_iter().filter(is_about_state).collect();
    assert_eq!(states, [Call::StateBegins(0), Call::StateEnds(0), Call::StateBegins(0)]);
    assert_eq!(run.broker().visible, []);
    assert_eq!(run.broker().restores.len(), 0);
}

#[test]
fn a_stop_in_mid_batch_commits_the_batch_and_reads_no_more() {
    let polls = assigned(&[0]).chain(records(0, 2)).chain([Poll::Stop]).chain(records(0, 1));
    let run = Run::new(polls.chain([Poll::Idle]).chain(records(0, 9)));
    run.one_worker().unwrap();
    assert_eq!(run.broker().visible, [(0, 0), (0, 1), (0, 2)]);
    assert_eq!(run.broker().committed[&0].0, 3);
}

#[test]
fn an_error_of_the_stage_aborts_the_transaction_and_ends_the_worker() {
    let run = Run::new(assigned(&[0]).chain(records(0, 2)));
    run.broker().fails_at = Some((1, Failure::Error));
    let error = run.one_worker().unwrap_err();
    assert_eq!(error.to_string(), "the stage failed");
    assert_eq!(run.calls().last(), Some(&Call::TransactionDropped));
    assert_eq!(run.broker().visible, []);
}

#[test]
fn a_worker_with_a_transient_error_is_rebuilt_and_reads_from_the_committed_offsets() {
    let script =
        assigned(&[0]).chain(records(0, 2)).chain([Poll::Idle]).chain(records(0, 1)).chain([Poll::Idle]);
    let run = Run::new(script.chain(assigned(&[0])).chain(records(0, 3)));
    run.broker().fails_at = Some((2, Failure::Transient));
    run.one_worker().unwrap();
    assert_eq!(run.broker().visible, [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]);
    assert_eq!(run.broker().committed[&0].0, 5);
    assert_eq!(run.broker().state[&0], 5);
}

#[test]
fn a_panic_in_one_worker_ends_all_of_them() {
    let idle = std::iter::repeat_n(Poll::Idle, 1_000_000);
    let mut run = Run::new(assigned(&[0]).chain(records(0, 2)).chain(idle));
    run.batch.interval = Duration::from_millis(1);
    run.broker().fails_at = Some((1, Failure::Panic));
    let started = Instant::now();
    let error = run.workers(2).unwrap_err();
    assert!(matches!(error, Error::Panicked(_)), "{error}");
    assert!(started.elapsed() < Duration::from_secs(60), "the other worker went on");
    assert!(run.shutdown.requested());
}

#[test]
fn a_batch_whose_output_is_too_large_is_several_transactions() {
    let mut run = Run::new(assigned(&[0]).chain(records(0, 8)));
    // The stage sends 8 bytes for each record.
    run.output_bytes = 20;
    run.one_worker().unwrap();
    let broker = run.broker();
    assert_eq!(broker.visible, (0..8).map(|offset| (0, offset)).collect::<Vec<_>>());
    assert_eq!(broker.state[&0], 8);
    assert_eq!(LedgerCounts::parse(&broker.committed[&0].1).unwrap().records, 8);
    drop(broker);
    assert_eq!(run.batches().iter().map(Vec::len).collect::<Vec<_>>(), [8, 4, 2, 2, 2, 2]);
}

#[test]
fn the_output_of_a_single_record_may_be_larger() {
    let mut run = Run::new(assigned(&[0]).chain(records(0, 2)));
    run.output_bytes = 1;
    run.one_worker().unwrap();
    assert_eq!(run.broker().visible, [(0, 0), (0, 1)]);
}

#[test]
fn a_record_that_kafka_refuses_for_its_size_is_a_dead_letter_and_the_others_are_stored() {
    let run = Run::new(assigned(&[0]).chain(records(0, 8)));
    run.broker().refused = [5].into();
    run.one_worker().unwrap();
    let broker = run.broker();
    assert_eq!(broker.visible, [0, 1, 2, 3, 4, 6, 7].map(|offset| (0, offset)));
    assert_eq!(broker.dead_letters.len(), 1);
    let counts = LedgerCounts { records: 8, events: 8, emitted: 7, duplicates: 0, rejected: 1 };
    assert_eq!(LedgerCounts::parse(&broker.committed[&0].1), Ok(counts));
}

#[test]
fn an_aborted_transaction_is_repeated_with_fewer_records() {
    let run = Run::new(assigned(&[0]).chain(records(0, 8)).chain([Poll::Idle]).chain(records(0, 8)));
    run.broker().ends = [TransactionEnd::Aborted].into();
    run.one_worker().unwrap();
    assert_eq!(run.batches().iter().map(Vec::len).collect::<Vec<_>>(), [8, 4, 4]);
    assert_eq!(run.broker().visible.len(), 8);
}

#[test]
fn a_batch_that_cannot_be_decoded_is_one_dead_letter_and_what_the_client_skipped_is_read() {
    let polls = assigned(&[0, 1]).chain(records(0, 2)).chain([Poll::Undecodable]);
    let run = Run::new(polls.chain(records(0, 1)).chain(records(1, 1)));
    run.broker().undecodable = vec![(0, 2, 4)];
    run.one_worker().unwrap();
    let broker = run.broker();
    assert_eq!(broker.visible, [(0, 0), (0, 1), (0, 5), (1, 0)]);
    let [dead_letter] = &broker.dead_letters[..] else { panic!("{:?}", broker.dead_letters) };
    let header = |name: &str| dead_letter.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str());
    assert_eq!(header("code"), Some("undecodable"));
    assert_eq!(header("origin_topic"), Some("in"));
    assert_eq!((header("origin_offset"), header("origin_last_offset")), (Some("2"), Some("4")));
    let (next, metadata) = &broker.committed[&0];
    let counts = LedgerCounts { records: 6, events: 4, emitted: 3, duplicates: 0, rejected: 1 };
    assert_eq!((*next, LedgerCounts::parse(metadata)), (6, Ok(counts)));
}

#[test]
fn with_halt_only_the_partition_of_an_undecodable_batch_waits() {
    let polls = assigned(&[0, 1]).chain(records(0, 2)).chain([Poll::Undecodable]);
    let mut run = Run::new(polls.chain(records(0, 1)).chain(records(1, 2)));
    run.undecodable = UndecodableBatches::Halt;
    run.broker().undecodable = vec![(0, 2, 4)];
    run.one_worker().unwrap();
    let broker = run.broker();
    assert_eq!(broker.visible, [(0, 0), (0, 1), (1, 0), (1, 1)]);
    assert_eq!((broker.committed[&0].0, broker.dead_letters.len()), (2, 0));
    assert!(broker.calls.contains(&Call::Pause(vec![0])));
}

#[test]
fn an_error_that_no_second_reading_confirms_skips_nothing() {
    let polls = assigned(&[0]).chain(records(0, 2)).chain([Poll::Undecodable]);
    let run = Run::new(polls.chain(records(0, 2)));
    run.one_worker().unwrap();
    assert_eq!(run.broker().visible, [(0, 0), (0, 1), (0, 2), (0, 3)]);
}

fn poll() -> impl Strategy<Value = Poll> {
    prop_oneof![
        8 => (0..2_i32).prop_map(Poll::Record),
        2 => (0..2_i32).prop_map(Poll::Prefetched),
        4 => Just(Poll::Idle),
        2 => prop::sample::subsequence(vec![0, 1], 1..=2).prop_map(Poll::Assigned),
        1 => Just(Poll::Revoked),
        1 => Just(Poll::Lost),
        1 => Just(Poll::Undecodable),
        2 => (0..2_i32, 1..3_i64).prop_map(|(partition, count)| Poll::OtherProcesses(partition, count)),
    ]
}

/// A group assigns partitions again only after it has revoked them, and another member processes records only while
/// this one has no assignment.
fn as_a_group_does(polls: Vec<Poll>) -> Vec<Poll> {
    let mut is_assigned = false;
    let is_possible = |poll: &Poll| match poll {
        Poll::Assigned(_) => !std::mem::replace(&mut is_assigned, true),
        Poll::Revoked | Poll::Lost => std::mem::replace(&mut is_assigned, false),
        Poll::OtherProcesses(..) => !is_assigned,
        _ => true,
    };
    polls.into_iter().filter(is_possible).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the group does and however transactions end: the messages of each committed record are visible exactly
    /// once, in order, and the state of an assigned partition is that of its committed offset.
    #[test]
    fn every_committed_record_is_processed_exactly_once(
        polls in prop::collection::vec(poll(), 1..60),
        aborts in prop::collection::vec(prop::bool::weighted(0.1), 60),
        restores in prop::collection::vec(any::<bool>(), 0..10),
    ) {
        let run = Run::new(as_a_group_does(polls));
        run.broker().ends = aborts
            .into_iter()
            .map(|abort| if abort { TransactionEnd::Aborted } else { TransactionEnd::Committed })
            .collect();
        run.broker().restores = restores.into();
        run.one_worker().unwrap();
        let broker = run.broker();
        for partition in 0..2 {
            let next = broker.committed.get(&partition).map_or(0, |(next, _)| *next);
            let visible: Vec<i64> =
                broker.visible.iter().filter(|(of, _)| *of == partition).map(|(_, offset)| *offset).collect();
            prop_assert_eq!(visible, (0..next).collect::<Vec<_>>());
            if broker.positions.contains_key(&partition) {
                prop_assert_eq!(broker.state.get(&partition), Some(&next));
            }
            if let Some((next, metadata)) = broker.committed.get(&partition) {
                prop_assert_eq!(LedgerCounts::parse(metadata).unwrap().records, *next as u64);
            }
        }
    }
}
