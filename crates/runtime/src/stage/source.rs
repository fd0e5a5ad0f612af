//! What the worker needs of a consumer that is a member of a group.
use event::{NextOffset, Offset};
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
    /// A batch cannot be decoded. The client may have skipped records behind it: ask
    /// [`find_undecodable`](Source::find_undecodable), then [`seek`](Source::seek).
    Undecodable,
}

/// Offsets of one partition whose batches the client library cannot decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// The partition.
    pub partition: i32,
    /// First offset that cannot be read.
    pub first: Offset,
    /// Last offset that cannot be read.
    pub last: Offset,
    /// The client library's error.
    pub cause: String,
}

/// The topics that a dead letter of an undecodable batch names, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTopics {
    /// Full name of the topic that is read.
    pub input: String,
    /// Full name of the topic of dead letters.
    pub dead_letters: String,
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

    /// Bytes of the record, key and headers included.
    fn bytes(message: &Self::Message<'_>) -> usize;

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

    /// Looks for batches at these positions that cannot be decoded. It reads each of them several times before it reports
    /// it. Empty when every position can be read, or when the broker does not answer now.
    ///
    /// # Errors
    /// The consumer cannot go on, for example because the records at a position were deleted.
    fn find_undecodable(&self, positions: &[(i32, NextOffset)]) -> Result<Vec<Undecodable>, Error>;

    /// The topics that a dead letter names.
    fn topics(&self) -> &SourceTopics;

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

    /// What does not answer, in a sentence, so that no record arrives; none when all is well.
    fn outage(&self) -> Option<String> {
        None
    }

    /// The membership as of now; read it again for each transaction.
    ///
    /// # Errors
    /// The client has no group metadata.
    fn membership(&self) -> Result<Self::Membership, Error>;
}
