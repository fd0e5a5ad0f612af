//! Seeded, realistic clients of a media platform whose every event is counted before it is sent.
//!
//! [`Simulator::next`] writes one Kafka record at a time; [`Simulator::truth`] says what a correct pipeline
//! must have made of all of them. The expectation is recorded when an event is *planned* (its channel, its
//! activity's status, its defect), never by running the pipeline's own code, so that the two can disagree.
//!
//! The generator is pure: the same [`Config`] and the same sequence of `now_ms` give the same bytes. Only
//! [`produce`] knows Kafka and the clock.

mod activity;
mod broken;
mod catalogue;
mod channel;
mod clock;
mod config;
mod counted;
mod defects;
mod details;
mod dice;
mod names;
mod population;
pub mod produce;
mod render;
mod resend;
mod server;
mod session;
mod simulator;
mod tables;
mod tally;
mod truth;

pub use activity::{ActivityKind, ActivityPlan, default_activities};
pub use broken::Code;
pub use clock::{Timing, day_weight};
pub use config::{Config, Detail};
pub use names::APP_IDS;
pub use simulator::{Record, Sent, Simulator};
pub use truth::{ActivityCell, Counts, MinuteCell, QualityCell, TrafficCell, Truth, payload_hash};
