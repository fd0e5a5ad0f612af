//! Tests of whole pipelines on one shared stack: one binary, so that the servers start once and one program is linked.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod activities;
mod aggregate_memory;
mod attribution;
mod channels;
#[cfg(debug_assertions)] // A release build has no failpoints.
mod crash_points;
mod cubes;
mod enrich_limits;
mod exact_totals;
mod foreign_clean_events;
mod foreign_messages;
mod forget;
mod hostile;
mod metrics;
mod operations;
#[cfg(debug_assertions)] // A release build has no failpoints.
mod panics;
mod reconcile;
mod recovery;
#[cfg(debug_assertions)] // A release build cannot switch a safeguard off.
mod safeguards;
mod secrets;
mod start_positions;
mod state;
mod trace;
mod undecodable;
mod waiting;
