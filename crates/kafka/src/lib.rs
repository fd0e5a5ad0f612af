//! Kafka, as every part of Millrace uses it: clients, a consumer group, transactions, topics, and reading partitions
//! to their end.
//!
//! Layers: `event` (pure) <- `runtime` (process shell, generic worker) <- this crate (rdkafka) <- the stages. rdkafka is
//! known here, in the stages' own Kafka modules and in the operator's command, and nowhere below. This crate
//! implements the worker's traits; [`run_stage`] puts the two together.

mod bounds;
mod client;
mod error;
mod group_consumer;
mod member_name;
mod offset_list;
mod partition_reader;
mod stage;
pub mod topic;
mod transaction;
mod undecodable;

pub use bounds::{bounds, ends};
pub use client::{client, decoding, explain, for_rebuild, partition_count, topic_settings};
pub use error::Error;
pub use group_consumer::{Committed, GroupConsumer, GroupMember, Membership};
pub use member_name::wait_until_name_is_free;
pub use partition_reader::{Isolation, PartitionReader, Read, ReaderContext, first_offsets};
pub use runtime::stage::{Polled, Undecodable};
pub use stage::{StageOptions, run_stage};
pub use transaction::{OpenTransaction, TransactionalProducer};
pub use undecodable::{Probe, is_undecodable};
