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
    /// The de-duplication window in milliseconds of receive time: a restore reads the events of one window.
    pub window_ms: i64,
}

/// The devices of one partition by their device key.
#[derive(Debug)]
pub struct Devices {
    window_ms: i64,
    slots: Slots,
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
            slots: Slots::default(),
            shared: Shared::default(),
            undo: UndoLog::new(),
            changed: Vec::new(),
            unwritten: UnwrittenQueue::default(),
            horizon: Horizon::new(limits.ttl_days, limits.max_devices),
            now_ms: i64::MIN,
            began_ms: None,
            restoring: Restoring::default(),
            #[cfg(test)]
            fast_events: Vec::new(),
        }
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
        let Self { slots, shared, undo, horizon, window_ms, .. } = self;
        let mut context = DeviceContext { definitions, window_ms: *window_ms, shared };
        let stamps = match slots.entry(key) {
            Entry::Occupied(mut entry) if horizon.has_passed(&entry.get().device) => {
                let (device, stamps) = Device::new(event, &mut context);
                undo.replaced(key, Some(entry.insert(Slot::new(device, undo.transaction()))));
                stamps
            }
            Entry::Occupied(mut entry) => {
                let slot = entry.get_mut();
                undo.save(key, slot);
                slot.device.apply(event, &mut context)
            }
            Entry::Vacant(entry) => {
                let (device, stamps) = Device::new(event, &mut context);
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
    }

    /// Removes up to `most` of the forgotten devices. They are among the [`changes`](Self::changes) then.
    pub(crate) fn expire(&mut self, most: usize) {
        for _ in 0..most {
            let Some(key) = self.horizon.next_expired() else { return };
            // It may have come back since.
            if let Entry::Occupied(entry) = self.slots.entry(key)
                && self.horizon.has_passed(&entry.get().device)
            {
                self.undo.replaced(key, Some(entry.remove()));
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
    }

    /// The transaction is aborted: its changes are undone.
    pub(super) fn abort(&mut self) {
        self.unwritten.abort();
        self.undo.abort(&mut self.slots);
        self.end();
    }

    fn end(&mut self) {
        self.changed.clear();
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
                self.slots.insert(key, Slot::new(device, self.undo.ended_transaction()));
            }
            None => drop(self.slots.remove(&key)),
        }
        Ok(())
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
        self.restoring.apply(key, slot, event, own_channel, self.window_ms, &mut self.shared);
    }

    /// All events of the window are restored.
    pub(super) fn restored(&mut self) {
        let Self { restoring, slots, unwritten, .. } = self;
        std::mem::take(restoring).finish(slots, |since_ms, key| unwritten.push(since_ms, key));
        unwritten.sort();
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
    pub(crate) fn horizon_days(&self) -> i32 {
        self.horizon.days()
    }

    /// Bytes of memory, without the allocator's own and without what devices share.
    pub fn memory_bytes(&self) -> usize {
        self.slots.allocation_size() + self.slots.values().map(|slot| slot.device.heap_bytes()).sum::<usize>()
    }

    #[cfg(test)]
    fn note(&mut self, key: u64, event: &FastEvent<'_>, own_channel: Option<&EvidenceChannel>) {
        self.fast_events.push(format!("{key} {event:?} {own_channel:?}"));
    }
}
