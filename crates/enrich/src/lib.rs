//! Stage two: clean events in, enriched events out.
//!
//! All events of a device pass through one Kafka partition, so memory is enough to recognise duplicates and to decide
//! what an event is to its device.
//!
//! Everything that decides is pure: it takes values and times as arguments and uses no Kafka, files, threads or clock
//! (`clippy.toml` enforces this).
//!
//! | module | decides |
//! |---|---|
//! | [`stamp`] | the enriched batch for a clean batch: start reading here |
//! | [`partition`] | what is remembered of one Kafka partition: duplicates and devices, their transactions and restore |
//! | [`device`] | what an event is to its device: first days, session, touch, playback, orders |
//! | [`channel`] | which channel a visit comes from, by `schemas/channels.toml` |
//! | [`activity`] | which activity an event belongs to |
//! | [`memory`] | how `memory_limit` is divided |
//! | [`user_agent`] | browser, system and device of a sender, and whether it is a crawler |
//! | `row` | reads what these need from the rows of a batch |
//!
//! The rest is `shell`, which uses Kafka, files, threads and the clock: it runs the stage, restores partitions from Kafka,
//! follows the activity registry and reads the channel rules.
pub mod activity;
pub mod channel;
pub mod device;
pub mod memory;
pub mod partition;
mod row;
mod shell;
pub mod stamp;
pub mod user_agent;

pub use shell::{channel_rules, check, run};
