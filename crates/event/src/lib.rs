//! The contract between clients and stages, as pure values: which fields an event has, why an event is rejected, how
//! events are encoded between stages, and the topics, offsets and counts that stages share. It uses no Kafka client, no
//! ClickHouse client and no clock (`clippy.toml` forbids it).

mod activity;
mod batch;
pub mod calendar;
mod code;
mod dead_letter;
mod field;
mod identity;
mod kind;
mod lane;
mod ledger;
mod limit;
mod name;
mod offset;
pub mod predicate;
pub mod protobuf;
mod topic;
mod verdict;

pub use activity::{Activity, ActivityError, ActivityEvent, ActivityKind, ActivityRule};
pub use batch::{Batch, BatchBuilder, BatchError, MAX_ROWS, TextRef, same_text};
pub use code::RejectCode;
pub use dead_letter::{KeptBytes, header};
pub use field::{FIELDS, Field, FieldKind, FieldOrigin};
pub use identity::{IdentityKey, partition_for};
pub use kind::{ActivityStatus, Kind, Platform, TimeSource};
pub use lane::Lane;
pub use ledger::{LedgerCounts, LedgerEntry, LedgerError};
pub use limit::{DeadLetterLimits, FIELD_LIMITS, FieldLimit, Limits, StageLimits};
pub use name::{is_app_id, is_event_name};
pub use offset::{NextOffset, Offset, Start};
pub use topic::Topic;
pub use verdict::{Rejection, Verdict};
