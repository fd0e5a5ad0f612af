//! Everything outside the pure functions: it reads the clock, publishes metrics, or uses types of the runtime.
mod dead_letter;
mod stage;
mod telemetry;
mod topics;

pub(crate) use stage::Ingest;
pub(crate) use telemetry::describe;
pub(crate) use topics::IngestTopics;
