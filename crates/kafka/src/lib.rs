//! Kafka, as every part of Millrace uses it: clients, a consumer group, transactions, topics, and reading partitions
//! to their end.
//!
//! Layers: `event` (pure) <- `runtime` (process shell, generic worker) <- this crate (rdkafka) <- the stages. rdkafka is
//! known here, in the stages' own Kafka modules and in the operator's command, and nowhere below. This crate
//! implements the worker's traits; [`run_stage`] puts the two together.

pub mod acl;
mod bounds;
mod client;
mod error;
mod group_consumer;
mod member_name;
mod offset_list;
mod partition_reader;
mod refusal;
mod security;
mod stage;
mod startup;
pub mod topic;
mod transaction;
mod undecodable;

pub use bounds::{bounds, ends};
pub use client::{check_clients, client, decoding};
pub use error::{Error, advice};
pub use group_consumer::{Committed, GroupConsumer, GroupMember, Membership};
pub use member_name::wait_until_name_is_free;
pub use partition_reader::{Isolation, PartitionReader, Read, ReaderContext, first_offsets};
pub use runtime::stage::{Polled, Undecodable};
pub use security::security;
pub use stage::{StageOptions, expect_workers, run_stage};
pub use startup::{for_rebuild, metadata, missing_topic, partition_count, topic_settings, unreachable};
pub use transaction::{OpenTransaction, TransactionalProducer};
pub use undecodable::{Probe, is_undecodable};
