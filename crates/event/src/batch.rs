//! A batch of events by column: the content of one Kafka message of `clean-events` and `enriched-events`.
//!
//! Columns make the way from stage to stage cheap: a stage that only adds fields does not touch the columns it
//! passes on, and a field that no event of the batch has takes no space. Each distinct text is stored once per
//! batch.
mod builder;
mod column;
mod decoded;
mod error;
mod recent_text;
mod split;
#[cfg(test)]
mod tests;
mod texts;
mod wire;

pub use builder::BatchBuilder;
pub use decoded::{Batch, MAX_ROWS};
pub use error::BatchError;
pub use texts::{TextRef, same_text};
