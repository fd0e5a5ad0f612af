//! What the worker needs of a consumer that is a member of a group.
use event::NextOffset;
use std::time::Duration;

use super::contract::Record;
use crate::Error;

/// Result of one poll.
#[derive(Debug)]
pub enum Polled<M> {
    /// Nothing within the timeout.
    Idle,
    /// A record.
    Record(M),
    /// The group has assigned these partitions: answer with an assignment.
    Assigned(Vec<i32>),
    /// The group revokes these partitions: finish the work on them, then end the assignment.
    Revoked {
        /// All partitions that were assigned.
        partitions: Vec<i32>,
        /// The group may already have assigned them to other members: nothing may be committed any more.
        lost: bool,
    },
}

/// Where to read an assigned partition from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartPosition {
    /// The partition.
    pub partition: i32,
    /// The committed offset, or the configured start position of a group that has not committed one.
    pub next: NextOffset,
    /// Text committed beside the offset; empty without one.
    pub metadata: String,
}

/// A consumer of one topic that is a member of a group. A rebalance is a return value of [`poll`](Self::poll): the group
/// waits until the worker answers it with [`assign`](Self::assign) or [`unassign`](Self::unassign).
pub trait Source {
    /// A record as the client library holds it.
    type Message<'s>
    where
        Self: 's;
    /// What a transaction needs to commit offsets for the group.
    type Membership;

    /// The record, borrowed from the message.
    fn record<'m, 's>(message: &'m Self::Message<'s>) -> Record<'m>
    where
        Self: 's;

    /// The next record or rebalance. Must be called at least every few minutes, or the group removes the member.
    ///
    /// # Errors
    /// The consumer cannot go on.
    fn poll(&self, timeout: Duration) -> Result<Polled<Self::Message<'_>>, Error>;

    /// Where to read each of these partitions from.
    ///
    /// # Errors
    /// The committed offsets cannot be read, or their records no longer exist.
    fn start_positions(&self, partitions: &[i32]) -> Result<Vec<StartPosition>, Error>;

    /// Answers [`Polled::Assigned`]: reads these partitions from these offsets.
    ///
    /// # Errors
    /// The consumer cannot go on.
    fn assign(&self, positions: &[(i32, NextOffset)]) -> Result<(), Error>;

    /// Answers [`Polled::Revoked`]: reads no partition any more.
    ///
    /// # Errors
    /// The consumer cannot go on.
    fn unassign(&self) -> Result<(), Error>;

    /// Continues at these offsets and discards prefetched records. May be called while a rebalance is pending.
    ///
    /// # Errors
    /// The consumer cannot go on.
    fn seek(&self, positions: &[(i32, NextOffset)]) -> Result<(), Error>;

    /// Stops reading these partitions until [`resume`](Self::resume).
    ///
    /// # Errors
    /// A partition is not assigned.
    fn pause(&self, partitions: &[i32]) -> Result<(), Error>;

    /// Reads these partitions again.
    ///
    /// # Errors
    /// A partition is not assigned.
    fn resume(&self, partitions: &[i32]) -> Result<(), Error>;

    /// The membership as of now; read it again for each transaction.
    ///
    /// # Errors
    /// The client has no group metadata.
    fn membership(&self) -> Result<Self::Membership, Error>;
}
