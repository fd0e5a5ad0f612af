//! What a restore needs besides the devices: the reader of records, and the fast parts of the records.
//!
//! A restore reads all records of the changelog, then applies the events of the last window to the fast parts. An event
//! that the record already holds must change nothing in the end. Up to the last event of the record, every event may be
//! one of those; when that last event comes, the fast part of the record is put back. If it never comes, the record is
//! older than all events of the window.
use super::slot::{KeyMap, Slot, Slots};
use crate::device::{
    Device, Fast, FastEvent, Malformed, RecordReader, shared::Shared, touch::EvidenceChannel,
};

/// The state of a restore.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    reader: RecordReader,
    /// The records of the devices that have had an event.
    records: KeyMap<RecordedFast>,
}

#[derive(Debug)]
struct RecordedFast {
    /// The fast part of the record; None once the record's last event has come.
    fast: Option<Fast>,
    /// Receive time of the first event that the record lacks.
    unwritten_since_ms: Option<i64>,
}

impl Restoring {
    pub(super) fn read_record(&mut self, record: &[u8], shared: &mut Shared) -> Result<Device, Malformed> {
        self.reader.read(record, shared)
    }

    /// Bytes of memory, without the heap of the recorded fast parts: what has not changed is that of the devices.
    pub(super) fn memory_bytes(&self) -> usize {
        self.records.allocation_size() + self.reader.memory_bytes()
    }

    /// Whether a device has had an event.
    pub(super) fn contains(&self, key: u64) -> bool {
        self.records.contains_key(&key)
    }

    pub(super) fn apply(
        &mut self,
        key: u64,
        slot: &mut Slot,
        event: &FastEvent<'_>,
        own_channel: Option<&EvidenceChannel>,
        window_ms: i64,
        shared: &mut Shared,
    ) {
        let device = &mut slot.device;
        let recorded = self
            .records
            .entry(key)
            .or_insert_with(|| RecordedFast { fast: Some(device.fast().clone()), unwritten_since_ms: None });
        device.restore_event(event, own_channel, window_ms, shared);
        recorded.unwritten_since_ms.get_or_insert(event.received_ms);
        if let Some(fast) = recorded.fast.take_if(|fast| fast.last_event == event.id) {
            device.set_fast(fast);
            recorded.unwritten_since_ms = None;
        }
    }

    /// Ends the restore. Calls `unwritten` for each device whose record lacks events, with the receive time of the first
    /// such event and the device key.
    pub(super) fn finish(self, slots: &mut Slots, mut unwritten: impl FnMut(i64, u64)) {
        for (key, recorded) in self.records {
            let Some(since_ms) = recorded.unwritten_since_ms else { continue };
            if let Some(slot) = slots.get_mut(&key) {
                slot.is_unwritten = true;
                slot.is_queued = true;
                unwritten(since_ms, key);
            }
        }
    }
}
