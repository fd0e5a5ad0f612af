//! Everything that enrich remembers of one Kafka partition: the events of the de-duplication window and the devices.
//!
//! It is created when the partition is assigned and dropped when it is revoked. A transaction changes it in place;
//! [`Partition::commit`] keeps the changes and [`Partition::abort`] undoes them.
pub mod dedupe;
pub mod devices;
pub mod pending;

use event::{Batch, BatchError, Field, IdentityKey, Kind, calendar::BusinessDays};

use self::{
    dedupe::{DedupeLimits, DedupeWindow},
    devices::{DeviceLimits, Devices},
    pending::PendingSince,
};
use crate::{
    channel::ChannelRules,
    device::Malformed,
    row::{ChannelCache, device_hash, event_key, fast_event, stamped_touch},
};

/// How much is remembered.
#[derive(Debug, Clone, Copy)]
pub struct PartitionLimits {
    /// Limits of the de-duplication window.
    pub window: DedupeLimits,
    /// Limits of the devices.
    pub devices: DeviceLimits,
}

/// The memory of one partition.
#[derive(Debug)]
pub struct Partition {
    /// The events of the de-duplication window.
    pub window: DedupeWindow,
    /// All devices.
    pub devices: Devices,
    /// When the events were received that are still to come.
    pub pending: PendingSince,
    newest_received_ms: i64,
}

/// Why a record of the changelog cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The key is no device key.
    #[error("the key has {0} bytes, a device key has 8")]
    Key(usize),
    /// The value is no `DeviceState`.
    #[error("not a DeviceState: {0}")]
    Value(#[from] Malformed),
}

impl Partition {
    /// Creates an empty memory.
    pub fn new(limits: PartitionLimits) -> Self {
        Self {
            window: DedupeWindow::new(limits.window),
            devices: Devices::new(limits.devices),
            pending: PendingSince::default(),
            newest_received_ms: i64::MIN,
        }
    }

    /// Changes the limits, between two transactions, and returns true. Returns false and changes nothing if the
    /// de-duplication window is larger than they allow: the partition has to be restored.
    #[must_use]
    pub fn set_limits(&mut self, limits: PartitionLimits) -> bool {
        let fits = self.window.set_limits(limits.window);
        if fits {
            self.devices.set_limits(limits.devices);
        }
        fits
    }

    /// Bytes of memory, as requested from the allocator.
    pub fn memory_bytes(&self) -> usize {
        self.window.memory_bytes() + self.devices.memory_bytes()
    }

    /// The transaction is committed.
    pub fn commit(&mut self) {
        self.window.commit();
        self.devices.commit();
    }

    /// The transaction is aborted.
    pub fn abort(&mut self) {
        self.window.abort();
        self.devices.abort();
    }

    /// The broker received an event at this time: the partition's own time moves on, and never back.
    pub(crate) fn received(&mut self, received_ms: i64, days: &mut BusinessDays) {
        if received_ms > self.newest_received_ms {
            self.newest_received_ms = received_ms;
            self.devices.advance(received_ms, days.day(received_ms));
        }
    }

    /// Restores a device from a record of the changelog.
    ///
    /// # Errors
    /// [`StateError`]: enrich did not write this key or value.
    pub fn restore_record(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        let key = key.try_into().map_err(|_| StateError::Key(key.len()))?;
        Ok(self.devices.restore_record(u64::from_be_bytes(key), value)?)
    }

    /// Restores from a message of `enriched-events`, after all records of the changelog: remembers its accepted events
    /// and applies them to the fast parts of their devices. Evidence is matched by the rules of today. Returns the number
    /// of events in the message.
    ///
    /// # Errors
    /// The payload is no batch.
    pub fn restore_batch(
        &mut self,
        payload: &[u8],
        identity: &IdentityKey,
        rules: &ChannelRules,
    ) -> Result<usize, BatchError> {
        let batch = Batch::decode(payload)?;
        let key_of_row = |row| event_key(device_hash(identity, &batch, row), &batch, row);
        let event_keys: Vec<u128> = (0..batch.rows()).map(key_of_row).collect();
        self.window.prefetch(event_keys.iter().copied());
        self.devices.prefetch(batch.key_column(Field::DeviceKey).iter().copied());
        let mut channels = ChannelCache::default();
        for (row, event_key) in event_keys.into_iter().enumerate() {
            let kind = batch.text(Field::Kind, row);
            let received_ms = batch.number(Field::ReceivedAt, row);
            self.newest_received_ms = self.newest_received_ms.max(received_ms);
            if kind == Kind::Duplicate.as_str() {
                continue;
            }
            // What is still to come may be older than all of these, so the window does not move on here.
            self.window.accept(event_key, received_ms, i64::MIN);
            let device_key = batch.key(Field::DeviceKey, row);
            if device_key == 0 || kind != Kind::Event.as_str() {
                continue;
            }
            let own_channel = channels.own(&batch, row, rules, self.devices.shared());
            let event = fast_event(&batch, row, event_key, stamped_touch(&batch, row));
            self.devices.restore_event(device_key, &event, own_channel);
        }
        self.window.commit();
        Ok(batch.rows())
    }

    /// All messages of the window are restored. The partition's own time is that of the newest of them, so the horizon of
    /// the devices is where it was before the restart.
    pub fn restored(&mut self, days: &mut BusinessDays) {
        self.devices.restored();
        if self.newest_received_ms > i64::MIN {
            self.devices.advance(self.newest_received_ms, days.day(self.newest_received_ms));
        }
    }
}
