//! The devices of one partition, in memory: what the open transaction changed can be undone, and what has to go to the
//! changelog is listed.
//!
//! Forgetting is decided by days of the partition's own time, never by a clock or by how far a sweep has come: a device
//! silent since before the horizon is new when it comes back, whether or not its tombstone has been written.
use hashbrown::{HashMap, hash_map::Entry};
use std::{
    collections::{BTreeMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
};

use crate::device::{
    Device, Event, Malformed, Stamps, Surroundings, active::Definitions, fast::Fast, shared::Shared,
};

/// Devices of today and yesterday are never forgotten for lack of room.
const ALWAYS_KEPT_DAYS: i32 = 2;

/// How long and how many devices are remembered.
#[derive(Debug, Clone, Copy)]
pub struct DeviceLimits {
    /// Days of silence after which a device is forgotten.
    pub ttl_days: i32,
    /// Most devices of a partition.
    pub max_devices: usize,
    /// The de-duplication window in milliseconds of receive time: how far back events are replayed at a restore.
    pub window_ms: i64,
}

/// The devices of one partition by their device key.
#[derive(Debug)]
pub struct Devices {
    limits: DeviceLimits,
    by_key: HashMap<u64, Slot, BuildHasherDefault<KeyHasher>>,
    /// Where devices have their texts from.
    shared: Shared,
    /// What the open transaction replaced, oldest first; each device once, unless it went and came back.
    undo: Vec<(u64, Option<Slot>)>,
    /// The open transaction; each has another number than the one before.
    transaction: u32,
    /// What the open transaction has to write.
    changed: Vec<u64>,
    /// Devices whose fast part is newer than their record, and since when; the oldest first.
    unwritten: VecDeque<(i64, u64)>,
    /// So many of the `unwritten` are written by the open transaction.
    overdue: usize,
    /// Newest receive time of the partition.
    now_ms: i64,
    /// The same at the first event of the open transaction.
    began_ms: Option<i64>,
    /// Devices without an event since this day are forgotten.
    horizon_day: i32,
    /// Newest day of the partition.
    today: i32,
    /// Forgotten, but their tombstones are not written yet.
    expired: Vec<u64>,
    /// More devices than this are worth a look at who could go.
    crowded_at: usize,
    /// During a restore: what the records of the devices met so far said.
    recorded: HashMap<u64, Recorded, BuildHasherDefault<KeyHasher>>,
}

#[derive(Debug)]
struct Recorded {
    /// The fast part; None once the record's last event was met.
    fast: Option<Fast>,
    /// When the first event was received that the record does not know.
    unwritten_since_ms: Option<i64>,
}

#[derive(Debug, Clone)]
struct Slot {
    device: Device,
    /// The transaction that touched it last: then it can be undone already.
    transaction: u32,
    /// The fast part is newer than the record.
    is_unwritten: bool,
    /// It stands in the queue of the unwritten.
    is_queued: bool,
}

impl Slot {
    fn new(device: Device, transaction: u32) -> Self {
        Self { device, transaction, is_unwritten: false, is_queued: false }
    }

    /// Keeps it as it is before the open transaction changes it.
    fn save(&mut self, key: u64, transaction: u32, undo: &mut Vec<(u64, Option<Self>)>) {
        if self.transaction != transaction {
            undo.push((key, Some(self.clone())));
            self.transaction = transaction;
        }
    }
}

impl Devices {
    /// No devices yet.
    pub fn new(limits: DeviceLimits) -> Self {
        Self {
            limits,
            by_key: HashMap::default(),
            shared: Shared::default(),
            undo: Vec::new(),
            transaction: 1,
            changed: Vec::new(),
            unwritten: VecDeque::new(),
            overdue: 0,
            now_ms: i64::MIN,
            began_ms: None,
            horizon_day: i32::MIN,
            today: i32::MIN,
            expired: Vec::new(),
            crowded_at: limits.max_devices,
            recorded: HashMap::default(),
        }
    }

    /// Where judgements have their texts from, so that devices can keep them.
    pub fn shared(&mut self) -> &mut Shared {
        &mut self.shared
    }

    /// Has the processor fetch what is known of these devices, all at once: one after the other, while each event is
    /// looked at, it would be waited for.
    pub(crate) fn fetch(&self, keys: impl Iterator<Item = u64>) {
        let of_key = |key| {
            let open = self.by_key.get(&key).map_or(&[][..], |slot| slot.device.fast().playbacks.open());
            (self.recorded.contains_key(&key), open.last().map_or(0, |playback| playback.id))
        };
        for key in keys {
            // Nobody wants to know it, and so it would not be looked up.
            std::hint::black_box(of_key(key));
        }
    }

    /// Takes an accepted event of a device.
    pub fn touch(&mut self, key: u64, event: &Event<'_>, definitions: &Definitions) -> Stamps {
        self.began_ms.get_or_insert(self.now_ms);
        let Self { by_key, shared, undo, transaction, .. } = self;
        let (transaction, window_ms) = (*transaction, self.limits.window_ms);
        let mut around = Surroundings { definitions, window_ms, shared };
        match by_key.entry(key) {
            Entry::Occupied(mut entry) if entry.get().device.newest_day() < self.horizon_day => {
                let (device, stamps) = Device::new(event, &mut around);
                undo.push((key, Some(entry.insert(Slot::new(device, transaction)))));
                stamps
            }
            Entry::Occupied(mut entry) => {
                let slot = entry.get_mut();
                slot.save(key, transaction, undo);
                slot.device.touch(event, &mut around)
            }
            Entry::Vacant(entry) => {
                let (device, stamps) = Device::new(event, &mut around);
                entry.insert(Slot::new(device, transaction));
                undo.push((key, None));
                stamps
            }
        }
    }

    /// The partition has received something at `now_ms`, which lies on business day `today`.
    pub fn advance(&mut self, now_ms: i64, today: i32) {
        self.now_ms = self.now_ms.max(now_ms);
        self.forget(today);
    }

    /// The partition's own time has reached this business day: whoever was silent for too long is forgotten.
    fn forget(&mut self, today: i32) {
        let new_day = today > self.today;
        if !new_day && self.by_key.len() <= self.crowded_at {
            return;
        }
        self.today = self.today.max(today);
        self.horizon_day = self.horizon_day.max(self.today.saturating_sub(self.limits.ttl_days));
        self.make_room();
        let horizon = self.horizon_day;
        let gone = self.by_key.iter().filter(|(_, slot)| slot.device.newest_day() < horizon);
        self.expired = gone.map(|(&key, _)| key).collect();
    }

    /// Moves the horizon so far that the rest fits.
    fn make_room(&mut self) {
        let most = self.limits.max_devices;
        self.crowded_at = most;
        if self.by_key.len() <= most {
            return;
        }
        let mut by_day: BTreeMap<i32, usize> = BTreeMap::new();
        for day in self.by_key.values().map(|slot| slot.device.newest_day()) {
            if day >= self.horizon_day {
                *by_day.entry(day).or_default() += 1;
            }
        }
        let mut left: usize = by_day.values().sum();
        let last_to_go = self.today.saturating_sub(ALWAYS_KEPT_DAYS);
        for (&day, &devices) in by_day.range(..=last_to_go) {
            if left <= most - most / 8 {
                break;
            }
            left -= devices;
            self.horizon_day = day + 1;
        }
        if left > most {
            tracing::error!(
                devices = left,
                most,
                "more devices of the last two days than enrich.max_devices allows: memory grows beyond it; raise it, or \
                 use more partitions and processes"
            );
        }
        // Looking again costs as much as this time: not before there are clearly more, or another day.
        self.crowded_at = left.max(most) + most / 8 + 1;
    }

    /// Removes up to `most` of the forgotten devices; they are among the [`changes`](Self::changes) then.
    pub fn expire(&mut self, most: usize) {
        for _ in 0..most {
            let Some(key) = self.expired.pop() else { return };
            // It may have come back since.
            if let Entry::Occupied(entry) = self.by_key.entry(key)
                && entry.get().device.newest_day() < self.horizon_day
            {
                self.undo.push((key, Some(entry.remove())));
            }
        }
    }

    /// Everything the open transaction has to write: each device once, without a value when it is forgotten. They are
    /// those whose slow part has changed, and those whose fast part has waited for half a window: the other half is
    /// time enough to write them before a restore would no longer meet their events.
    pub fn changes(&mut self) -> impl Iterator<Item = (u64, Option<&Device>)> {
        let Self { by_key, undo, transaction, changed, unwritten, now_ms, .. } = self;
        changed.clear();
        let since_ms = self.began_ms.unwrap_or(*now_ms);
        let mut to_save = Vec::new();
        for (key, before) in undo.iter() {
            match (before, by_key.get_mut(key)) {
                (Some(before), Some(slot)) if !slot.device.differs_slowly(&before.device) => {
                    slot.is_unwritten = true;
                    if !slot.is_queued {
                        slot.is_queued = true;
                        unwritten.push_back((since_ms, *key));
                    }
                }
                (_, Some(slot)) => {
                    slot.is_unwritten = false;
                    changed.push(*key);
                }
                (Some(_), None) => changed.push(*key),
                (None, None) => {}
            }
        }
        let due_ms = now_ms.saturating_sub(self.limits.window_ms / 2);
        self.overdue = unwritten.iter().take_while(|(since_ms, _)| *since_ms <= due_ms).count();
        for &(_, key) in unwritten.range(..self.overdue) {
            let Some(slot) = by_key.get_mut(&key).filter(|slot| slot.is_queued) else { continue };
            slot.save(key, *transaction, &mut to_save);
            slot.is_queued = false;
            if std::mem::take(&mut slot.is_unwritten) {
                changed.push(key);
            }
        }
        undo.append(&mut to_save);
        changed.sort_unstable();
        changed.dedup();
        changed.iter().map(|key| (*key, by_key.get(key).map(|slot| &slot.device)))
    }

    /// The transaction is visible: its changes stay.
    pub fn commit(&mut self) {
        self.unwritten.drain(..self.overdue);
        self.end();
    }

    /// The transaction never happened.
    pub fn abort(&mut self) {
        for (key, before) in self.undo.drain(..).rev() {
            match before {
                Some(slot) => self.by_key.insert(key, slot),
                None => self.by_key.remove(&key),
            };
        }
        self.end();
    }

    fn end(&mut self) {
        self.undo.clear();
        self.changed.clear();
        self.overdue = 0;
        self.began_ms = None;
        self.transaction = self.transaction.wrapping_add(1);
    }

    /// Takes a record of the changelog; without a value it is a tombstone.
    ///
    /// # Errors
    /// The value is no DeviceState.
    pub fn restore(&mut self, key: u64, value: Option<&[u8]>) -> Result<(), Malformed> {
        match value {
            Some(value) => {
                let device = Device::decode(value, &mut self.shared)?;
                self.by_key.insert(key, Slot::new(device, self.transaction.wrapping_sub(1)));
            }
            None => drop(self.by_key.remove(&key)),
        }
        Ok(())
    }

    /// Takes an event once more, in the order in which they were processed, after all records of the changelog. What
    /// the device's record knows already changes nothing in the end: until the record's last event is met, it may be
    /// that; if it is never met, the record is older than all of them.
    pub fn replay(&mut self, key: u64, event: &Event<'_>, is_new_device: bool) {
        let Some(slot) = self.by_key.get_mut(&key) else { return };
        let recorded = self
            .recorded
            .entry(key)
            .or_insert_with(|| Recorded { fast: Some(slot.device.fast().clone()), unwritten_since_ms: None });
        slot.device.replay(event, is_new_device, self.limits.window_ms, &mut self.shared);
        recorded.unwritten_since_ms.get_or_insert(event.received_ms);
        if let Some(fast) = recorded.fast.take_if(|fast| fast.last_event == event.called) {
            slot.device.set_fast(fast);
            recorded.unwritten_since_ms = None;
        }
    }

    /// All events of the window have been replayed.
    pub fn replayed(&mut self) {
        self.shared.restored();
        for (key, recorded) in std::mem::take(&mut self.recorded) {
            let Some(since_ms) = recorded.unwritten_since_ms else { continue };
            if let Some(slot) = self.by_key.get_mut(&key) {
                slot.is_unwritten = true;
                slot.is_queued = true;
                self.unwritten.push_back((since_ms, key));
            }
        }
        self.unwritten.make_contiguous().sort_unstable();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// How many days of silence a device may have and still be remembered.
    pub fn horizon_days(&self) -> i32 {
        if self.horizon_day == i32::MIN { self.limits.ttl_days } else { self.today - self.horizon_day }
    }

    /// Bytes of memory, without the allocator's own and without what devices share.
    pub fn memory_bytes(&self) -> usize {
        self.by_key.allocation_size()
            + self.by_key.values().map(|slot| slot.device.heap_bytes()).sum::<usize>()
    }
}

/// Device keys are hashes already.
#[derive(Debug, Default, Clone, Copy)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{
        playback::PlaybackEvent,
        shared::OriginTexts,
        touch::{Judgement, Shown},
    };
    use proptest::prelude::*;

    const DAY: i64 = 86_400_000;
    const WINDOW: i64 = DAY;

    thread_local! {
        static ORIGINS: &'static [Shown] = {
            let mut shared = Shared::default();
            let mut origin = |group| shared.origin(OriginTexts { group, ..OriginTexts::default() });
            Vec::from(["direct", "email", "sms"].map(|group| Shown { origin: origin(group), is_touch: true })).leak()
        };
    }

    fn origins() -> &'static [Shown] {
        ORIGINS.with(|origins| *origins)
    }

    fn devices(ttl_days: i32, max_devices: usize) -> Devices {
        Devices::new(DeviceLimits { ttl_days, max_devices, window_ms: WINDOW })
    }

    fn on(day: i32) -> Event<'static> {
        let judgement = Judgement { own: None, first: None, fallback: &origins()[0].origin };
        Event::at(day, i64::from(day) * DAY, judgement)
    }

    fn touch(devices: &mut Devices, key: u64, event: &Event<'_>) -> Stamps {
        devices.touch(key, event, &Definitions::default())
    }

    fn advance(devices: &mut Devices, today: i32) {
        devices.advance(i64::from(today) * DAY, today);
    }

    fn changes(devices: &mut Devices) -> Vec<(u64, bool)> {
        devices.changes().map(|(key, device)| (key, device.is_some())).collect()
    }

    #[test]
    fn only_a_change_of_the_slow_part_is_written_and_each_device_once() {
        let mut devices = devices(400, 100);
        advance(&mut devices, 2);
        touch(&mut devices, 7, &on(1));
        touch(&mut devices, 7, &on(2));
        touch(&mut devices, 3, &on(2));
        assert_eq!(changes(&mut devices), [(3, true), (7, true)]);
        devices.commit();
        assert!(!touch(&mut devices, 3, &Event { time_ms: 2 * DAY + 60_000, ..on(2) }).session_start);
        assert_eq!(changes(&mut devices), []);
    }

    #[test]
    fn a_change_of_the_fast_part_is_written_after_half_a_window_once() {
        let mut devices = devices(400, 100);
        advance(&mut devices, 1);
        let at = |ms: i64| Event { time_ms: DAY + ms, session: Some(1), ..on(1) };
        touch(&mut devices, 7, &at(0));
        assert_eq!(changes(&mut devices), [(7, true)]);
        devices.commit();
        for (ms, expected) in [
            (60_000, vec![]),
            (120_000, vec![]),
            (60_000 + WINDOW / 2 - 1, vec![]),
            (60_000 + WINDOW / 2, vec![(7, true)]),
            (60_000 + WINDOW / 2 + 1, vec![]),
        ] {
            devices.advance(DAY + ms, 1);
            touch(&mut devices, 7, &at(ms));
            assert_eq!(changes(&mut devices), expected, "{ms}");
            devices.abort();
            touch(&mut devices, 7, &at(ms));
            assert_eq!(changes(&mut devices), expected, "after an abort, {ms}");
            devices.commit();
        }
    }

    #[test]
    fn a_device_silent_for_longer_than_the_ttl_is_new_again_whether_or_not_it_was_swept() {
        for swept in [false, true] {
            let mut devices = devices(10, 100);
            for (key, day) in [(1, 1), (2, 1), (3, 2)] {
                touch(&mut devices, key, &on(day));
            }
            advance(&mut devices, 11);
            assert!(!touch(&mut devices, 1, &on(11)).is_new_device, "ten days are not longer than ten days");
            changes(&mut devices);
            devices.commit();
            advance(&mut devices, 12);
            if swept {
                devices.expire(100);
                assert_eq!(changes(&mut devices), [(2, false)], "swept {swept}");
                devices.commit();
            }
            assert!(touch(&mut devices, 2, &on(12)).is_new_device, "swept {swept}");
            assert!(!touch(&mut devices, 3, &on(12)).is_new_device, "swept {swept}");
            changes(&mut devices);
            devices.commit();
            devices.expire(100);
            assert_eq!(changes(&mut devices), []);
            assert_eq!((devices.len(), devices.horizon_days()), (3, 10));
        }
    }

    #[test]
    fn beyond_the_cap_those_go_first_that_were_silent_longest() {
        let mut devices = devices(400, 8);
        for key in 0..12 {
            touch(&mut devices, key, &on(key as i32));
        }
        devices.commit();
        advance(&mut devices, 11);
        devices.expire(100);
        let gone = changes(&mut devices);
        assert_eq!(gone, (0..5).map(|key| (key, false)).collect::<Vec<_>>());
        assert_eq!((devices.len(), devices.horizon_days()), (7, 6));
    }

    #[test]
    fn devices_of_the_last_two_days_are_kept_beyond_the_cap() {
        let mut devices = devices(400, 8);
        for key in 0..20 {
            touch(&mut devices, key, &on(100 - (key % 2) as i32));
        }
        advance(&mut devices, 100);
        devices.expire(100);
        assert_eq!(devices.len(), 20);
    }

    #[derive(Debug, Clone)]
    enum Action {
        /// Device, hours it is late, session, evidence, playback, numbers it skips.
        Touch(u64, i64, Option<u64>, Option<usize>, Option<u64>, i64),
        Hours(i64),
        Expire,
        Commit,
        Abort,
        Restart,
    }

    fn action() -> impl Strategy<Value = Action> {
        let session = prop::option::of(0..20_u64);
        let touch = (
            0..12_u64,
            0..72_i64,
            session,
            prop::option::of(1..3_usize),
            prop::option::of(0..3_u64),
            0..3_i64,
        );
        prop_oneof![
            12 => touch.prop_map(|(key, late, session, shown, playback, skipped)| {
                Action::Touch(key, late, session, shown, playback, skipped)
            }),
            2 => (0..40_i64).prop_map(Action::Hours),
            1 => Just(Action::Expire),
            3 => Just(Action::Commit),
            2 => Just(Action::Abort),
            1 => Just(Action::Restart),
        ]
    }

    proptest! {
        /// Commits, aborts and restarts in any order: the answers are those of a model that keeps plain copies, though a
        /// restart has no more than the changelog and the events of the last window.
        #[test]
        fn only_what_was_committed_is_remembered_and_all_of_that(actions in prop::collection::vec(action(), 1..250)) {
            const TTL: i32 = 6;
            let mut devices = devices(TTL, 100);
            let (mut hour, mut number) = (24 * 10, 0);
            let definitions = Definitions::default();
            let mut changelog: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
            let (mut committed, mut open): (BTreeMap<u64, Device>, BTreeMap<u64, Device>) = Default::default();
            let mut written: Vec<(u64, Event<'_>, bool)> = Vec::new();
            let mut to_write = Vec::new();
            let mut shared = Shared::default();
            devices.advance(hour * 3_600_000, 10);
            for (at, action) in actions.into_iter().enumerate() {
                let today = (hour / 24) as i32;
                match action {
                    Action::Touch(key, late, session, shown, playback, skipped) => {
                        number += 1 + skipped;
                        let day = ((hour - late) / 24) as i32;
                        let own = shown.map(|place| &origins()[place]);
                        let event = Event {
                            session,
                            called: at as u64,
                            received_ms: hour * 3_600_000,
                            number,
                            judgement: Judgement { own, first: own, fallback: &origins()[0].origin },
                            playback: playback.map(|id| PlaybackEvent { id, played_ms: 4_000, duration_ms: 9_000, content: id / 2 }),
                            ..on(day)
                        };
                        let around = &mut Surroundings { definitions: &definitions, window_ms: WINDOW, shared: &mut shared };
                        let known = open.get_mut(&key).filter(|device| device.newest_day() >= today - TTL);
                        let expected = match known {
                            Some(device) => device.touch(&event, around),
                            None => {
                                let (device, stamps) = Device::new(&event, around);
                                open.insert(key, device);
                                stamps
                            }
                        };
                        to_write.push((key, event, expected.is_new_device));
                        prop_assert_eq!(touch(&mut devices, key, &event), expected);
                    }
                    Action::Hours(hours) => {
                        hour += hours;
                        devices.advance(hour * 3_600_000, (hour / 24) as i32);
                    }
                    Action::Expire => devices.expire(2),
                    Action::Commit => {
                        for (key, device) in devices.changes() {
                            match device {
                                Some(device) => device.encode(changelog.entry(key).or_default()),
                                None => drop(changelog.remove(&key)),
                            }
                        }
                        devices.commit();
                        written.append(&mut to_write);
                        open.retain(|_, device| device.newest_day() >= today - TTL);
                        committed = open.clone();
                    }
                    Action::Abort => {
                        devices.abort();
                        to_write.clear();
                        open = committed.clone();
                    }
                    Action::Restart => {
                        devices = Devices::new(devices.limits);
                        for (&key, bytes) in &changelog {
                            devices.restore(key, Some(bytes)).unwrap();
                        }
                        let newest = written.last().map_or(0, |(_, event, _)| event.received_ms);
                        for (key, event, is_new) in &written {
                            if event.received_ms >= newest - WINDOW {
                                devices.replay(*key, event, *is_new);
                            }
                        }
                        devices.replayed();
                        to_write.clear();
                        open = committed.clone();
                        for (key, device) in &committed {
                            prop_assert_eq!(Some(device), devices.by_key.get(key).map(|slot| &slot.device), "device {}", key);
                        }
                        devices.advance(hour * 3_600_000, today);
                    }
                }
            }
        }
    }
}
