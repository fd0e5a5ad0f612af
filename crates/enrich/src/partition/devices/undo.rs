//! What the open transaction has changed, to undo it when the transaction aborts.
//!
//! Devices are changed in place. Before the first change of a transaction a copy goes into this log; the slot holds the
//! number of the transaction that saved it last.
use super::slot::{Slot, Slots};

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

    /// Ends the transaction; its changes stay.
    pub(super) fn commit(&mut self) {
        self.replaced.clear();
        self.transaction = self.transaction.wrapping_add(1);
    }

    /// Ends the transaction and undoes its changes.
    pub(super) fn abort(&mut self, slots: &mut Slots) {
        for (key, before) in self.replaced.drain(..).rev() {
            match before {
                Some(slot) => slots.insert(key, slot),
                None => slots.remove(&key),
            };
        }
        self.transaction = self.transaction.wrapping_add(1);
    }
}
