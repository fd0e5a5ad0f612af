//! Why each stamp of an event has its value. Pure: the reasons follow from the event's own fields, because every stage
//! writes its decisions into them.
mod activity;
mod playback_and_orders;
mod stamp;
mod time_and_kind;
mod visit;

use super::event::TracedEvent;

pub(super) use self::{
    stamp::StampReason,
    time_and_kind::{TimeDecision, kind, time},
};

/// Every stamp of the event, and stamps that are expected but missing.
pub(super) fn stamps(event: &TracedEvent) -> Vec<StampReason> {
    let mut stamps = Vec::new();
    visit::device(event, &mut stamps);
    visit::session(event, &mut stamps);
    visit::channel(event, &mut stamps);
    visit::active(event, &mut stamps);
    activity::activity(event, &mut stamps);
    playback_and_orders::playback(event, &mut stamps);
    playback_and_orders::order(event, &mut stamps);
    playback_and_orders::content_and_client(event, &mut stamps);
    stamps
}

#[cfg(test)]
mod tests;
