//! Devices whose fast part is newer than their record of the changelog, and since when.
//!
//! A record for every change of a fast part would cost as much as the event. A change waits for half a de-duplication
//! window; the other half is time enough to write it before a restore would no longer read the device's events.
use std::collections::VecDeque;

/// The queue of the unwritten devices, oldest first.
#[derive(Debug, Default)]
pub(super) struct UnwrittenQueue {
    /// Receive time of the first event that the record lacks, and the device.
    queue: VecDeque<(i64, u64)>,
    /// The open transaction writes this many from the front.
    due: usize,
}

impl UnwrittenQueue {
    /// Adds a device whose record lacks events since `since_ms`.
    pub(super) fn push(&mut self, since_ms: i64, key: u64) {
        self.queue.push_back((since_ms, key));
    }

    /// Devices whose records lack events of `due_ms` or earlier. They leave the queue when the transaction commits.
    pub(super) fn take_due(&mut self, due_ms: i64) -> impl Iterator<Item = u64> {
        self.due = self.queue.iter().take_while(|(since_ms, _)| *since_ms <= due_ms).count();
        self.queue.range(..self.due).map(|&(_, key)| key)
    }

    /// Sorts by time, after a restore has pushed in any order.
    pub(super) fn sort(&mut self) {
        self.queue.make_contiguous().sort_unstable();
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.queue.capacity() * size_of::<(i64, u64)>()
    }

    /// The transaction is committed: the due devices are written.
    pub(super) fn commit(&mut self) {
        self.queue.drain(..self.due);
        self.due = 0;
    }

    /// The transaction is aborted: the due devices stay in the queue.
    pub(super) fn abort(&mut self) {
        self.due = 0;
    }
}
