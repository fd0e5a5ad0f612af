//! What a stage sends goes to the transaction until the transaction is too large, and its counts to the ledger.
use event::LedgerCounts;

use crate::{
    Error,
    stage::{
        contract::{Message, Output},
        ledger::Ledger,
        transaction::Transaction,
    },
};

/// Sends to the transaction and counts in the ledger.
pub(super) struct CountingOutput<'l, T> {
    transaction: T,
    ledger: &'l mut Ledger,
    bytes: usize,
    most_bytes: Option<usize>,
}

impl<'l, T: Transaction> CountingOutput<'l, T> {
    pub(super) fn new(transaction: T, ledger: &'l mut Ledger, most_bytes: Option<usize>) -> Self {
        Self { transaction, ledger, bytes: 0, most_bytes }
    }

    /// Whether messages were dropped because the transaction would be too large. It must be aborted.
    pub(super) fn is_too_large(&self) -> bool {
        self.most_bytes.is_some_and(|most| self.bytes > most)
    }

    pub(super) fn into_transaction(self) -> T {
        self.transaction
    }
}

impl<T: Transaction> Output for CountingOutput<'_, T> {
    fn send(&mut self, message: Message<'_>) -> Result<(), Error> {
        let headers: usize = message.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.bytes += message.key.map_or(0, <[u8]>::len) + message.value.len() + headers;
        if self.is_too_large() { Ok(()) } else { self.transaction.send(message) }
    }

    fn send_tombstone(&mut self, topic: &str, partition: i32, key: &[u8]) -> Result<(), Error> {
        self.bytes += key.len();
        if self.is_too_large() { Ok(()) } else { self.transaction.send_tombstone(topic, partition, key) }
    }

    fn is_too_large(&self) -> bool {
        Self::is_too_large(self)
    }

    fn count(&mut self, partition: i32, counts: &LedgerCounts) {
        self.ledger.count(partition, counts);
    }
}
