//! The devices of one partition, in memory: what the open transaction changed can be undone, and what has to go to the
//! changelog is listed.
//!
//! Forgetting is decided by days of the partition's own time, never by a clock or by how far a sweep has come: a device
//! silent since before the horizon is new when it comes back, whether or not its tombstone has been written.
use hashbrown::{HashMap, hash_map::Entry};
use std::{
    collections::BTreeMap,
    hash::{BuildHasherDefault, Hasher},
};

use crate::device::{Before, Device, Event, Stamps};

/// Devices of today and yesterday are never forgotten for lack of room.
const ALWAYS_KEPT_DAYS: i32 = 2;

/// How long and how many devices are remembered.
#[derive(Debug, Clone, Copy)]
pub struct DeviceLimits {
    /// Days of silence after which a device is forgotten.
    pub ttl_days: i32,
    /// Most devices of a partition.
    pub max_devices: usize,
}

/// The devices of one partition by their device key.
#[derive(Debug)]
pub struct Devices {
    limits: DeviceLimits,
    by_key: HashMap<u64, Device, BuildHasherDefault<KeyHasher>>,
    /// What the open transaction replaced, oldest first.
    undo: Vec<Undo>,
    /// Devices whose slow part the open transaction changed.
    changed: Vec<u64>,
    /// Devices without an event since this day are forgotten.
    horizon_day: i32,
    /// Newest day of the partition.
    today: i32,
    /// Forgotten, but their tombstones are not written yet.
    expired: Vec<u64>,
    /// More devices than this are worth a look at who could go.
    crowded_at: usize,
}

#[derive(Debug)]
enum Undo {
    Added(u64),
    Touched(u64, Before),
    Removed(u64, Device),
}

impl Devices {
    /// No devices yet.
    pub fn new(limits: DeviceLimits) -> Self {
        Self {
            limits,
            by_key: HashMap::default(),
            undo: Vec::new(),
            changed: Vec::new(),
            horizon_day: i32::MIN,
            today: i32::MIN,
            expired: Vec::new(),
            crowded_at: limits.max_devices,
        }
    }

    /// Takes an accepted event of a device.
    pub fn touch(&mut self, key: u64, event: &Event) -> Stamps {
        match self.by_key.entry(key) {
            Entry::Occupied(mut entry) if entry.get().newest_day() < self.horizon_day => {
                let (device, stamps) = Device::new(event);
                self.undo.push(Undo::Removed(key, entry.insert(device)));
                self.changed.push(key);
                stamps
            }
            Entry::Occupied(mut entry) => {
                let (stamps, before) = entry.get_mut().touch(event);
                self.undo.push(Undo::Touched(key, before));
                if stamps.active_day || stamps.session_start {
                    self.changed.push(key);
                }
                stamps
            }
            Entry::Vacant(entry) => {
                let (device, stamps) = Device::new(event);
                entry.insert(device);
                self.undo.push(Undo::Added(key));
                self.changed.push(key);
                stamps
            }
        }
    }

    /// The partition's own time has reached this business day: whoever was silent for too long is forgotten.
    pub fn advance(&mut self, today: i32) {
        let new_day = today > self.today;
        if !new_day && self.by_key.len() <= self.crowded_at {
            return;
        }
        self.today = self.today.max(today);
        self.horizon_day = self.horizon_day.max(self.today.saturating_sub(self.limits.ttl_days));
        self.make_room();
        let horizon = self.horizon_day;
        let gone = self.by_key.iter().filter(|(_, device)| device.newest_day() < horizon);
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
        for device in self.by_key.values().filter(|device| device.newest_day() >= self.horizon_day) {
            *by_day.entry(device.newest_day()).or_default() += 1;
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
                && entry.get().newest_day() < self.horizon_day
            {
                self.undo.push(Undo::Removed(key, entry.remove()));
                self.changed.push(key);
            }
        }
    }

    /// Everything the open transaction has to write: each changed device once, without a value when it is forgotten.
    pub fn changes(&mut self) -> impl Iterator<Item = (u64, Option<&Device>)> {
        self.changed.sort_unstable();
        self.changed.dedup();
        self.changed.iter().map(|&key| (key, self.by_key.get(&key)))
    }

    /// The transaction is visible: its changes stay.
    pub fn commit(&mut self) {
        self.undo.clear();
        self.changed.clear();
    }

    /// The transaction never happened.
    pub fn abort(&mut self) {
        for undo in self.undo.drain(..).rev() {
            match undo {
                Undo::Added(key) => {
                    self.by_key.remove(&key);
                }
                Undo::Touched(key, before) => {
                    if let Some(device) = self.by_key.get_mut(&key) {
                        device.undo(before);
                    }
                }
                Undo::Removed(key, device) => {
                    self.by_key.insert(key, device);
                }
            }
        }
        self.changed.clear();
    }

    /// Takes a record of the changelog; without a device it is a tombstone.
    pub fn restore(&mut self, key: u64, device: Option<Device>) {
        match device {
            Some(device) => self.by_key.insert(key, device),
            None => self.by_key.remove(&key),
        };
    }

