//! The devices of one partition, in memory.
//!
//! Events change devices in place. A commit keeps the changes of the open transaction, an abort undoes them, and
//! [`Devices::changes`] lists what the transaction has to write to the changelog.
mod horizon;
mod restoring;
mod slot;
#[cfg(test)]
mod tests;
mod undo;
mod unwritten;

use hashbrown::hash_map::Entry;

use self::{
    horizon::Horizon,
    restoring::Restoring,
    slot::{Slot, Slots},
    undo::UndoLog,
    unwritten::UnwrittenQueue,
};
use crate::device::{
    Device, DeviceContext, DeviceEvent, DeviceStamps, FastEvent, Malformed, active::Definitions,
    shared::Shared, touch::EvidenceChannel,
};

/// How long and how many devices are remembered.
#[derive(Debug, Clone, Copy)]
pub struct DeviceLimits {
    /// Days of silence after which a device is forgotten.
    pub ttl_days: i32,
    /// Most devices of a partition.
    pub max_devices: usize,
    /// Most bytes of memory for the devices and what they share.
    pub max_bytes: usize,
    /// The de-duplication window in milliseconds of receive time: a restore reads the events of one window.
    pub window_ms: i64,
}

/// A map with fewer places is not worth a thought about its memory.
const SMALL_MAP: usize = 512;

/// The devices of one partition by their device key.
#[derive(Debug)]
pub struct Devices {
    window_ms: i64,
    max_devices: usize,
    max_bytes: usize,
    slots: Slots,
    /// Bytes on the heap of all devices.
    heap_bytes: usize,
    /// Fewer devices are not worth another look for some to forget.
    look_again_at: usize,
    /// Devices removed since unused texts were dropped.
    removed: usize,
    /// Where devices have their shared texts from.
    shared: Shared,
    undo: UndoLog,
    /// What the open transaction has to write.
    changed: Vec<u64>,
    unwritten: UnwrittenQueue,
    horizon: Horizon,
    /// Newest receive time of the partition.
    now_ms: i64,
    /// `now_ms` at the first event of the open transaction.
    began_ms: Option<i64>,
    restoring: Restoring,
    /// Every event that was applied or restored, as text.
    #[cfg(test)]
    pub(crate) fast_events: Vec<String>,
}

impl Devices {
    /// Creates a partition without devices.
    pub(super) fn new(limits: DeviceLimits) -> Self {
        Self {
            window_ms: limits.window_ms,
            max_devices: limits.max_devices,
            max_bytes: limits.max_bytes,
            slots: Slots::default(),
            heap_bytes: 0,
            look_again_at: 0,
            removed: 0,
            shared: Shared::default(),
            undo: UndoLog::new(),
            changed: Vec::new(),
            unwritten: UnwrittenQueue::default(),
            horizon: Horizon::new(limits.ttl_days),
            now_ms: i64::MIN,
            began_ms: None,
            restoring: Restoring::default(),
            #[cfg(test)]
            fast_events: Vec::new(),
        }
    }

    /// Changes the limits, between two transactions.
    pub(super) fn set_limits(&mut self, limits: DeviceLimits) {
        self.window_ms = limits.window_ms;
        self.max_devices = limits.max_devices;
        self.max_bytes = limits.max_bytes;
        self.look_again_at = 0;
        self.horizon.set_ttl(limits.ttl_days);
    }

    /// Where channels and texts come from that devices may keep.
    pub(crate) fn shared(&mut self) -> &mut Shared {
        &mut self.shared
    }

    /// Prefetches what is known of these devices, so that the cache misses of a batch overlap: passes over 64
    /// to 256 events are 1.2 to 2 times as fast.
    pub(crate) fn prefetch(&self, keys: impl Iterator<Item = u64>) {
        let look_up = |key| {
            let open = self.slots.get(&key).map_or(&[][..], |slot| slot.device.fast().playbacks.open());
            (self.restoring.contains(key), open.last().map_or(0, |playback| playback.id))
        };
        for key in keys {
            // Without `black_box` the compiler removes a look-up whose result is unused.
            std::hint::black_box(look_up(key));
        }
    }

