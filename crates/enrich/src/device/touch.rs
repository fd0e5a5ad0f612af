//! The channel of a session, and the last non-direct touch that decides it when the session shows no evidence itself.
//!
//! A session's channel is that of its first event: what the event shows; else the last touch, if it was no more than
//! 30 days before; else where the session runs. Only events that show evidence are touches: a session that inherits
//! one does not prolong it, and neither the platform's own pages nor the absence of evidence touch anything.
use std::rc::Rc;

use super::shared::{Origin, OriginTexts, Shared};

const TOUCH_LASTS_MS: i64 = 30 * 86_400_000;
/// The rule named on sessions that inherit a touch.
pub const LAST_TOUCH: &str = "last_touch";

/// What the evidence of an event comes to, by the channel rules.
#[derive(Debug, Clone, Copy)]
pub struct Judgement<'a> {
    /// The channel of its own evidence.
    pub own: Option<&'a Shown>,
    /// The same for the first event of a device, where the app store counts as well.
    pub first: Option<&'a Shown>,
    /// The channel without evidence and past: mini program, in-app browser or direct.
    pub fallback: &'a Rc<Origin>,
}

/// A channel that an event's own evidence speaks for.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The channel.
    pub origin: Rc<Origin>,
    /// Whether later sessions may inherit it; not that of the platform's own pages.
    pub is_touch: bool,
}

impl<'a> Judgement<'a> {
    /// The channel of the event's own evidence.
    pub fn own(&self, is_new_device: bool) -> Option<&'a Shown> {
        if is_new_device { self.first } else { self.own }
    }

    /// The channel of an event whose device is unknown.
    pub fn without_device(&self) -> &'a Rc<Origin> {
        self.own.map_or(self.fallback, |shown| &shown.origin)
    }
}

/// Evidence that a device showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touch {
    pub(crate) origin: Rc<Origin>,
    /// When it showed it, event time in epoch milliseconds.
    pub(crate) time_ms: i64,
}

impl Touch {
    /// The touch to remember once an event of `time_ms` has shown `own`.
    pub(crate) fn after(before: &mut Option<Self>, own: Option<&Shown>, time_ms: i64) {
        let Some(own) = own.filter(|own| own.is_touch) else { return };
        match before {
            Some(before) if before.time_ms > time_ms => {}
            Some(before) => {
                before.time_ms = time_ms;
                if !Rc::ptr_eq(&before.origin, &own.origin) {
                    before.origin = Rc::clone(&own.origin);
                }
            }
            None => *before = Some(Self { origin: Rc::clone(&own.origin), time_ms }),
        }
    }
}

/// The channel of a session whose first event is of `time_ms`.
pub(crate) fn channel_of_session(
    judgement: &Judgement<'_>,
    is_new_device: bool,
    last_touch: Option<&Touch>,
    time_ms: i64,
    shared: &mut Shared,
) -> Rc<Origin> {
    if let Some(own) = judgement.own(is_new_device) {
        return Rc::clone(&own.origin);
    }
    let lasts = |touch: &&Touch| (0..=TOUCH_LASTS_MS).contains(&time_ms.saturating_sub(touch.time_ms));
    match last_touch.filter(lasts) {
        Some(touch) => shared.origin(OriginTexts { rule: LAST_TOUCH, ..touch.origin.texts() }),
        None => Rc::clone(judgement.fallback),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn origin(group: &str) -> Rc<Origin> {
        Shared::default().origin(OriginTexts { group, rule: "some-rule", ..OriginTexts::default() })
    }

    fn shown(group: &str) -> Shown {
        Shown { origin: origin(group), is_touch: group != "internal" }
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
            let touch = touched.map(|(group, time_ms)| Touch { origin: origin(group), time_ms });
            let mut shared = Shared::default();
            let (own, first, fallback) = (own.map(shown), first.map(shown), origin("direct"));
            let judgement = Judgement { own: own.as_ref(), first: first.as_ref(), fallback: &fallback };
            let found = channel_of_session(&judgement, is_new, touch.as_ref(), 0, &mut shared);
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
            Touch::after(&mut touch, Some(&shown(group)), time_ms);
            let found = touch.as_ref().map(|touch| (&*touch.origin.group, touch.time_ms));
            assert_eq!(found, expected, "{group} {time_ms}");
        }
    }
}
