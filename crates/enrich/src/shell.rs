//! The part of enrich that uses Kafka, files, threads and the clock.
//!
//! `stage` hands records to the pure modules and sends what they decide; `restore` reads the memory of newly assigned
//! partitions; `registry` follows the topic of activities; `run` starts everything.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the shell is where enrich meets Kafka, files, threads and the clock"
)]

mod channel_file;
mod dead_letter;
mod metric;
mod raw_progress;
mod registry;
mod restore;
mod run;
mod stage;

pub use self::{
    channel_file::channel_rules,
    run::{check, run},
};
