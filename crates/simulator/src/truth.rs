//! What a correct pipeline must count for everything sent so far.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::expected_code::ExpectedCode;

/// The expected counts at one moment. `sent = accepted + tests + bots + duplicates + rejected` always holds.
///
/// Cells count only events of kind `event` (`quality` counts all kinds), have no time in their key, and are sorted
/// by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// Totals.
    #[serde(flatten)]
    pub counts: ExpectedCounts,
    /// Rejected events by dead-letter code.
    pub rejected_by_code: BTreeMap<ExpectedCode, u64>,
    /// Cells of the cube `traffic`.
    pub traffic: Vec<TrafficCell>,
    /// `traffic` per minute of event time. Only events with `time_source` client: the time of others depends on
    /// when the broker receives them.
    pub traffic_minutes: Vec<MinuteCell>,
    /// Cells of the cube `activity`.
    pub activity: Vec<ActivityCell>,
    /// Cells of the cube `quality`, without dead letters.
    pub quality: Vec<QualityCell>,
    /// By code and [`payload_hash`] (16 hex digits) of the bytes that a dead letter keeps: how often it is sent. Empty when
    /// turned off.
    pub dead_letters: BTreeMap<ExpectedCode, BTreeMap<String, u64>>,
}

/// What was sent. An element of an array is one event; a record that is rejected as a whole is one event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedCounts {
    /// Kafka records.
    pub records: u64,
    /// All events.
    pub sent: u64,
    /// Valid events of real clients, sent for the first time and not as test: what the cubes count.
    pub accepted: u64,
    /// Valid test events sent for the first time.
    pub tests: u64,
    /// Valid events of crawlers and headless browsers, sent for the first time and not as test.
    #[serde(default)]
    pub bots: u64,
    /// Valid events that were sent before, tests and bots included.
    pub duplicates: u64,
    /// Events that become dead letters, counted each time they are sent.
    pub rejected: u64,
    /// Events that were never sent and leave a gap in `event_index`. Not part of `sent`.
    pub lost: u64,
    /// Bytes of the values of all records.
    pub bytes: u64,
}

/// One cell of `traffic`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are the contract's dimensions and measures")]
pub struct TrafficCell {
    pub app_id: String,
    pub platform: String,
    pub event_name: String,
    pub channel_group: String,
    pub events: u64,
    /// Exact distinct devices; events without `anonymous_id` add none. 0 when turned off.
    pub devices: u64,
    pub sessions: u64,
    pub new_devices: u64,
}

/// One cell of `traffic` in one minute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are the contract's dimensions and measures")]
pub struct MinuteCell {
    /// Start of the minute, epoch seconds.
    pub bucket: i64,
    pub app_id: String,
    pub platform: String,
    pub event_name: String,
    pub channel_group: String,
    pub events: u64,
}

/// One cell of `activity`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are the contract's dimensions and measures")]
pub struct ActivityCell {
    pub app_id: String,
    pub activity_id: String,
    pub activity_event_key: String,
    pub activity_type: String,
    pub activity_status: String,
    pub platform: String,
    pub channel_group: String,
    pub events: u64,
    /// Exact distinct devices. 0 when turned off.
    pub devices: u64,
}

/// One cell of `quality`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are the contract's dimensions and measures")]
pub struct QualityCell {
    pub app_id: String,
    pub platform: String,
    pub library: String,
    pub library_version: String,
    pub time_source: String,
    /// event, duplicate, test or bot.
    pub kind: String,
    pub events: u64,
}

/// What a dead letter keeps of rejected bytes: all of them up to 1 MiB, together with the key of an element of an array,
/// else the first 64 KiB.
pub(crate) fn kept_in_dead_letter(bytes: &[u8], key_of_element: usize) -> &[u8] {
    let most = (1 << 20) - key_of_element.min(1 << 10);
    if bytes.len() > most { bytes.get(..1 << 16).unwrap_or(bytes) } else { bytes }
}

/// The hash that identifies a dead letter: 64-bit XXH3 of its exact bytes.
pub fn payload_hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

impl ExpectedCounts {
    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.tests += other.tests;
        self.bots += other.bots;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.lost += other.lost;
        self.bytes += other.bytes;
    }
}

impl Truth {
    /// Adds the truth of another simulator. Its seed must differ, so that the devices are disjoint.
    pub fn add(&mut self, other: Self) {
        self.counts.add(&other.counts);
        for (code, count) in other.rejected_by_code {
            *self.rejected_by_code.entry(code).or_default() += count;
        }
        for (code, counts) in other.dead_letters {
            let mine = self.dead_letters.entry(code).or_default();
            for (hash, count) in counts {
                *mine.entry(hash).or_default() += count;
            }
        }
        merge(&mut self.traffic, other.traffic);
        merge(&mut self.traffic_minutes, other.traffic_minutes);
        merge(&mut self.activity, other.activity);
        merge(&mut self.quality, other.quality);
    }
}

trait Cell: Ord {
    fn same_key(&self, other: &Self) -> bool;
    fn absorb(&mut self, other: &Self);
}

fn merge<C: Cell>(mine: &mut Vec<C>, other: Vec<C>) {
    mine.extend(other);
    mine.sort();
    mine.dedup_by(|next, kept| {
        let same = kept.same_key(next);
        if same {
            kept.absorb(next);
        }
        same
    });
}

macro_rules! cell {
    ($cell:ident { $($key:ident),+ } $($measure:ident),+) => {
        impl Cell for $cell {
            fn same_key(&self, other: &Self) -> bool {
                $(self.$key == other.$key)&&+
            }
            fn absorb(&mut self, other: &Self) {
                $(self.$measure += other.$measure;)+
            }
        }
    };
}

cell!(TrafficCell { app_id, platform, event_name, channel_group } events, devices, sessions, new_devices);
cell!(MinuteCell { bucket, app_id, platform, event_name, channel_group } events);
cell!(ActivityCell { app_id, activity_id, activity_event_key, activity_type, activity_status, platform, channel_group } events, devices);
cell!(QualityCell { app_id, platform, library, library_version, time_source, kind } events);
