//! Breaks the whole pipeline on purpose while clients with a known truth send events, and holds every number in
//! ClickHouse and Kafka against that truth.
//!
//! [`schedule`](schedule()) decides from a seed what goes wrong and when; [`run()`] lets it happen; [`Report`] tells what came of it.

mod books;
mod clients;
mod http;
mod members;
mod proxy;
mod recovery;
mod report;
mod run;
mod schedule;
mod servers;
mod window;

pub use members::Seen;
pub use proxy::Proxy;
pub use report::Report;
pub use run::{Audience, Options, Progress, run};
pub use schedule::{Action, Fault, Kind, Trouble, Victim, schedule};
