//! Counts events while they are sent. The key of a cell is a packed number; [`TruthTally::truth`] converts it to text.

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use crate::activity::{Activities, Pair};
use crate::clock::{certain_time_source, time_source};
use crate::config::Detail;
use crate::expected_code::ExpectedCode;
use crate::names::{App, ChannelGroup, EventKind, EventName, Platform, Status, TimeSource};
use crate::population::LIBRARIES;
use crate::truth::{ActivityCell, ExpectedCounts, MinuteCell, QualityCell, TrafficCell, Truth};

type Map<V> = HashMap<u64, V, FixedState>;

/// One event of a record, and its expected result.
#[derive(Debug, Clone)]
pub(crate) enum Element {
    Valid(ExpectedEvent),
    /// A copy of an earlier element of the same array.
    Again(ExpectedEvent),
    Bad {
        code: ExpectedCode,
        hash: u64,
    },
}

/// What the cubes must count for one valid event.
#[derive(Debug, Clone)]
pub(crate) struct ExpectedEvent {
    pub(crate) app: App,
    pub(crate) platform: Platform,
    pub(crate) event: EventName,
    /// Channel group of the event's session.
    pub(crate) group: ChannelGroup,
    /// Index into [`LIBRARIES`].
    pub(crate) library: u8,
    /// None without an `anonymous_id`.
    pub(crate) device: Option<u32>,
    pub(crate) touch: Option<(Pair, Status)>,
    /// The kind of the first copy that is sent: event, test or bot.
    pub(crate) kind: EventKind,
    /// `original_timestamp` as sent, epoch milliseconds of the client's clock.
    pub(crate) original: i64,
    pub(crate) sent_at: Option<i64>,
    /// Whether it is the first counted event of its device.
    pub(crate) new_device: bool,
    /// Whether it is the first counted event of its session.
    pub(crate) session_start: bool,
}

#[derive(Default)]
struct CellCount {
    events: u64,
    devices: u64,
    sessions: u64,
    new_devices: u64,
    /// Number of the cell among all cells; with the device it identifies a (cell, device) pair.
    number: u32,
}

pub(crate) struct TruthTally {
    pub(crate) counts: ExpectedCounts,
    detail: Detail,
    cells: u32,
    traffic: Map<CellCount>,
    activity: Map<CellCount>,
    minutes: Map<u64>,
    quality: Map<u64>,
    seen: HashSet<u64, FixedState>,
    rejected: BTreeMap<ExpectedCode, u64>,
    dead_letters: BTreeMap<ExpectedCode, Map<u64>>,
}

impl TruthTally {
    pub(crate) fn new(detail: Detail) -> Self {
        Self {
            counts: ExpectedCounts::default(),
            detail,
            cells: 0,
            traffic: Map::default(),
            activity: Map::default(),
            minutes: Map::default(),
            quality: Map::default(),
            seen: HashSet::default(),
            rejected: BTreeMap::new(),
            dead_letters: BTreeMap::new(),
        }
    }

    /// Counts a record of `bytes` bytes sent at `now_ms`. `again` means that the same record was sent before.
    pub(crate) fn record(&mut self, elements: &[Element], bytes: usize, now_ms: i64, again: bool) {
        self.counts.records += 1;
        self.counts.bytes += bytes as u64;
        self.counts.sent += elements.len() as u64;
        for element in elements {
            match element {
                Element::Bad { code, hash } => self.rejected(*code, *hash),
                Element::Valid(fact) if !again => self.valid(fact, now_ms),
                Element::Valid(fact) | Element::Again(fact) => {
                    self.counts.duplicates += 1;
                    self.quality(fact, EventKind::Duplicate, now_ms);
                }
            }
        }
    }

    fn rejected(&mut self, code: ExpectedCode, hash: u64) {
        self.counts.rejected += 1;
        *self.rejected.entry(code).or_default() += 1;
        if self.detail.dead_letters {
            *self.dead_letters.entry(code).or_default().entry(hash).or_default() += 1;
        }
    }

    fn valid(&mut self, fact: &ExpectedEvent, now_ms: i64) {
        let source = self.quality(fact, fact.kind, now_ms);
        match fact.kind {
            EventKind::Event => self.counts.accepted += 1,
            EventKind::Test => self.counts.tests += 1,
            EventKind::Bot => self.counts.bots += 1,
            EventKind::Duplicate => {}
        }
        if fact.kind != EventKind::Event {
            return;
        }

        let key = pack_traffic(fact);
        let devices = self.detail.devices.then_some(&mut self.seen);
        let cell = count(&mut self.traffic, key, &mut self.cells, fact.device, devices);
        cell.sessions += u64::from(fact.session_start);
        cell.new_devices += u64::from(fact.new_device);
        if self.detail.minutes && source == TimeSource::Client {
            let minute = fact.original.div_euclid(60_000) as u64;
            *self.minutes.entry(minute << 32 | key).or_default() += 1;
        }
        if let Some((pair, status)) = fact.touch {
            let key = u64::from(pair) << 32
                | (status as u64) << 24
                | (fact.app as u64) << 16
                | (fact.platform as u64) << 8
                | fact.group as u64;
            let devices = self.detail.devices.then_some(&mut self.seen);
            count(&mut self.activity, key, &mut self.cells, fact.device, devices);
        }
    }

