//! What the worker needs of a transactional producer. A transaction borrows its producer, `commit` consumes it, and
//! dropping it aborts it.
use event::NextOffset;

use super::contract::Message;
use crate::Error;

/// A producer that sends in transactions, one at a time.
pub trait Producer {
    /// What a transaction needs to commit offsets for the group.
    type Membership;
    /// An open transaction.
    type Transaction<'p>: Transaction<Membership = Self::Membership>
    where
        Self: 'p;

    /// Begins a transaction.
    ///
    /// # Errors
    /// The producer cannot go on.
    fn begin(&mut self) -> Result<Self::Transaction<'_>, Error>;
}

/// An open transaction.
pub trait Transaction: Sized {
    /// What it needs to commit offsets for the group.
    type Membership;

    /// Sends one message; its bytes are copied.
    ///
    /// # Errors
    /// The producer cannot go on. A failed message that an abort and a new attempt may heal is no error here: the
    /// transaction then ends aborted.
    fn send(&mut self, message: Message<'_>) -> Result<(), Error>;

    /// Sends a message without a value.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn send_tombstone(&mut self, topic: &str, partition: i32, key: &[u8]) -> Result<(), Error>;

    /// Commits the messages together with the offsets of the records they were made from, each offset with its
    /// metadata.
    ///
    /// # Errors
    /// It is not known whether the transaction has committed, or the producer is fenced off. The process must start
    /// again; the broker then has the outcome.
    fn commit(
        self,
        offsets: &[(i32, NextOffset, String)],
        membership: &Self::Membership,
    ) -> Result<TransactionEnd, Error>;

    /// Aborts it.
    ///
    /// # Errors
    /// The producer cannot go on.
    fn abort(self) -> Result<(), Error>;
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionEnd {
    /// Its messages and offsets are visible.
    Committed,
    /// None of them is, and none of them will be.
    Aborted,
    /// As [`Aborted`](Self::Aborted), because a message was refused for its size: the same records would be refused
    /// again.
    TooLarge,
}
