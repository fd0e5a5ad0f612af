//! Which devices are forgotten: those silent since before the horizon.
//!
//! The horizon alone decides, never a clock and never how far a sweep has come. A device that is silent for too long is
//! new when it comes back, whether or not its tombstone has been written. The horizon has two parts: a business day, the
//! partition's newest day less the time to live; and a time of receipt, which moves on when there are more devices than
//! the limits allow.
use super::slot::Slots;
use crate::device::Device;

const DAY_MS: f64 = 86_400_000.0;

/// The horizon of a partition.
#[derive(Debug)]
pub(super) struct Horizon {
    ttl_days: i32,
    /// Devices without an event since this day are forgotten.
    day: i32,
    /// Newest day of the partition.
    today: i32,
    /// Devices from which nothing was received since then are forgotten.
    received_ms: i64,
    /// Forgotten devices whose tombstones are not written yet.
    expired: Vec<u64>,
}

impl Horizon {
    pub(super) fn new(ttl_days: i32) -> Self {
        Self { ttl_days, day: i32::MIN, today: i32::MIN, received_ms: i64::MIN, expired: Vec::new() }
    }

    pub(super) fn set_ttl(&mut self, ttl_days: i32) {
        self.ttl_days = ttl_days;
    }

    /// Whether this device is forgotten.
    pub(super) fn has_passed(&self, device: &Device) -> bool {
        device.newest_day() < self.day || device.received_ms() < self.received_ms
    }

    /// The partition's own time has reached this day.
    pub(super) fn advance(&mut self, today: i32, slots: &Slots) {
        if today <= self.today {
            return;
        }
        self.today = today;
        self.day = self.day.max(today.saturating_sub(self.ttl_days));
        self.find_expired(slots);
    }

    /// Moves the horizon so far that about `keep` devices remain: those from which something was received last. It moves to
    /// `most_ms` at most, so that the newest devices always remain.
    pub(super) fn make_room(&mut self, slots: &Slots, keep: usize, most_ms: i64) {
        let mut received: Vec<i64> = slots
            .values()
            .filter(|slot| !self.has_passed(&slot.device))
            .map(|slot| slot.device.received_ms())
            .collect();
        if received.len() > keep {
            let forgotten = received.len() - keep;
            let (_, &mut newest_forgotten, _) = received.select_nth_unstable(forgotten - 1);
            self.received_ms = self.received_ms.max(newest_forgotten.saturating_add(1).min(most_ms));
        }
        self.find_expired(slots);
    }

    fn find_expired(&mut self, slots: &Slots) {
        let forgotten = slots.iter().filter(|(_, slot)| self.has_passed(&slot.device));
        self.expired = forgotten.map(|(&key, _)| key).collect();
    }

    /// Devices from which nothing was received since then are forgotten.
    pub(super) fn received_ms(&self) -> i64 {
        self.received_ms
    }

    /// The next forgotten device whose tombstone is to be written. It may have come back since.
    pub(super) fn next_expired(&mut self) -> Option<u64> {
        self.expired.pop()
    }

    /// Number of forgotten devices whose tombstones are not written yet.
    pub(super) fn to_expire(&self) -> usize {
        self.expired.len()
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.expired.capacity() * size_of::<u64>()
    }

    /// Days of silence after which a device is forgotten. `now_ms` is the newest receive time.
    pub(super) fn days(&self, now_ms: i64) -> f64 {
        if self.received_ms == i64::MIN {
            return f64::from(self.ttl_days);
        }
        let days = now_ms.saturating_sub(self.received_ms).max(0) as f64 / DAY_MS;
        days.min(f64::from(self.ttl_days))
    }
}
