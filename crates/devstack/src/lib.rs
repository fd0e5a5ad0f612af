//! Real Kafka and ClickHouse on one machine, without containers: downloaded from Maven Central and npm, checked against
//! pinned checksums, cached by version.
//!
//! The rule this crate keeps: **no child outlives its parent.** Every child starts as the `devstack` binary, which has
//! the kernel kill it together with its parent and then becomes the real program. Data directories are locked; the
//! next start removes those whose lock is free.

mod binaries;
mod cache;
mod clickhouse;
mod error;
mod fetch;
mod interrupt;
mod kafka;
mod kafka_security;
pub mod pipeline;
mod ports;
mod process;
mod progress;
mod run_directory;
mod server;
mod settle;
mod spawn;
mod sql;
mod stack;

pub use binaries::{Profile, build_binaries, build_binaries_with_progress};
pub use clickhouse::ClickHouseUser;
pub use error::Error;
pub use interrupt::on_interrupt;
pub use kafka_security::{KafkaSecurity, SecureListener};
pub use process::{Launch, Process};
pub use progress::{Progress, ProgressLine, Step};
pub use settle::wait_for_events;
pub use sql::{Totals, query};
pub use stack::{Stack, StackOptions};
