//! Reads one batch: until it is full, its interval is over, or the group rebalances.
use std::time::{Duration, Instant};

use super::source::{Polled, Source};
use crate::Error;

/// Limits of one batch. The first one that is reached ends it.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Time from the first record.
    pub interval: Duration,
    /// Number of records.
    pub records: usize,
    /// Bytes of all records, keys and headers included. A batch may exceed it by one record.
    pub bytes: usize,
}

/// What ended a batch early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Interruption {
    Assigned(Vec<i32>),
    Revoked { partitions: Vec<i32>, lost: bool },
    Undecodable,
}

/// A batch, and the interruption that must be answered after it.
pub(super) type Gathered<'s, C> = (Vec<<C as Source>::Message<'s>>, Option<Interruption>);

pub(super) fn gather<C: Source>(source: &C, limits: BatchLimits) -> Result<Gathered<'_, C>, Error> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut deadline = Instant::now() + limits.interval;
    while batch.len() < limits.records && bytes < limits.bytes {
        // Reads the clock only when no record is ready: under load once per batch instead of once per record.
        let polled = match source.poll(Duration::ZERO)? {
            Polled::Idle => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                source.poll(left)?
            }
            polled => polled,
        };
        match polled {
            Polled::Idle => (),
            Polled::Record(message) => {
                if batch.is_empty() {
                    deadline = Instant::now() + limits.interval;
                }
                bytes += C::bytes(&message);
                batch.push(message);
            }
            Polled::Assigned(partitions) => return Ok((batch, Some(Interruption::Assigned(partitions)))),
            Polled::Revoked { partitions, lost } => {
                return Ok((batch, Some(Interruption::Revoked { partitions, lost })));
            }
            Polled::Undecodable => return Ok((batch, Some(Interruption::Undecodable))),
        }
    }
    Ok((batch, None))
}
