//! Keys of a row: which device, and which event of it.
use event::{Batch, Field, IdentityKey};

/// 128-bit hash of the device that sent an event. Its low half is the device key.
pub(crate) fn device_hash(identity: &IdentityKey, batch: &Batch, row: usize) -> u128 {
    identity.hash(batch.text(Field::AppId, row), batch.text(Field::AnonymousId, row))
}

/// The de-duplication key of an event: its device and its ID.
pub(crate) fn event_key(device_hash: u128, batch: &Batch, row: usize) -> u128 {
    device_hash ^ batch.uuid(Field::EventId, row)
}
