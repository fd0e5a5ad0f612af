//! Compares the truth with the verdicts of ingest. Both implement the contract independently.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use event::Verdict;
use simulator::{APP_IDS, Config, RawRecord, Simulator, default_activities, payload_hash};

const NOW: i64 = 1_772_366_400_000;

#[test]
fn ingest_rejects_what_was_planned_to_be_rejected_and_trusts_the_same_clocks() {
    for (seed, reject_unknown_events) in [(1, false), (2, true), (3, false)] {
        let config = Config {
            seed,
            reject_unknown_events,
            bad: 0.03,
            arrays: 0.2,
            devices: 3_000,
            activities: default_activities(NOW),
            ..Config::default()
        };
        let week = Duration::from_secs(7 * 86_400);
        let policy =
            ingest::EventPolicy::new(APP_IDS.iter().map(|&id| id.to_owned()), reject_unknown_events, week);
        let mut simulator = Simulator::new(config);
        let (mut record, mut order) = (RawRecord::default(), ingest::KeyOrder::default());
        let mut rejected: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        let mut sources: BTreeMap<String, u64> = BTreeMap::new();
        while simulator.counts().sent < 60_000 {
            let records = simulator.counts().records as i64;
            let now_ms = NOW + records * 20;
            simulator.next(now_ms, &mut record);
            // From no delay to the longest transit that the simulator allows.
            let received_at = now_ms + records % 40_000;
            let settled = ingest::decide(Some(&record.value), received_at, &policy, &mut order, |decision| {
                match decision.verdict {
                    Verdict::Emit(facts) => {
                        *sources.entry(facts.time.source.as_str().to_owned()).or_default() += 1;
                    }
                    Verdict::Reject(rejection) => {
                        let hash = format!("{:016x}", payload_hash(decision.bytes));
                        let code = rejection.code.as_str().to_owned();
                        *rejected.entry(code).or_default().entry(hash).or_default() += 1;
                    }
                }
                Ok::<_, Infallible>(())
            });
            settled.unwrap();
        }
        let truth = simulator.truth();
        let mut expected_sources: BTreeMap<String, u64> = BTreeMap::new();
        for cell in truth.quality {
            *expected_sources.entry(cell.time_source).or_default() += cell.events;
        }
        assert_eq!(sources, expected_sources);
        for (code, expected) in truth.dead_letters {
            let found = rejected.remove(code.as_str()).unwrap_or_default();
            assert_eq!(found.len(), expected.len(), "{code:?}: others are {:?}", rejected.keys());
            assert_eq!(found, expected, "{code:?}");
        }
        assert!(rejected.is_empty(), "{:?}", rejected.keys());
    }
}
