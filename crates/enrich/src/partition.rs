//! All that enrich remembers of one partition. Born when the partition is assigned, gone when it is revoked.
use event::{ActivityStatus, Batch, BatchError, Field, IdentityKey, Kind};

use crate::{
    business_day::BusinessDays,
    channel::ChannelRules,
    dedupe::{Window, WindowLimits},
    device::{Event, Malformed},
    devices::{DeviceLimits, Devices},
    stamp::facts::{self, Agent, Judgements},
};

/// How much is remembered.
#[derive(Debug, Clone, Copy)]
pub struct PartitionLimits {
    /// Of events.
    pub window: WindowLimits,
    /// Of devices.
    pub devices: DeviceLimits,
}

/// The memory of one partition.
#[derive(Debug)]
pub struct Partition {
    /// Events seen lately.
    pub window: Window,
    /// Devices seen ever.
    pub devices: Devices,
    newest_received_ms: i64,
}

/// Why a record of the changelog cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The key is not the 8 bytes of a device key.
    #[error("the key has {0} bytes, a device key has 8")]
    Key(usize),
    /// The value is no DeviceState.
    #[error("not a DeviceState: {0}")]
    Value(#[from] Malformed),
}

impl Partition {
    /// A partition of which nothing is known.
    pub fn new(limits: PartitionLimits) -> Self {
        Self {
            window: Window::new(limits.window),
            devices: Devices::new(limits.devices),
            newest_received_ms: i64::MIN,
        }
    }

    /// The transaction is visible.
    pub fn commit(&mut self) {
        self.window.commit();
        self.devices.commit();
    }

    /// The transaction never happened.
    pub fn abort(&mut self) {
        self.window.abort();
        self.devices.abort();
    }

    /// The partition's own time moves on with what the broker received; never back.
    pub(crate) fn received(&mut self, received_ms: i64, days: &mut BusinessDays) {
        if received_ms > self.newest_received_ms {
            self.newest_received_ms = received_ms;
            self.devices.advance(received_ms, days.day(received_ms));
        }
    }

    /// Takes a record of the changelog.
    ///
    /// # Errors
    /// [`StateError`] when key or value are not ours.
    pub fn restore_state(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        let key = key.try_into().map_err(|_| StateError::Key(key.len()))?;
        Ok(self.devices.restore(u64::from_be_bytes(key), value)?)
    }

    /// Takes a message of `enriched-events` that this partition has written: what was accepted counts as seen, and
    /// devices are moved to where they were. Evidence is judged by the rules of today.
    /// Returns the number of events in it.
    ///
    /// # Errors
    /// The bytes are no batch.
    pub fn replay(
        &mut self,
        payload: &[u8],
        identity: &IdentityKey,
        rules: &ChannelRules,
    ) -> Result<usize, BatchError> {
        let batch = Batch::decode(payload)?;
        let event_keys: Vec<u128> = (0..batch.rows()).map(|row| event_key(identity, &batch, row)).collect();
        self.window.fetch(event_keys.iter().copied());
        self.devices.fetch(batch.key_column(Field::DeviceKey).iter().copied());
        let mut judgements = Judgements::default();
        for (row, event_key) in event_keys.into_iter().enumerate() {
            let kind = batch.text(Field::Kind, row);
            let received_ms = batch.number(Field::ReceivedAt, row);
            self.newest_received_ms = self.newest_received_ms.max(received_ms);
            if kind == Kind::Duplicate.as_str() {
                continue;
            }
            self.window.accept(event_key, received_ms);
            let device_key = batch.key(Field::DeviceKey, row);
            if device_key == 0 || kind != Kind::Event.as_str() {
                continue;
            }
            let is_ok = batch.text(Field::ActivityStatus, row) == ActivityStatus::Ok.as_str();
            let judgement = judgements.of(&batch, row, Agent::default(), rules, self.devices.shared());
            let is_playback = batch.text(Field::EventName, row).starts_with("playback_");
            let event = Event {
                received_ms,
                number: batch.number(Field::EventNumber, row),
                playback: if is_playback { facts::playback(&batch, row) } else { None },
                touched_activity: is_ok.then(|| batch.text(Field::ActivityId, row)),
                called: called(event_key),
                ..Event::at(0, batch.number(Field::EventTime, row), judgement)
            };
            self.devices.replay(device_key, &event, batch.number(Field::IsNewDevice, row) == 1);
        }
        self.window.commit();
        Ok(batch.rows())
    }

    /// All messages of the window have been replayed.
    pub fn replayed(&mut self) {
        self.devices.replayed();
    }
}

/// 128-bit hash of the device an event belongs to; its low half is the device key.
pub(crate) fn device_hash(identity: &IdentityKey, batch: &Batch, row: usize) -> u128 {
    identity.hash(batch.text(Field::AppId, row), batch.text(Field::AnonymousId, row))
}

/// The de-duplication key: which device, which event.
pub(crate) fn event_key(identity: &IdentityKey, batch: &Batch, row: usize) -> u128 {
    device_hash(identity, batch, row) ^ batch.uuid(Field::EventId, row)
}

/// What an event is called among those of its device.
pub(crate) fn called(event_key: u128) -> u64 {
    (event_key >> 64) as u64 ^ event_key as u64
}
