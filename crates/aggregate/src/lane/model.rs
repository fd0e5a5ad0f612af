//! Random schedules against the code that the lane runs: [`Partitions`](super::partitions::Partitions) and everything
//! below it, with models of Kafka and ClickHouse in which processes die, freeze and lose replies at every step.
//! Whatever the schedule, each record counts once. With any one safeguard off, some schedule loses or doubles a record,
//! so the model can fail.
//!
//! A schedule follows from its seed alone; the message of a failure names the seed.
mod choices;
mod clickhouse;
mod kafka;
mod process;
mod requests;
mod servers;
mod windows;
mod world;

use crate::protocol::Rules;

use windows::Windows;
use world::World;

const SESSION_TIMEOUT_MS: i64 = 20_000;
const LONGEST_INSERT_MS: i64 = 60_000;
const RULES: Rules = Rules {
    epoch: 1,
    intent_valid_ms: SESSION_TIMEOUT_MS,
    longest_insert_ms: LONGEST_INSERT_MS,
    atomic_tokens: false,
    reads_markers: true,
    commits_intents: true,
};

/// What a schedule may do.
#[derive(Debug, Clone, Copy)]
struct Faults {
    /// How many tokens the server remembers.
    token_window: usize,
    /// Inserts whose reply was lost may execute up to `LONGEST_INSERT_MS` later.
    delayed_inserts: bool,
    /// Processes come back with code that builds other blocks.
    upgrades: bool,
    /// Inserts carry their tokens.
    sends_tokens: bool,
    /// A permanent error in the middle of a replay discards the records read so far, as an earlier version did.
    discards_replay_on_error: bool,
    rules: Rules,
}

const ALL: Faults = Faults {
    token_window: 1000,
    delayed_inserts: true,
    upgrades: false,
    sends_tokens: true,
    discards_replay_on_error: false,
    rules: RULES,
};
/// Without delayed inserts: nobody could tell one that outlives its token from a new insert.
const SHORT_MEMORY: Faults = Faults { token_window: 2, delayed_inserts: false, ..ALL };
const UPGRADES: Faults = Faults { upgrades: true, ..ALL };

/// Runs the schedules of `seeds`; fails at the first wrong one. Returns how often each dangerous window was entered.
fn check(faults: Faults, seeds: std::ops::Range<u64>) -> Windows {
    let mut windows = Windows::default();
    for seed in seeds {
        let outcome = World::run(faults, seed);
        if let Err(problem) = outcome.result {
            panic!("seed {seed} with {faults:?}: {problem}");
        }
        windows.add(&outcome.windows);
    }
    windows
}

/// The first violation among the schedules of 20 000 seeds.
fn violation(faults: Faults) -> Option<String> {
    (0..20_000).find_map(|seed| World::run(faults, seed).result.err())
}

#[test]
fn each_record_counts_once_whichever_process_dies_and_each_dangerous_window_is_entered() {
    let windows = check(ALL, 0..60_000);
    for (name, entered) in windows.entries() {
        assert!(entered > 0, "no schedule entered the window: {name}; {windows:?}");
    }
}

#[test]
fn each_record_counts_once_when_the_server_forgets_tokens_at_once() {
    check(SHORT_MEMORY, 0..25_000);
}

#[test]
fn each_record_counts_at_most_once_when_new_code_builds_other_rows() {
    check(UPGRADES, 0..25_000);
}

#[test]
fn a_permanent_error_in_mid_replay_must_not_discard_the_records_read_so_far() {
    let found = violation(Faults { discards_replay_on_error: true, ..ALL }).expect("no schedule notices");
    assert!(found.contains("committed past record"), "{found}");
}

#[test]
fn without_any_one_safeguard_some_schedule_loses_or_doubles_a_record() {
    let without_markers = Rules { reads_markers: false, ..RULES };
    let without_intents = Rules { commits_intents: false, ..RULES };
    let endless_proof = Rules { intent_valid_ms: i64::MAX / 2, ..RULES };
    let no_wait = Rules { longest_insert_ms: 0, ..RULES };
    for (name, faults, finds) in [
        ("token", Faults { sends_tokens: false, ..ALL }, "counts 2 times"),
        ("marker", Faults { rules: without_markers, ..ALL }, "committed past record"),
        ("marker, tokens forgotten", Faults { rules: without_markers, ..SHORT_MEMORY }, "co"),
        ("intent", Faults { rules: without_intents, ..ALL }, "co"),
        ("fresh proof of ownership", Faults { rules: endless_proof, ..SHORT_MEMORY }, "counts 2 times"),
        ("wait for inserts of other rows", Faults { rules: no_wait, ..UPGRADES }, "co"),
    ] {
        let found =
            violation(faults).unwrap_or_else(|| panic!("no schedule notices the missing safeguard: {name}"));
        assert!(found.contains(finds), "without {name}: {found}");
    }
}

#[test]
fn one_seed_gives_one_trace() {
    let hash = |seed| World::run(ALL, seed).trace_hash;
    let hashes: Vec<u64> = (0..200).map(hash).collect();
    assert_eq!(hashes, (0..200).map(hash).collect::<Vec<_>>());
    let distinct: std::collections::BTreeSet<u64> = hashes.iter().copied().collect();
    assert_eq!(distinct.len(), hashes.len(), "the hash does not tell schedules apart");
}
