//! What a correct pipeline remembers of a device after its counted events.
//!
//! Some event times depend on when the broker receives the record, so times are bounds. If the bounds do not decide
//! a question, the answer is None, and the client sends more evidence so that the expectation is certain.

use crate::names::ChannelGroup;

/// Earliest and latest event time, epoch ms.
pub(crate) type Bounds = (i64, i64);

/// The gap in event time that ends a session without an ID, ms.
const SESSION_GAP_MS: i64 = 30 * 60_000;
/// How long later sessions inherit a touch, ms of event time.
const TOUCH_MS: i64 = 30 * 86_400_000;

/// What is remembered of one device.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ExpectedDevice {
    /// Newest event time. None before the first event.
    newest: Option<Bounds>,
    /// Channel group of the session that started last.
    session_group: Option<ChannelGroup>,
    touch: Option<ExpectedTouch>,
}

/// The last evidence of a channel other than `internal`.
#[derive(Debug, Clone, Copy)]
struct ExpectedTouch {
    /// None if the bounds do not decide which of two is newer.
    group: Option<ChannelGroup>,
    at: Bounds,
}

impl ExpectedDevice {
    /// Whether the device has no event yet.
    pub(crate) fn is_new(&self) -> bool {
        self.newest.is_none()
    }

    /// Whether an event without session ID within these bounds starts a session. None if the bounds do not decide it.
    pub(crate) fn starts_derived(&self, (earliest, latest): Bounds) -> Option<bool> {
        let Some((from, to)) = self.newest else { return Some(true) };
        if earliest - to > SESSION_GAP_MS {
            Some(true)
        } else if latest - from <= SESSION_GAP_MS {
            Some(false)
        } else {
            None
        }
    }

    /// The channel group of a session that starts with an event without evidence; `otherwise` if it inherits none.
    /// None if the bounds do not decide it.
    pub(crate) fn inherited(
        &self,
        (earliest, latest): Bounds,
        otherwise: ChannelGroup,
    ) -> Option<ChannelGroup> {
        let Some(ExpectedTouch { group, at: (from, to) }) = self.touch else { return Some(otherwise) };
        let (least, most) = (earliest - to, latest - from);
        if most < 0 || least > TOUCH_MS {
            Some(otherwise)
        } else if least >= 0 && most <= TOUCH_MS {
            group
        } else {
            None
        }
    }

    /// Channel group of the session that started last. An event without session ID joins it.
    pub(crate) fn session_group(&self, otherwise: ChannelGroup) -> ChannelGroup {
        self.session_group.unwrap_or(otherwise)
    }

    /// Records the start of a session.
    pub(crate) fn begin_session(&mut self, group: ChannelGroup) {
        self.session_group = Some(group);
    }

    /// Records a counted event within these bounds.
    pub(crate) fn take(&mut self, at: Bounds) {
        self.newest = Some(self.newest.map_or(at, |newest| latest_of(newest, at)));
    }

    /// Records a counted event with evidence of a channel.
    pub(crate) fn touch(&mut self, group: ChannelGroup, at: Bounds) {
        if group == ChannelGroup::Internal {
            return;
        }
        let touch = match self.touch {
            Some(before) if at.1 < before.at.0 => before,
            Some(before) if at.0 < before.at.1 => {
                let same = before.group.filter(|&known| known == group);
                ExpectedTouch { group: same, at: latest_of(before.at, at) }
            }
            _ => ExpectedTouch { group: Some(group), at },
        };
        self.touch = Some(touch);
    }
}

fn latest_of(one: Bounds, other: Bounds) -> Bounds {
    (one.0.max(other.0), one.1.max(other.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn touched(touches: &[(ChannelGroup, Bounds)]) -> ExpectedDevice {
        let mut counted = ExpectedDevice::default();
        for &(group, at) in touches {
            counted.touch(group, at);
        }
        counted
    }

    #[test]
    fn a_touch_is_inherited_for_thirty_days_and_not_by_earlier_events() {
        let counted = touched(&[(ChannelGroup::Email, (1_000, 1_000))]);
        for (at, expected) in [
            ((1_000, 1_000), Some(ChannelGroup::Email)),
            ((999, 999), Some(ChannelGroup::Direct)),
            ((1_000 + 30 * DAY, 1_000 + 30 * DAY), Some(ChannelGroup::Email)),
            ((1_001 + 30 * DAY, 1_001 + 30 * DAY), Some(ChannelGroup::Direct)),
            ((990, 1_010), None),
            ((1_000, 1_001 + 30 * DAY), None),
        ] {
            assert_eq!(counted.inherited(at, ChannelGroup::Direct), expected, "{at:?}");
        }
    }

    #[test]
    fn the_newest_touch_by_event_time_stays_and_internal_is_no_touch() {
        let (email, sms, ads) = (ChannelGroup::Email, ChannelGroup::Sms, ChannelGroup::Internal);
        for (touches, expected) in [
            (&[(email, (10, 10)), (sms, (10, 10))][..], Some(sms)),
            (&[(email, (10, 10)), (sms, (9, 9))], Some(email)),
            (&[(email, (10, 10)), (ads, (20, 20))], Some(email)),
            (&[(email, (10, 20)), (sms, (15, 25))], None),
            (&[(email, (10, 20)), (email, (15, 25))], Some(email)),
            (&[(email, (10, 20)), (sms, (15, 25)), (sms, (30, 30))], Some(sms)),
        ] {
            assert_eq!(touched(touches).inherited((50, 50), ChannelGroup::Direct), expected, "{touches:?}");
        }
    }
}
