//! Everything that is decided about one event before its stamps are written.
use event::{ActivityStatus, Kind};
use std::rc::Rc;

use crate::{
    device::{DeviceStamps, shared::SharedChannel},
    row::{AgentFacts, NameFacts},
};

/// The decisions about one event.
#[derive(Debug)]
pub(super) struct EventDecision<'a> {
    pub(super) kind: Kind,
    /// 0 without an `anonymous_id`.
    pub(super) device_key: u64,
    pub(super) event_key: u128,
    pub(super) agent: AgentFacts,
    pub(super) name: NameFacts,
    /// Business day of the event time.
    pub(super) day: i32,
    pub(super) activity: Option<ActivityStamp<'a>>,
    pub(super) device_stamps: Option<DeviceStamps>,
    /// The channel of an event without a device.
    pub(super) channel: Option<Rc<SharedChannel>>,
}

/// The activity of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct ActivityStamp<'a> {
    /// Activity ID and event key of the rule that matched; None when the client's ID names them.
    pub(super) by_rule: Option<(&'a str, &'a str)>,
    pub(super) activity_type: &'static str,
    pub(super) status: ActivityStatus,
}
