//! What every Millrace process has around its stage: configuration, logs, metrics, health, shutdown, and the worker
//! that reads a batch, lets a stage process it, and commits the result exactly once.
//!
//! [`process::main`] is the whole of a `main.rs`. The worker in [`stage`] is generic over its source and its
//! transaction: this crate does not know Kafka. The crate `kafka` implements both with rdkafka, so the worker's tests
//! run in memory, and whoever needs only configuration or failpoints does not compile librdkafka.

pub mod config;
mod crash;
mod error;
pub mod failpoint;
pub mod health;
mod http;
mod metric;
pub mod process;
mod rebuild;
pub mod shutdown;
pub mod stage;
mod telemetry;
#[cfg(feature = "tls")]
pub mod tls;

pub use error::{EXIT_CONFIG, Error};
pub use rebuild::rebuild;
