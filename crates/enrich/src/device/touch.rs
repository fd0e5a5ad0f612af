//! The channel of a session, and the last touch, which decides it when the session shows no evidence of its own.
//!
//! The channel of a session is that of its first event: the channel of the event's own evidence; without evidence the
//! last touch, if it is at most 30 days old; else the fallback. Only an event with evidence is a touch: a session that
//! inherits a touch does not prolong it, and the platform's own pages are no touch.
use std::rc::Rc;

use super::shared::{ChannelTexts, Shared, SharedChannel};

const TOUCH_LASTS_MS: i64 = 30 * 86_400_000;
/// The rule named on sessions that inherit a touch.
const LAST_TOUCH: &str = "last_touch";

/// What the channel rules decide about an event.
#[derive(Debug, Clone, Copy)]
pub struct EventChannels<'a> {
    /// The channel of its own evidence.
    pub own: Option<&'a EvidenceChannel>,
    /// The same for a device's first event, where the app store is evidence too.
    pub first: Option<&'a EvidenceChannel>,
    /// The channel without evidence and last touch: mini program, in-app browser or direct.
    pub fallback: &'a Rc<SharedChannel>,
}

/// The channel that an event's own evidence gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceChannel {
    /// The channel.
    pub channel: Rc<SharedChannel>,
    /// Whether later sessions may inherit it. Not that of the platform's own pages.
    pub is_touch: bool,
}

impl<'a> EventChannels<'a> {
    /// The channel of the event's own evidence.
    pub(crate) fn own(&self, is_new_device: bool) -> Option<&'a EvidenceChannel> {
        if is_new_device { self.first } else { self.own }
    }

    /// The channel of an event without a device.
    pub(crate) fn without_device(&self) -> &'a Rc<SharedChannel> {
        self.own.map_or(self.fallback, |own| &own.channel)
    }
}

/// The last event of a device that showed evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touch {
    pub(crate) channel: Rc<SharedChannel>,
    /// Event time in epoch milliseconds.
    pub(crate) time_ms: i64,
}

impl Touch {
    /// Replaces the last touch by an event of `time_ms` with evidence, unless the last one is newer.
    pub(crate) fn update(last: &mut Option<Self>, own: Option<&EvidenceChannel>, time_ms: i64) {
        let Some(own) = own.filter(|own| own.is_touch) else { return };
        match last {
            Some(last) if last.time_ms > time_ms => {}
            Some(last) => {
                last.time_ms = time_ms;
                if !Rc::ptr_eq(&last.channel, &own.channel) {
                    last.channel = Rc::clone(&own.channel);
                }
            }
            None => *last = Some(Self { channel: Rc::clone(&own.channel), time_ms }),
        }
    }
}

/// The channel of a session whose first event is of `time_ms`.
pub(crate) fn channel_of_session(
    channels: &EventChannels<'_>,
    is_new_device: bool,
    last_touch: Option<&Touch>,
    time_ms: i64,
    shared: &mut Shared,
) -> Rc<SharedChannel> {
    if let Some(own) = channels.own(is_new_device) {
        return Rc::clone(&own.channel);
    }
    let lasts = |touch: &&Touch| (0..=TOUCH_LASTS_MS).contains(&time_ms.saturating_sub(touch.time_ms));
    match last_touch.filter(lasts) {
        Some(touch) => shared.channel(ChannelTexts { rule: LAST_TOUCH, ..touch.channel.texts() }),
        None => Rc::clone(channels.fallback),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn channel(group: &str) -> Rc<SharedChannel> {
        Shared::default().channel(ChannelTexts { group, rule: "some-rule", ..ChannelTexts::default() })
    }

    fn evidence(group: &str) -> EvidenceChannel {
        EvidenceChannel { channel: channel(group), is_touch: group != "internal" }
    }

    #[test]
    fn own_evidence_comes_before_the_last_touch_and_that_before_none() {
        let (search, store) = (Some("organic_search"), Some("app_store"));
        for (name, own, first, is_new, touched, expected) in [
            ("own evidence", search, search, false, Some(("email", 0)), ("organic_search", "some-rule")),
            ("the store, first event", None, store, true, None, ("app_store", "some-rule")),
            ("the store, later event", None, store, false, None, ("direct", "some-rule")),
            ("the store gives way to a touch", None, store, false, Some(("email", 0)), ("email", LAST_TOUCH)),
            ("own pages", Some("internal"), None, false, Some(("email", 0)), ("internal", "some-rule")),
            ("thirty days ago", None, None, false, Some(("email", -30 * DAY)), ("email", LAST_TOUCH)),
            ("longer ago", None, None, false, Some(("email", -30 * DAY - 1)), ("direct", "some-rule")),
            ("a touch that is still to come", None, None, false, Some(("email", 1)), ("direct", "some-rule")),
            ("nothing", None, None, true, None, ("direct", "some-rule")),
        ] {
            let touch = touched.map(|(group, time_ms)| Touch { channel: channel(group), time_ms });
            let mut shared = Shared::default();
            let (own, first, fallback) = (own.map(evidence), first.map(evidence), channel("direct"));
            let channels = EventChannels { own: own.as_ref(), first: first.as_ref(), fallback: &fallback };
            let found = channel_of_session(&channels, is_new, touch.as_ref(), 0, &mut shared);
            assert_eq!((&*found.group, &*found.rule), expected, "{name}");
        }
    }

    #[test]
    fn the_touch_of_the_newest_event_time_is_remembered_and_own_pages_never() {
        let mut touch = None;
        for (group, time_ms, expected) in [
            ("internal", 5, None),
            ("email", 10, Some(("email", 10))),
            ("sms", 9, Some(("email", 10))),
            ("sms", 10, Some(("sms", 10))),
            ("internal", 20, Some(("sms", 10))),
            ("sms", 30, Some(("sms", 30))),
        ] {
            Touch::update(&mut touch, Some(&evidence(group)), time_ms);
            let found = touch.as_ref().map(|touch| (&*touch.channel.group, touch.time_ms));
            assert_eq!(found, expected, "{group} {time_ms}");
        }
    }
}