    fn quality(&mut self, fact: &ExpectedEvent, kind: EventKind, now_ms: i64) -> TimeSource {
        let source = certain_time_source(fact.original, fact.sent_at, now_ms)
            .unwrap_or_else(|| time_source(fact.original, fact.sent_at, now_ms));
        let key = (fact.app as u64) << 32
            | (fact.platform as u64) << 24
            | u64::from(fact.library) << 16
            | (source as u64) << 8
            | kind as u64;
        *self.quality.entry(key).or_default() += 1;
        source
    }

    pub(crate) fn truth(&self, activities: &Activities) -> Truth {
        let mut truth =
            Truth { counts: self.counts, rejected_by_code: self.rejected.clone(), ..Truth::default() };
        for (&key, cell) in &self.traffic {
            let (app, platform, event, group) = unpack_traffic(key);
            truth.traffic.push(TrafficCell {
                app_id: app.as_str().to_owned(),
                platform: platform.as_str().to_owned(),
                event_name: event.as_str().to_owned(),
                channel_group: group.as_str().to_owned(),
                events: cell.events,
                devices: cell.devices,
                sessions: cell.sessions,
                new_devices: cell.new_devices,
            });
        }
        for (&key, &events) in &self.minutes {
            let (app, platform, event, group) = unpack_traffic(key & 0xffff_ffff);
            truth.traffic_minutes.push(MinuteCell {
                bucket: (key >> 32) as i64 * 60,
                app_id: app.as_str().to_owned(),
                platform: platform.as_str().to_owned(),
                event_name: event.as_str().to_owned(),
                channel_group: group.as_str().to_owned(),
                events,
            });
        }
        for (&key, cell) in &self.activity {
            let (activity_id, activity_event_key, activity_type) = activities.pair((key >> 32) as Pair);
            truth.activity.push(ActivityCell {
                app_id: App::ALL[byte(key, 16)].as_str().to_owned(),
                activity_id: activity_id.to_owned(),
                activity_event_key: activity_event_key.to_owned(),
                activity_type: activity_type.to_owned(),
                activity_status: Status::ALL[byte(key, 24)].as_str().to_owned(),
                platform: Platform::ALL[byte(key, 8)].as_str().to_owned(),
                channel_group: ChannelGroup::ALL[byte(key, 0)].as_str().to_owned(),
                events: cell.events,
                devices: cell.devices,
            });
        }
        for (&key, &events) in &self.quality {
            let (library, library_version) = LIBRARIES[byte(key, 16)];
            truth.quality.push(QualityCell {
                app_id: App::ALL[byte(key, 32)].as_str().to_owned(),
                platform: Platform::ALL[byte(key, 24)].as_str().to_owned(),
                library: library.to_owned(),
                library_version: library_version.to_owned(),
                time_source: TimeSource::ALL[byte(key, 8)].as_str().to_owned(),
                kind: EventKind::ALL[byte(key, 0)].as_str().to_owned(),
                events,
            });
        }
        for (&code, counts) in &self.dead_letters {
            let counts = counts.iter().map(|(hash, &count)| (format!("{hash:016x}"), count)).collect();
            truth.dead_letters.insert(code, counts);
        }
        truth.traffic.sort();
        truth.traffic_minutes.sort();
        truth.activity.sort();
        truth.quality.sort();
        truth
    }
}

fn count<'c>(
    cells: &'c mut Map<CellCount>,
    key: u64,
    numbers: &mut u32,
    device: Option<u32>,
    seen: Option<&mut HashSet<u64, FixedState>>,
) -> &'c mut CellCount {
    let cell = cells.entry(key).or_insert_with(|| {
        *numbers += 1;
        CellCount { number: *numbers, ..CellCount::default() }
    });
    cell.events += 1;
    if let (Some(device), Some(seen)) = (device, seen) {
        cell.devices += u64::from(seen.insert(u64::from(cell.number) << 32 | u64::from(device)));
    }
    cell
}

fn pack_traffic(fact: &ExpectedEvent) -> u64 {
    (fact.app as u64) << 24 | (fact.platform as u64) << 16 | (fact.event as u64) << 8 | fact.group as u64
}

fn unpack_traffic(key: u64) -> (App, Platform, EventName, ChannelGroup) {
    (
        App::ALL[byte(key, 24)],
        Platform::ALL[byte(key, 16)],
        EventName::ALL[byte(key, 8)],
        ChannelGroup::ALL[byte(key, 0)],
    )
}

fn byte(key: u64, shift: u32) -> usize {
    (key >> shift & 0xff) as usize
}
