//! What is counted: cubes, read from `cubes.toml` and checked against the field catalogue. Pure.
//!
//! The rule of this module: every mistake in a file of cubes is reported, all of them at once, before anything starts.
//!
//! | file | what it holds |
//! |---|---|
//! | `definition` | one cube: dimensions, measures, filters |
//! | `pane` | lanes that write cubes, widths of time buckets |
//! | `cubes` | all cubes of a pipeline: built-in ones and those of a file |
//! | `read`, `column`, `filter` | from the text of a file to cubes |
//! | `check` | names, limits, and columns that several cubes share |
//! | `problem` | what is wrong with a file |
mod check;
mod column;
mod cubes;
mod definition;
mod filter;
mod pane;
mod problem;
mod read;
#[cfg(test)]
mod tests;

pub use self::cubes::{BUILT_IN, CUSTOM, Cubes};
pub use self::definition::{
    AggregateFunction, Cube, Dimension, EntryCondition, Explode, Filter, Half, Measure, ValueSource,
};
pub use self::pane::{CubeLane, Pane};
pub use self::problem::{CubeError, CubeProblem};
