//! Stage three: events folded into cubes and written to ClickHouse exactly once. This crate is the only writer of its
//! tables.
//!
//! A lane reads one topic and writes one table. It [folds](fold) records into rows per Kafka partition, [cuts](block)
//! them into blocks at each flush, and follows the [protocol] that makes each record count once.
//!
//! Pure modules: values in, values out; no clock, threads, files, Kafka or ClickHouse client.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cube`] | what is counted: `cubes.toml`, read and checked |
//! | [`table`] | tables and views as SQL text, and the columns of an insert |
//! | [`fold`] | what a lane makes of its records |
//! | [`block`] | what one INSERT sends, and its marker rows |
//! | [`protocol`] | intents and markers: what to do next with a flush |
//!
//! The shell around them:
//!
//! | module | what it holds |
//! |---|---|
//! | [`lane`] | one worker of a lane; its pure parts `lane::partition` and `lane::partitions` decide, the rest executes |
//! | `insert` | [`BlockWriter`]: inserts blocks, reads markers |
//! | [`server`] | the ClickHouse server: its errors, its tables |
//! | [`migrate`](mod@migrate) | creates and extends database, tables and views |
//! | `process` | [`run`]: all lanes of one process |
pub mod block;
pub mod cube;
mod error;
pub mod fold;
mod insert;
pub mod lane;
mod metric;
pub mod migrate;
mod process;
pub mod protocol;
pub mod server;
pub mod table;
mod time;

pub use cube::Cubes;
pub use error::Error;
pub use insert::BlockWriter;
pub use migrate::migrate;
pub use process::{check, cubes, run};
