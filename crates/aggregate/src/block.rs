//! One INSERT: its rows by column, its marker rows, and its bytes. Pure.
//!
//! | file | what it holds |
//! |---|---|
//! | `column` | the values of one column |
//! | `layout` | which columns a block may have |
//! | `table_partition` | the partition of its table into which a row goes |
//! | `marker` | what the marker rows of a flush say |
//! | `rows` | the block: all columns together, restricted to table partitions, hashed |
//! | `builder` | how the rows of a flush are cut into blocks |
//! | `native` | the bytes that are sent |
mod builder;
mod column;
mod layout;
mod marker;
mod native;
mod rows;
mod table_partition;

pub use self::builder::BlockBuilder;
pub use self::column::{Column, ColumnKind, Value};
pub use self::layout::Layout;
pub use self::marker::{MARKER_DAYS, Mark, MarkerRows};
pub(crate) use self::native::NativeBuffers;
pub use self::rows::Block;
pub use self::table_partition::TablePartitioning;
