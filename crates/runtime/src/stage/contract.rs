//! What a stage is given, and what it may do: records in, messages and counts out. A stage never sees a client library.
use event::LedgerCounts;

use crate::Error;

/// A record read from the input topic; its bytes are borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Partition it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The record's timestamp, epoch milliseconds: when the broker received it.
    pub timestamp_ms: i64,
    /// Its key, if any.
    pub key: Option<&'a [u8]>,
    /// Its value; none for a tombstone.
    pub value: Option<&'a [u8]>,
}

/// A message to send.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Full topic name.
    pub topic: &'a str,
    /// Partition. Always explicit, because the contract says which records share a partition.
    pub partition: i32,
    /// Key, if any.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub value: &'a [u8],
    /// Headers, in order.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Takes what a stage sends. All of it becomes visible when the batch commits; after an abort none of it does.
pub trait Output {
    /// Sends one message; its bytes are copied.
    ///
    /// # Errors
    /// The process cannot go on.
    fn send(&mut self, message: Message<'_>) -> Result<(), Error>;

    /// Sends a message without a value: in a compacted topic it removes the key.
    ///
    /// # Errors
    /// The process cannot go on.
    fn send_tombstone(&mut self, topic: &str, partition: i32, key: &[u8]) -> Result<(), Error>;

    /// Whether more was sent than one transaction may hold. The worker aborts it and repeats it with fewer records, so the
    /// stage need not process the others.
    fn is_too_large(&self) -> bool {
        false
    }

    /// Adds the outcome of events to the ledger of the input partition they were read from. The worker itself counts
    /// records. The counts commit together with the messages.
    fn count(&mut self, partition: i32, counts: &LedgerCounts);
}

/// The processing part of a stage.
pub trait Stage {
    /// A partition is assigned; its state begins. Not called for a partition that comes back after a rebalance
    /// and that no other process has committed to.
    fn assigned(&mut self, _partition: i32) {}

    /// A partition is revoked; its state ends.
    fn revoked(&mut self, _partition: i32) {}

    /// Restores the state of newly assigned partitions: works for a fraction of a second and returns whether all of
    /// them are restored. It is called again until they are; no record is processed before.
    ///
    /// # Errors
    /// The state cannot be restored, so the process cannot go on.
    fn restore(&mut self) -> Result<bool, Error> {
        Ok(true)
    }

    /// Processes records of any assigned partitions, in the order read, and sends the results.
    ///
    /// # Errors
    /// Only when the process cannot go on; a bad record becomes a dead letter.
    fn process(&mut self, records: &[Record<'_>], output: &mut dyn Output) -> Result<(), Error>;

    /// The transaction of the last `process` has committed: its changes of state may stay.
    fn committed(&mut self) {}

    /// The transaction of the last `process` has been aborted, and its records are read again: its changes of state
    /// must be undone.
    fn aborted(&mut self) {}
}
