//! What the open transaction has changed, to undo it when the transaction aborts.
//!
//! Devices are changed in place. Before the first change of a transaction a copy goes into this log; the slot holds the
//! number of the transaction that saved it last.
use super::slot::{Slot, Slots};

/// Changes whose memory stays allocated between transactions.
const KEPT_CAPACITY: usize = 4096;

/// The undo log of the open transaction.
#[derive(Debug)]
pub(super) struct UndoLog {
    /// What each change replaced, oldest first; None where there was no device. A device that was removed and came back
    /// is in it twice.
    replaced: Vec<(u64, Option<Slot>)>,
    /// Number of the open transaction; the next one has another.
    transaction: u32,
}

impl UndoLog {
    pub(super) fn new() -> Self {
        Self { replaced: Vec::new(), transaction: 1 }
    }

    /// Number of the open transaction.
    pub(super) fn transaction(&self) -> u32 {
        self.transaction
    }

    /// Number of a transaction that has ended.
    pub(super) fn ended_transaction(&self) -> u32 {
        self.transaction.wrapping_sub(1)
    }

    /// Saves a copy of a device that is about to be changed, unless this transaction has saved it already.
    pub(super) fn save(&mut self, key: u64, slot: &mut Slot) {
        if slot.transaction != self.transaction {
            self.replaced.push((key, Some(slot.clone())));
            slot.transaction = self.transaction;
        }
    }

    /// Notes that a slot was replaced or removed; None for one that is new.
    pub(super) fn replaced(&mut self, key: u64, before: Option<Slot>) {
        self.replaced.push((key, before));
    }

    /// The changes, oldest first: the device and what was there before.
    pub(super) fn changes(&self) -> impl Iterator<Item = (u64, Option<&Slot>)> {
        self.replaced.iter().map(|(key, before)| (*key, before.as_ref()))
    }

    /// Bytes of memory, without the heap of the devices: parts that have not changed are those of the slots.
    pub(super) fn memory_bytes(&self) -> usize {
        self.replaced.capacity() * size_of::<(u64, Option<Slot>)>()
    }

    /// Ends the transaction; its changes stay.
    pub(super) fn commit(&mut self) {
        self.replaced.clear();
        self.replaced.shrink_to(KEPT_CAPACITY);
        self.transaction = self.transaction.wrapping_add(1);
    }

    /// Ends the transaction and undoes its changes; `heap_bytes` of all devices changes with them.
    pub(super) fn abort(&mut self, slots: &mut Slots, heap_bytes: &mut usize) {
        for (key, before) in self.replaced.drain(..).rev() {
            *heap_bytes += before.as_ref().map_or(0, |slot| slot.device.heap_bytes());
            let undone = match before {
                Some(slot) => slots.insert(key, slot),
                None => slots.remove(&key),
            };
            *heap_bytes -= undone.map_or(0, |slot| slot.device.heap_bytes());
        }
        self.transaction = self.transaction.wrapping_add(1);
    }
}