    /// Takes an event that the changelog already knows, but not its time.
    pub fn replay(&mut self, key: u64, time_ms: i64) {
        if let Some(device) = self.by_key.get_mut(&key) {
            device.seen_at(time_ms);
        }
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

    /// Bytes of memory, without the allocator's own.
    pub fn memory_bytes(&self) -> usize {
        self.by_key.allocation_size() + self.by_key.values().map(Device::heap_bytes).sum::<usize>()
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
    use proptest::prelude::*;

    fn devices(ttl_days: i32, max_devices: usize) -> Devices {
        Devices::new(DeviceLimits { ttl_days, max_devices })
    }

    fn on(day: i32) -> Event {
        Event { day, time_ms: i64::from(day) * 86_400_000, session: None, own_session: 1 }
    }

    fn changes(devices: &mut Devices) -> Vec<(u64, bool)> {
        devices.changes().map(|(key, device)| (key, device.is_some())).collect()
    }

    #[test]
    fn only_a_change_of_the_slow_part_is_written_and_each_device_once() {
        let mut devices = devices(400, 100);
        devices.touch(7, &on(1));
        devices.touch(7, &on(2));
        devices.touch(3, &on(2));
        assert_eq!(changes(&mut devices), [(3, true), (7, true)]);
        devices.commit();
        assert!(!devices.touch(3, &Event { time_ms: 2 * 86_400_000 + 60_000, ..on(2) }).session_start);
        assert_eq!(changes(&mut devices), []);
    }

    #[test]
    fn a_device_silent_for_longer_than_the_ttl_is_new_again_whether_or_not_it_was_swept() {
        for swept in [false, true] {
            let mut devices = devices(10, 100);
            for (key, day) in [(1, 1), (2, 1), (3, 2)] {
                devices.touch(key, &on(day));
            }
            devices.advance(11);
            assert!(!devices.touch(1, &on(11)).is_new_device, "ten days are not longer than ten days");
            devices.commit();
            devices.advance(12);
            if swept {
                devices.expire(100);
                assert_eq!(changes(&mut devices), [(2, false)], "swept {swept}");
                devices.commit();
            }
            assert!(devices.touch(2, &on(12)).is_new_device, "swept {swept}");
            assert!(!devices.touch(3, &on(12)).is_new_device, "swept {swept}");
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
            devices.touch(key, &on(key as i32));
        }
        devices.commit();
        devices.advance(11);
        devices.expire(100);
        let gone = changes(&mut devices);
        assert_eq!(gone, (0..5).map(|key| (key, false)).collect::<Vec<_>>());
        assert_eq!((devices.len(), devices.horizon_days()), (7, 6));
    }

    #[test]
    fn devices_of_the_last_two_days_are_kept_beyond_the_cap() {
        let mut devices = devices(400, 8);
        for key in 0..20 {
            devices.touch(key, &on(100 - (key % 2) as i32));
        }
        devices.advance(100);
        devices.expire(100);
        assert_eq!(devices.len(), 20);
    }

    #[derive(Debug, Clone)]
    enum Action {
        Touch(u64, i32, Option<u64>),
        Day(i32),
        Expire,
        Commit,
        Abort,
        Restart,
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            12 => (0..12_u64, 0..3_i32, prop::option::of(0..20_u64)).prop_map(|(key, late, session)| Action::Touch(key, late, session)),
            1 => (0..4_i32).prop_map(Action::Day),
            1 => Just(Action::Expire),
            3 => Just(Action::Commit),
            2 => Just(Action::Abort),
            1 => Just(Action::Restart),
        ]
    }

    proptest! {
        /// Commits, aborts and restarts from the changelog in any order: the answers are those of a model that keeps
        /// plain copies, and what is in memory is always what the changelog holds.
        #[test]
        fn only_what_was_committed_is_remembered(actions in prop::collection::vec(action(), 1..150)) {
            const TTL: i32 = 6;
            let mut devices = devices(TTL, 100);
            let mut today = 0;
            let mut changelog: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
            let (mut committed, mut open): (BTreeMap<u64, Device>, BTreeMap<u64, Device>) = Default::default();
            for action in actions {
                match action {
                    Action::Touch(key, late, session) => {
                        let event = Event { session, ..on(today - late) };
                        let known = open.get_mut(&key).filter(|device| device.newest_day() >= today - TTL);
                        let expected = match known {
                            Some(device) => device.touch(&event).0,
                            None => {
                                let (device, stamps) = Device::new(&event);
                                open.insert(key, device);
                                stamps
                            }
                        };
                        prop_assert_eq!(devices.touch(key, &event), expected);
                    }
                    Action::Day(days) => {
                        today += days;
                        devices.advance(today);
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
                        open.retain(|_, device| device.newest_day() >= today - TTL);
                        committed = open.clone();
                    }
                    Action::Abort => {
                        devices.abort();
                        open = committed.clone();
                    }
                    Action::Restart => {
                        devices = Devices::new(devices.limits);
                        for (&key, bytes) in &changelog {
                            devices.restore(key, Some(Device::decode(bytes).unwrap()));
                        }
                        for (&key, device) in &committed {
                            devices.replay(key, device.latest_event_ms());
                        }
                        devices.advance(today);
                        open = committed.clone();
                    }
                }
            }
        }
    }
}
