//! What a correct pipeline remembers of a device after the events so far: real ones only, each once.
//!
//! The broker decides some event times within seconds, so times are bounds. Where nobody could know what follows,
//! the answer is none, and the client says more than it would have.

use crate::names::Group;

/// Earliest and latest event time, epoch ms.
pub(crate) type Bounds = (i64, i64);

/// A silence in event time that ends a session without an ID, ms.
const SESSION_GAP_MS: i64 = 30 * 60_000;
/// How long a touch is inherited by later sessions, ms of event time.
const TOUCH_MS: i64 = 30 * 86_400_000;

/// Memory of one device.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    /// Newest event time; none before the first event.
    newest: Option<Bounds>,
    /// Channel group of the session that began last.
    session_group: Option<Group>,
    touch: Option<Touch>,
}

/// The last evidence of a channel that is not the site's own.
#[derive(Debug, Clone, Copy)]
struct Touch {
    /// None when nobody can know which of two is the newer one.
    group: Option<Group>,
    at: Bounds,
}

impl Counted {
    /// Whether the device has no event yet.
    pub(crate) fn is_new(&self) -> bool {
        self.newest.is_none()
    }

    /// Whether an event without session ID, at some time within these bounds, starts a session; none when it cannot
    /// be known.
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

    /// The channel group of a session that begins with an event without evidence and would else be `otherwise`; none
    /// when it cannot be known.
    pub(crate) fn inherited(&self, (earliest, latest): Bounds, otherwise: Group) -> Option<Group> {
        let Some(Touch { group, at: (from, to) }) = self.touch else { return Some(otherwise) };
        let (least, most) = (earliest - to, latest - from);
        if most < 0 || least > TOUCH_MS {
            Some(otherwise)
        } else if least >= 0 && most <= TOUCH_MS {
            group
        } else {
            None
        }
    }

    /// Group of the session that began last, which an event without session ID joins.
    pub(crate) fn session_group(&self, otherwise: Group) -> Group {
        self.session_group.unwrap_or(otherwise)
    }

    /// A session has begun.
    pub(crate) fn begin_session(&mut self, group: Group) {
        self.session_group = Some(group);
    }

    /// An event that counts has happened within these bounds.
    pub(crate) fn take(&mut self, at: Bounds) {
        self.newest = Some(self.newest.map_or(at, |newest| latest_of(newest, at)));
    }

    /// An event that counts has shown where its visit came from.
    pub(crate) fn touch(&mut self, group: Group, at: Bounds) {
        if group == Group::Internal {
            return;
        }
        let touch = match self.touch {
            Some(before) if at.1 < before.at.0 => before,
            Some(before) if at.0 < before.at.1 => {
                let same = before.group.filter(|&known| known == group);
                Touch { group: same, at: latest_of(before.at, at) }
            }
            _ => Touch { group: Some(group), at },
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

    fn touched(touches: &[(Group, Bounds)]) -> Counted {
        let mut counted = Counted::default();
        for &(group, at) in touches {
            counted.touch(group, at);
        }
        counted
    }

    #[test]
    fn a_touch_is_inherited_for_thirty_days_and_never_backwards() {
        let counted = touched(&[(Group::Email, (1_000, 1_000))]);
        for (at, expected) in [
            ((1_000, 1_000), Some(Group::Email)),
            ((999, 999), Some(Group::Direct)),
            ((1_000 + 30 * DAY, 1_000 + 30 * DAY), Some(Group::Email)),
            ((1_001 + 30 * DAY, 1_001 + 30 * DAY), Some(Group::Direct)),
            ((990, 1_010), None),
            ((1_000, 1_001 + 30 * DAY), None),
        ] {
            assert_eq!(counted.inherited(at, Group::Direct), expected, "{at:?}");
        }
    }

    #[test]
    fn the_newer_touch_by_event_time_stays_and_internal_is_none() {
        let (email, sms, ads) = (Group::Email, Group::Sms, Group::Internal);
        for (touches, expected) in [
            (&[(email, (10, 10)), (sms, (10, 10))][..], Some(sms)),
            (&[(email, (10, 10)), (sms, (9, 9))], Some(email)),
            (&[(email, (10, 10)), (ads, (20, 20))], Some(email)),
            (&[(email, (10, 20)), (sms, (15, 25))], None),
            (&[(email, (10, 20)), (email, (15, 25))], Some(email)),
            (&[(email, (10, 20)), (sms, (15, 25)), (sms, (30, 30))], Some(sms)),
        ] {
            assert_eq!(touched(touches).inherited((50, 50), Group::Direct), expected, "{touches:?}");
        }
    }
}
