//! Seeded, realistic clients of a media platform. Every event is counted before it is sent.
//!
//! [`Simulator::next`] writes one Kafka record at a time; [`Simulator::truth`] returns what a correct pipeline must
//! count for all of them. The expectation is recorded when an event is *planned* (its channel, the status of its
//! activity, its defect) and never computed with the pipeline's own code, so that a mistake on either side shows as
//! a difference.
//!
//! The generator is pure: the same [`Config`] and the same sequence of `now_ms` give the same bytes. Only
//! [`produce`] uses Kafka and the clock.

mod activity;
mod broken;
mod catalogue;
mod channel;
mod clock;
mod config;
mod defects;
mod details;
mod dice;
mod expected_code;
mod expected_device;
mod json_text;
mod names;
mod population;
pub mod produce;
mod record;
mod render;
mod resend;
mod server;
mod session;
mod simulator;
mod tables;
mod truth;
mod truth_tally;
mod world;

pub use activity::{ActivityPlan, PlannedActivityKind, default_activities};
pub use clock::Timing;
pub use config::{Config, Detail};
pub use expected_code::ExpectedCode;
pub use names::APP_IDS;
pub use record::{RawRecord, RecordSummary};
pub use simulator::Simulator;
pub use truth::{ActivityCell, ExpectedCounts, MinuteCell, QualityCell, TrafficCell, Truth, payload_hash};
