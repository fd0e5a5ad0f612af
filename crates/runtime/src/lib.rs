//! What every Millrace process shares: configuration, logs, metrics, health, and the loop that reads Kafka,
//! lets a stage decide, and commits what it decided exactly once.
//!
//! `process::main` is the whole of a `main.rs`; `stage::run` is the whole of a consume-transform-commit stage.

pub mod config;
pub mod drill;
mod error;
pub mod health;
mod http;
pub mod kafka;
pub mod ledger;
mod metric;
mod offset;
pub mod process;
pub mod shutdown;
mod source;
pub mod stage;
mod telemetry;
pub mod topic;
mod transaction;

pub use error::Error;
pub use offset::{NextOffset, Offset};
pub use source::{Committed, Polled, Source};
