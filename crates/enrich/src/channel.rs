//! The channel of a visit, by the rules of `schemas/channels.toml`: an ordered list in which the first rule that
//! matches wins.
//!
//! A decision has two halves, because the device's last touch comes between them: [`ChannelRules::own`] matches
//! the event's own evidence, [`ChannelRules::fallback`] an event without evidence.
//!
//! `evidence` reads what an event shows, `address` the parameters of its page; `file`, `site` and `check` read the rules; `matching` decides; `explain` gives
//! the reason of each decision.
mod address;
mod check;
mod error;
mod evidence;
mod explain;
mod file;
mod groups;
mod matching;
mod rules;
mod site;

pub(crate) use self::address::has_evidence;
pub use self::{
    error::ChannelError,
    evidence::{Evidence, host},
    explain::TriedRule,
    rules::{BUILT_IN, Channel, ChannelRules},
};
