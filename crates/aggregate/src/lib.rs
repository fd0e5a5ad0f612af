//! Stage three: events folded into cubes and written to ClickHouse, the only writer there is.
//!
//! Pure parts: [`cube`] (what is written in `cubes.toml`), [`compile`], [`accumulate`], [`block`], [`ddl`], and
//! [`protocol`] (what makes each record count once). Around them: [`server`] and [`Writer`] (ClickHouse), [`lane`]
//! (Kafka), [`run`] (the process).
pub mod accumulate;
pub mod audit;
pub mod block;
pub mod compile;
pub mod cube;
mod days;
pub mod ddl;
pub mod dead_letter;
mod delivery;
mod error;
pub mod events;
mod group;
mod insert;
mod intern;
pub mod lane;
mod metric;
pub mod metric_definitions;
mod migrate;
mod native;
mod partition;
mod process;
pub mod protocol;
mod rows;
pub mod server;
mod time;

pub use cube::Cubes;
pub use error::Error;
pub use insert::Writer;
pub use migrate::migrate;
pub use process::{cubes, run};