    /// Applies an accepted event to its device.
    pub(crate) fn apply(
        &mut self,
        key: u64,
        event: &DeviceEvent<'_>,
        definitions: &Definitions,
    ) -> DeviceStamps {
        self.began_ms.get_or_insert(self.now_ms);
        let Self { slots, shared, undo, horizon, window_ms, heap_bytes, .. } = self;
        let mut context = DeviceContext { definitions, window_ms: *window_ms, shared };
        let stamps = match slots.entry(key) {
            Entry::Occupied(mut entry) if horizon.has_passed(&entry.get().device) => {
                let (mut device, stamps) = Device::new(event, &mut context);
                device.received_at_least(horizon.received_ms());
                *heap_bytes += device.heap_bytes();
                let before = entry.insert(Slot::new(device, undo.transaction()));
                *heap_bytes -= before.device.heap_bytes();
                undo.replaced(key, Some(before));
                stamps
            }
            Entry::Occupied(mut entry) => {
                let slot = entry.get_mut();
                undo.save(key, slot);
                let before = slot.device.heap_bytes();
                let stamps = slot.device.apply(event, &mut context);
                *heap_bytes = *heap_bytes - before + slot.device.heap_bytes();
                stamps
            }
            Entry::Vacant(entry) => {
                let (mut device, stamps) = Device::new(event, &mut context);
                device.received_at_least(horizon.received_ms());
                *heap_bytes += device.heap_bytes();
                entry.insert(Slot::new(device, undo.transaction()));
                undo.replaced(key, None);
                stamps
            }
        };
        #[cfg(test)]
        self.note(key, &event.fast, event.channels.own(stamps.is_new_device));
        stamps
    }

    /// The partition has received something at `now_ms`, which is on business day `today`: devices silent for too long
    /// are forgotten.
    pub(crate) fn advance(&mut self, now_ms: i64, today: i32) {
        self.now_ms = self.now_ms.max(now_ms);
        self.horizon.advance(today, &self.slots);
        if let Some(keep) = self.most_kept() {
            self.horizon.make_room(&self.slots, keep, self.now_ms);
            self.look_again_at = keep + keep / 16;
        }
    }

    /// How many devices the limits allow; None while all of them fit.
    fn most_kept(&self) -> Option<usize> {
        let devices = self.slots.len();
        // A look over all devices is expensive: the next one waits until the forgotten are removed and others have come.
        if devices <= self.look_again_at || self.horizon.to_expire() > 0 {
            return None;
        }
        let bytes = self.memory_bytes();
        let mut keep = devices;
        if devices > self.max_devices {
            keep = keep.min(self.max_devices - self.max_devices / 8);
        }
        if bytes > self.max_bytes {
            let least = self.max_bytes - self.max_bytes / 8;
            keep = keep.min((devices as f64 * (least as f64 / bytes as f64)) as usize);
        }
        // The maps double when they are full.
        let (places, places_bytes) = (self.slots.places(), self.slots.allocation_size());
        if devices > places / 8 * 7
            && bytes.saturating_add(places_bytes) > self.max_bytes
            && devices > SMALL_MAP
        {
            keep = keep.min(places / 16 * 13);
        }
        (keep < devices).then_some(keep)
    }

    /// Removes up to `most` of the forgotten devices, or as many as it takes to make room. They are among the
    /// [`changes`](Self::changes) then.
    pub fn expire(&mut self, most: usize) {
        let to_expire = self.horizon.to_expire();
        let is_crowded = to_expire > 0 && self.memory_bytes() > self.max_bytes / 4 * 3;
        self.remove_expired(if is_crowded { to_expire } else { most });
        // The transaction may have added more than it has forgotten, and no event may follow for long.
        if let Some(keep) = self.most_kept() {
            self.horizon.make_room(&self.slots, keep, self.now_ms);
            self.look_again_at = keep + keep / 16;
            self.remove_expired(self.horizon.to_expire());
        }
    }

    fn remove_expired(&mut self, most: usize) {
        for _ in 0..most {
            let Some(key) = self.horizon.next_expired() else { return };
            // It may have come back since.
            if let Entry::Occupied(entry) = self.slots.entry(key)
                && self.horizon.has_passed(&entry.get().device)
            {
                let slot = entry.remove();
                self.heap_bytes -= slot.device.heap_bytes();
                self.removed += 1;
                self.undo.replaced(key, Some(slot));
            }
        }
    }

