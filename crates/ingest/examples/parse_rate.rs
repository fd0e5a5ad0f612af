//! Measures how long ingest takes per event: `cargo run --release -p ingest --example parse_rate [ROUNDS]`.
//!
//! Prints nanoseconds per event for `decide` alone, and for `decide` and `encode` into batches: the fastest of ROUNDS
//! rounds, 40 by default. The events are those that `cargo bench-pipeline` sends.
#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
use event::{BatchBuilder, Verdict};
use ingest::{EventPolicy, KeyOrder, RecordOrigin, decide, encode, partition};
use simulator::{Config, RawRecord, Simulator};
use std::{
    convert::Infallible,
    hint::black_box,
    io::Write,
    time::{Duration, Instant},
};

const RECEIVED_AT: i64 = 1_772_452_800_000;
const PARTITIONS: u32 = 8;
const RECORDS: usize = 40_000;
const ROUNDS: usize = 40;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::io::Result<()> {
    let mut simulator = Simulator::new(Config::default());
    let records: Vec<Vec<u8>> = (0..RECORDS)
        .map(|_| {
            let mut record = RawRecord::default();
            simulator.next(RECEIVED_AT, &mut record);
            record.value
        })
        .collect();
    let policy = EventPolicy::new([], false, Duration::from_secs(7 * 86_400));
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let bytes: usize = records.iter().map(Vec::len).sum();
    let events = simulator.counts().sent.max(1) as usize;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{events} events in {RECORDS} records, {} bytes per event", bytes / events)?;
    let deciding = fastest(rounds, || decide_all(&records, &policy));
    let encoding = fastest(rounds, || encode_all(&records, &policy));
    writeln!(out, "decide {deciding} ns, decide and encode {encoding} ns")
}

fn fastest(rounds: usize, mut round: impl FnMut() -> usize) -> u128 {
    let times = (0..rounds).map(|_| {
        let started = Instant::now();
        let settled = round();
        (started.elapsed() / settled.max(1) as u32).as_nanos()
    });
    times.min().unwrap_or(0)
}

fn decide_all(records: &[Vec<u8>], policy: &EventPolicy) -> usize {
    let (mut emitted, mut order) = (0, KeyOrder::default());
    for record in records {
        let Ok(()) = decide(Some(record), RECEIVED_AT, policy, &mut order, |decision| {
            emitted += usize::from(matches!(decision.verdict, Verdict::Emit(_)));
            Ok::<_, Infallible>(())
        });
    }
    emitted
}

fn encode_all(records: &[Vec<u8>], policy: &EventPolicy) -> usize {
    let mut batches = vec![BatchBuilder::default(); PARTITIONS as usize];
    let (mut emitted, mut key, mut order) = (0, Vec::new(), KeyOrder::default());
    for (offset, record) in records.iter().enumerate() {
        let Ok(()) = decide(Some(record), RECEIVED_AT, policy, &mut order, |decision| {
            if let Verdict::Emit(facts) = &decision.verdict {
                let batch = &mut batches[partition(decision.event, facts, PARTITIONS, &mut key) as usize];
                let origin = RecordOrigin {
                    partition: 0,
                    offset: offset as i64,
                    index: decision.index,
                    received_at: RECEIVED_AT,
                };
                encode(decision.event, facts, origin, batch);
                if batch.is_full() {
                    black_box(batch.finish());
                }
                emitted += 1;
            }
            Ok::<_, Infallible>(())
        });
    }
    emitted
}
