//! The map of a partition's devices, and the place of one device in it.
//!
//! A device key is a hash already, so the map uses it as its hash: integer keys without SipHash are 2.6 to 28 times as
//! fast as texts with it, by the size of the map.
use hashbrown::{HashMap, hash_map::Entry};
use std::hash::{BuildHasherDefault, Hasher};

use crate::device::Device;

/// Maps that share the devices. A map that grows is in memory twice for a moment, and a part of them only a part.
const PARTS: usize = 16;

/// Devices by device key.
#[derive(Debug, Default)]
pub(super) struct Slots {
    parts: [KeyMap<Slot>; PARTS],
}

impl Slots {
    /// The part of a key: by bits that a map looks at neither for the place nor for the tag of a key.
    fn part(key: u64) -> usize {
        (key >> 40) as usize % PARTS
    }

    pub(super) fn get(&self, key: &u64) -> Option<&Slot> {
        self.parts[Self::part(*key)].get(key)
    }

    pub(super) fn get_mut(&mut self, key: &u64) -> Option<&mut Slot> {
        self.parts[Self::part(*key)].get_mut(key)
    }

    pub(super) fn entry(&mut self, key: u64) -> Entry<'_, u64, Slot, BuildHasherDefault<KeyHasher>> {
        let part = &mut self.parts[Self::part(key)];
        make_place(part);
        part.entry(key)
    }

    pub(super) fn insert(&mut self, key: u64, slot: Slot) -> Option<Slot> {
        let part = &mut self.parts[Self::part(key)];
        make_place(part);
        part.insert(key, slot)
    }

    pub(super) fn remove(&mut self, key: &u64) -> Option<Slot> {
        self.parts[Self::part(*key)].remove(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&u64, &Slot)> {
        self.parts.iter().flatten()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Slot> {
        self.parts.iter().flat_map(KeyMap::values)
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(KeyMap::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many devices have a place without more memory.
    pub(super) fn places(&self) -> usize {
        self.parts.iter().map(places).sum()
    }

    pub(super) fn allocation_size(&self) -> usize {
        self.parts.iter().map(KeyMap::allocation_size).sum()
    }

    /// Frees the memory of places that are not used, but for an eighth more than are.
    pub(super) fn shrink(&mut self) {
        for part in &mut self.parts {
            part.shrink_to(part.len() + part.len() / 8);
        }
    }
}

/// The places of a map, whether used, free, or marked by a removed device.
fn places(part: &KeyMap<Slot>) -> usize {
    // A byte for each place beside the slots; seven eighths of the places may be used.
    part.allocation_size() / (size_of::<(u64, Slot)>() + 1) / 8 * 7
}

/// A map whose free places are used up grows, even when many of them are only marked by removed devices. Then it is built
/// again instead, without the marks.
fn make_place(part: &mut KeyMap<Slot>) {
    if part.len() == part.capacity() && part.len() < places(part) / 16 * 15 {
        let mut again = KeyMap::with_capacity_and_hasher(part.len() + part.len() / 16, Default::default());
        again.extend(part.drain());
        *part = again;
    }
}

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