    /// What the open transaction has to write to the changelog: each device once, without a value when it is forgotten.
    /// These are the devices whose slow part has changed, and those whose fast part has waited for half a window.
    pub fn changes(&mut self) -> impl Iterator<Item = (u64, Option<&Device>)> {
        let Self { slots, undo, changed, unwritten, now_ms, window_ms, .. } = self;
        changed.clear();
        let since_ms = self.began_ms.unwrap_or(*now_ms);
        for (key, before) in undo.changes() {
            match (before, slots.get_mut(&key)) {
                (Some(before), Some(slot)) if !slot.device.slow_differs(&before.device) => {
                    slot.is_unwritten = true;
                    if !slot.is_queued {
                        slot.is_queued = true;
                        unwritten.push(since_ms, key);
                    }
                }
                (_, Some(slot)) => {
                    slot.is_unwritten = false;
                    changed.push(key);
                }
                (Some(_), None) => changed.push(key),
                (None, None) => {}
            }
        }
        for key in unwritten.take_due(now_ms.saturating_sub(*window_ms / 2)) {
            let Some(slot) = slots.get_mut(&key).filter(|slot| slot.is_queued) else { continue };
            undo.save(key, slot);
            slot.is_queued = false;
            if std::mem::take(&mut slot.is_unwritten) {
                changed.push(key);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        changed.iter().map(|key| (*key, slots.get(key).map(|slot| &slot.device)))
    }

    /// The transaction is committed: its changes stay.
    pub(super) fn commit(&mut self) {
        self.unwritten.commit();
        self.undo.commit();
        self.end();
        // The devices of the undo log hold texts too, so unused ones are known only now.
        if self.removed > self.slots.len() / 8 {
            self.removed = 0;
            self.shared.drop_unused();
            let (devices, places) = (self.slots.len(), self.slots.places());
            if places > SMALL_MAP && (places > 4 * devices || self.memory_bytes() > self.max_bytes) {
                self.slots.shrink();
            }
        }
    }

    /// The transaction is aborted: its changes are undone.
    pub(super) fn abort(&mut self) {
        self.unwritten.abort();
        self.undo.abort(&mut self.slots, &mut self.heap_bytes);
        self.end();
    }

    fn end(&mut self) {
        self.changed.clear();
        self.changed.shrink_to(SMALL_MAP);
        self.began_ms = None;
    }

    /// Restores a device from a record of the changelog; without a value it is a tombstone.
    ///
    /// # Errors
    /// The value is no `DeviceState`.
    pub(super) fn restore_record(&mut self, key: u64, value: Option<&[u8]>) -> Result<(), Malformed> {
        match value {
            Some(value) => {
                let device = self.restoring.read_record(value, &mut self.shared)?;
                self.heap_bytes += device.heap_bytes();
                let before = self.slots.insert(key, Slot::new(device, self.undo.ended_transaction()));
                self.heap_bytes -= before.map_or(0, |slot| slot.device.heap_bytes());
                self.make_room_for_restore();
            }
            None => {
                let before = self.slots.remove(&key);
                self.heap_bytes -= before.map_or(0, |slot| slot.device.heap_bytes());
            }
        }
        Ok(())
    }

    /// The changelog holds more devices than fit: those that were silent longest are removed. Their records stay in the
    /// changelog until they come back.
    fn make_room_for_restore(&mut self) {
        let Some(keep) = self.most_kept() else { return };
        self.horizon.make_room(&self.slots, keep, i64::MAX);
        while let Some(key) = self.horizon.next_expired() {
            let before = self.slots.remove(&key);
            self.heap_bytes -= before.map_or(0, |slot| slot.device.heap_bytes());
        }
        self.shared.drop_unused();
        self.look_again_at = self.slots.len() + self.slots.len() / 16;
    }

    /// Restores the fast part of a device from an event, after all records of the changelog and in the order in which
    /// the events were processed.
    pub(super) fn restore_event(
        &mut self,
        key: u64,
        event: &FastEvent<'_>,
        own_channel: Option<&EvidenceChannel>,
    ) {
        #[cfg(test)]
        self.note(key, event, own_channel);
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let before = slot.device.heap_bytes();
        self.restoring.apply(key, slot, event, own_channel, self.window_ms, &mut self.shared);
        self.heap_bytes = self.heap_bytes - before + slot.device.heap_bytes();
    }

    /// All events of the window are restored.
    pub(super) fn restored(&mut self) {
        let Self { restoring, slots, unwritten, .. } = self;
        std::mem::take(restoring).finish(slots, |since_ms, key| unwritten.push(since_ms, key));
        unwritten.sort();
        self.look_again_at = 0;
    }

    /// Number of devices.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are no devices.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Days of silence after which a device is forgotten.
    pub(crate) fn horizon_days(&self) -> f64 {
        self.horizon.days(self.now_ms)
    }

    /// Bytes of memory, as requested from the allocator.
    pub fn memory_bytes(&self) -> usize {
        self.slots.allocation_size()
            + self.heap_bytes
            + self.shared.memory_bytes()
            + self.undo.memory_bytes()
            + self.unwritten.memory_bytes()
            + self.horizon.memory_bytes()
            + self.restoring.memory_bytes()
            + self.changed.capacity() * size_of::<u64>()
    }

    #[cfg(test)]
    fn note(&mut self, key: u64, event: &FastEvent<'_>, own_channel: Option<&EvidenceChannel>) {
        self.fast_events.push(format!("{key} {event:?} {own_channel:?}"));
    }
}
