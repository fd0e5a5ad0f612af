//! Stage three: events folded into cubes and written to ClickHouse, the only writer there is.
//!
//! Pure parts: [`cube`] (what is written in `cubes.toml`), [`compile`], [`accumulate`], [`block`], [`ddl`]. Around
//! them: [`server`] and [`Writer`] (ClickHouse), [`lane`] (Kafka), [`run`] (the process).
pub mod accumulate;
pub mod block;
pub mod compile;
pub mod cube;
pub mod ddl;
pub mod dead_letter;
mod error;
mod group;
mod insert;
mod intern;
pub mod lane;
mod metric;
mod migrate;
pub mod predicate;
mod process;
mod rows;
pub mod server;

pub use cube::Cubes;
pub use error::Error;
pub use insert::Writer;
pub use migrate::migrate;
pub use process::{cubes, run};
