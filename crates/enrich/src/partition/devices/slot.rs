//! The map of a partition's devices, and the place of one device in it.
//!
//! A device key is a hash already, so the map uses it as its hash: integer keys without SipHash are 2.6 to 28 times as
//! fast as texts with it, by the size of the map.
use hashbrown::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::device::Device;

/// Devices by device key.
pub(super) type Slots = KeyMap<Slot>;

/// A map by device key.
pub(super) type KeyMap<T> = HashMap<u64, T, BuildHasherDefault<KeyHasher>>;

/// A device and its state in the open transaction.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) device: Device,
    /// The transaction that changed it last.
    pub(super) transaction: u32,
    /// The fast part is newer than the record of the changelog.
    pub(super) is_unwritten: bool,
    /// It is in the queue of the unwritten devices.
    pub(super) is_queued: bool,
}

impl Slot {
    pub(super) fn new(device: Device, transaction: u32) -> Self {
        Self { device, transaction, is_unwritten: false, is_queued: false }
    }
}

/// Takes a device key as its own hash: it is one already.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct KeyHasher(u64);

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
