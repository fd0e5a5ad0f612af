//! The activity that the event belongs to, and the one it is attributed to.
use event::{ActivityStatus, Field};

use super::stamp::StampReason;
use crate::command::trace::event::TracedEvent;

pub(super) fn activity(event: &TracedEvent, stamps: &mut Vec<StampReason>) {
    let id = event.text(Field::ActivityId);
    if !id.is_empty() {
        let status = event.text(Field::ActivityStatus);
        let by = if event.text(Field::ActivityEventId).is_empty() {
            "matched by a rule of the registry"
        } else {
            "sent by the client"
        };
        let meaning = match ActivityStatus::parse(status) {
            Some(ActivityStatus::Ok) => "registered, within its dates, and the key is known",
            Some(ActivityStatus::Unregistered) => "no activity with this ID was registered at that time",
            Some(ActivityStatus::WrongApp) => "the activity does not run in this app_id",
            Some(ActivityStatus::UnknownKey) => "the activity has no event with this key",
            Some(ActivityStatus::OutsideDates) => {
                "the event time is before its start, or at or after its end"
            }
            None => "not stamped",
        };
        let kind = event.text(Field::ActivityType);
        let value = [id, event.text(Field::ActivityEventKey), kind, status];
        let value: Vec<&str> = value.into_iter().filter(|part| !part.is_empty()).collect();
        stamps.push(StampReason::new("activity", value.join(" / "), format!("{by}; {meaning}")));
        if event.number(Field::ActivityFirstTouch) == 1 {
            let reason = "the device's first touch of this activity";
            stamps.push(StampReason::new("activity_first_touch", "1", reason));
        }
    }
    let attributed = event.text(Field::AttributedActivityId);
    if !attributed.is_empty() {
        let reason = "the activity that the device touched last, within its attribution window";
        stamps.push(StampReason::new("attributed_activity", attributed, reason));
    }
}
