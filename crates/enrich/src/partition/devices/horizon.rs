//! Which devices are forgotten: those silent since before the horizon, a business day of the partition's own time.
//!
//! The horizon alone decides, never a clock and never how far a sweep has come. A device that is silent for too long is
//! new when it comes back, whether or not its tombstone has been written. The horizon is the newest day less the time
//! to live; it moves further when there are more devices than allowed.
use std::collections::BTreeMap;

use super::slot::Slots;
use crate::device::Device;

/// Devices of today and yesterday are never forgotten for lack of room.
const ALWAYS_KEPT_DAYS: i32 = 2;

/// The horizon of a partition.
#[derive(Debug)]
pub(super) struct Horizon {
    ttl_days: i32,
    max_devices: usize,
    /// Devices without an event since this day are forgotten.
    day: i32,
    /// Newest day of the partition.
    today: i32,
    /// With more devices than this it is worth looking for some to forget.
    crowded_at: usize,
    /// Forgotten devices whose tombstones are not written yet.
    expired: Vec<u64>,
}

impl Horizon {
    pub(super) fn new(ttl_days: i32, max_devices: usize) -> Self {
        Self {
            ttl_days,
            max_devices,
            day: i32::MIN,
            today: i32::MIN,
            crowded_at: max_devices,
            expired: Vec::new(),
        }
    }

    /// Whether this device is forgotten.
    pub(super) fn has_passed(&self, device: &Device) -> bool {
        device.newest_day() < self.day
    }

    /// The partition's own time has reached this day.
    pub(super) fn advance(&mut self, today: i32, slots: &Slots) {
        let new_day = today > self.today;
        if !new_day && slots.len() <= self.crowded_at {
            return;
        }
        self.today = self.today.max(today);
        self.day = self.day.max(self.today.saturating_sub(self.ttl_days));
        self.make_room(slots);
        let forgotten = slots.iter().filter(|(_, slot)| self.has_passed(&slot.device));
        self.expired = forgotten.map(|(&key, _)| key).collect();
    }

    /// Moves the horizon so far that the remaining devices fit.
    fn make_room(&mut self, slots: &Slots) {
        let most = self.max_devices;
        self.crowded_at = most;
        if slots.len() <= most {
            return;
        }
        let mut by_day: BTreeMap<i32, usize> = BTreeMap::new();
        for day in slots.values().map(|slot| slot.device.newest_day()) {
            if day >= self.day {
                *by_day.entry(day).or_default() += 1;
            }
        }
        let mut left: usize = by_day.values().sum();
        let last_to_forget = self.today.saturating_sub(ALWAYS_KEPT_DAYS);
        for (&day, &devices) in by_day.range(..=last_to_forget) {
            if left <= most - most / 8 {
                break;
            }
            left -= devices;
            self.day = day + 1;
        }
        if left > most {
            tracing::error!(
                devices = left,
                most,
                "more devices of the last two days than enrich.max_devices allows: memory grows beyond it; raise it, or \
                 use more partitions and processes"
            );
        }
        // A look over all devices is expensive: the next one waits until there are clearly more, or for another day.
        self.crowded_at = left.max(most) + most / 8 + 1;
    }

    /// The next forgotten device whose tombstone is to be written. It may have come back since.
    pub(super) fn next_expired(&mut self) -> Option<u64> {
        self.expired.pop()
    }

    /// Days of silence after which a device is forgotten.
    pub(super) fn days(&self) -> i32 {
        if self.day == i32::MIN { self.ttl_days } else { self.today - self.day }
    }
}
