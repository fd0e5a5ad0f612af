//! Injects faults into the whole pipeline while clients with a known truth send events, and compares every number in
//! ClickHouse and Kafka with that truth.
//!
//! [`schedule`](schedule()) derives from a seed which faults happen when; [`run()`] injects them; [`Report`] has the
//! outcome.

mod clients;
mod dedupe_window;
mod fault;
mod hostile;
mod injector;
mod member;
mod members;
mod options;
mod reconcile;
mod recovery;
mod report;
mod run;
mod schedule;
mod servers;

pub use fault::{Fault, FaultAction, FaultKind, Victim};
pub use member::ProcessCounts;
pub use options::{ChaosOptions, ChaosProgress, Observer};
pub use report::Report;
pub use run::run;
pub use schedule::schedule;
