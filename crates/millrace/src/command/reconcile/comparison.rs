//! Compares the ledger of each stage with the ledger of the next one.
use std::collections::BTreeMap;

use event::Topic;
use runtime::config::Settings;

use super::{
    check::{InFlight, LedgerCheck},
    in_flight::{TopicBounds, in_flight, settled_bounds},
    report::Reconciliation,
    stage_ledger::StageLedger,
    stored::{StoredLedgers, WrittenEvents},
};
use crate::{error::Error, topic_reader};

/// Reads Kafka, from the last topic to the first, and compares each ledger with the next one.
pub(super) fn compare(settings: &Settings, stored: &StoredLedgers) -> Result<Reconciliation, Error> {
    let client = topic_reader::connect(settings)?;
    let bounds = |topic| TopicBounds::read(settings, &client, topic);
    let (enriched_before, dead_before) = (bounds(Topic::EnrichedEvents)?, bounds(Topic::DeadLetters)?);
    let enrich = StageLedger::read(settings, &client, "enrich", Topic::CleanEvents)?;
    let enriched_after = settled_bounds(settings, &client, Topic::EnrichedEvents)?;
    let clean_before = bounds(Topic::CleanEvents)?;
    let ingest = StageLedger::read(settings, &client, "ingest", Topic::RawEvents)?;
    let clean_after = settled_bounds(settings, &client, Topic::CleanEvents)?;
    let dead_after = settled_bounds(settings, &client, Topic::DeadLetters)?;

    let end_of = |written: &BTreeMap<i32, WrittenEvents>| {
        written.iter().filter_map(|(&partition, written)| Some((partition, written.end?))).collect()
    };
    let enriched = in_flight(settings, &end_of(&stored.live), &enriched_before, &enriched_after)?;
    let mut lanes = vec![("enrich sent = clickhouse has + in flight", &stored.live, enriched.clone())];
    for (what, lane) in &stored.other_lanes {
        let in_flight = in_flight(settings, &end_of(lane), &enriched_before, &enriched_after)?;
        lanes.push((what, lane, in_flight));
    }
    let dead = in_flight(settings, &end_of(&stored.dead_letters), &dead_before, &dead_after)?;
    let clean = in_flight(settings, &enrich.ends, &clean_before, &clean_after)?;

    let mut checks = Vec::new();
    let name = |topic| settings.kafka.topic(topic);
    for (ledger, what, topic) in [
        (&ingest, "ingest: events = sent on + dead letters", Topic::RawEvents),
        (&enrich, "enrich: events = sent on + dead letters", Topic::CleanEvents),
    ] {
        checks.extend(ledger.counts.iter().map(|(&partition, counts)| LedgerCheck {
            what,
            topic: name(topic),
            partition: Some(partition),
            before: counts.events,
            after: counts.emitted + counts.rejected,
            in_flight: InFlight::default(),
        }));
    }
    let (ingested, enriched_total) = (ingest.total(), enrich.total());
    checks.push(LedgerCheck {
        what: "ingest sent = enrich received + in flight",
        topic: name(Topic::CleanEvents),
        partition: None,
        before: ingested.emitted,
        // What enrich rejects is not a batch of ingest.
        after: enriched_total.events.saturating_sub(enriched_total.rejected),
        in_flight: sum(&clean),
    });
    for (what, lane, in_flight) in &lanes {
        checks.extend(in_flight.iter().map(|(&partition, in_flight)| LedgerCheck {
            what,
            topic: name(Topic::EnrichedEvents),
            partition: Some(partition),
            before: enrich.counts.get(&partition).map_or(0, |counts| counts.emitted),
            after: lane.get(&partition).map_or(0, |written| written.events),
            in_flight: *in_flight,
        }));
    }
    let live = stored.live.values().fold((0, 0), |sum, w| (sum.0 + w.events, sum.1 + w.duplicates));
    let dead_letters = stored.dead_letters.values().map(|written| written.events).sum();
    checks.push(LedgerCheck {
        what: "rejected = clickhouse has + in flight",
        topic: name(Topic::DeadLetters),
        partition: None,
        before: ingested.rejected + enriched_total.rejected,
        after: dead_letters,
        in_flight: sum(&dead),
    });
    let mut in_flight = sum(&clean);
    in_flight.add(sum(&enriched));
    in_flight.add(sum(&dead));
    Ok(Reconciliation {
        consumed: ingested.events,
        stored: live.0.saturating_sub(live.1),
        duplicates: live.1,
        dead_letters,
        foreign: enriched_total.rejected,
        undecodable: stored.undecodable.clone(),
        in_flight,
        difference: checks.iter().map(|check| check.difference().unsigned_abs()).sum(),
        checks,
        waiting: Vec::new(),
        notes: Vec::new(),
    })
}

fn sum(partitions: &BTreeMap<i32, InFlight>) -> InFlight {
    let mut sum = InFlight::default();
    partitions.values().for_each(|in_flight| sum.add(*in_flight));
    sum
}
