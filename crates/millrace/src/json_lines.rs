//! What `millrace cat` prints: one JSON object per line for any Kafka record ([`record`]) or for one event of a batch
//! ([`event`]).
mod embedded;
pub(crate) mod event;
pub(crate) mod position;
pub(crate) mod record;
