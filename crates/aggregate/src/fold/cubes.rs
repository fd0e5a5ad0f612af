//! Events folded into the cells of a lane's cubes: column by column and in numbers only, because this is most of what
//! aggregate costs.
//!
//! A batch passes through these files in this order:
//!
//! | file | what it holds |
//! |---|---|
//! | `compiled` | the cubes of a lane as indexes: columns, conditions, clocks, properties |
//! | `compile` | from cubes to these indexes |
//! | `clock` | into which cell of time an event falls |
//! | `mask` | a set of rows of a batch |
//! | `facts` | what the lane needs of every row of a batch, found once for all cubes |
//! | `interner` | texts as numbers |
//! | `selection` | the rows of one cube, put into their cells and measured |
//! | `groups` | groups and cells of one cube, with their sums and sketches |
//! | `rows` | the rows of a flush |
//! | `accumulator` | all of it, per Kafka partition |
mod accumulator;
mod clock;
mod compile;
mod compiled;
mod facts;
mod groups;
mod interner;
mod mask;
mod rows;
mod selection;

pub use self::accumulator::Accumulator;
pub use self::compiled::CompiledLane;
pub use self::groups::OTHER;
