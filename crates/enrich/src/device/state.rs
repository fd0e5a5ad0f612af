//! The state of a device: its slow and its fast part.
//!
//! `apply` changes it, `record` reads and writes it. Fields that are empty for many devices are behind one pointer, and
//! lists are slices of exact length: a device that has used everything takes 652 bytes instead of 988, a visitor who came once
//! about 250.
use std::rc::Rc;

use super::{
    active::{ActiveByDefinition, ActiveDays},
    activity_touch::{ActivityTouch, TouchedActivities},
    commerce::Commerce,
    fast::Fast,
    heap::RC_COUNTERS,
    recent::Recent,
    sessions::Sessions,
    shared::SharedChannel,
};

/// A device between two events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub(super) slow: Slow,
    pub(super) fast: Fast,
}

/// The slow part: every change of it goes to the changelog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slow {
    pub(super) first_seen_day: i32,
    pub(super) active: ActiveDays,
    pub(super) sessions: Sessions,
    pub(super) first_channel: Rc<SharedChannel>,
    pub(super) extras: Option<Rc<Extras>>,
}

/// Fields of the slow part that are empty for many devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extras {
    pub(super) install_source: Option<Rc<str>>,
    pub(super) active: ActiveByDefinition,
    pub(super) contents: StartedContents,
    pub(super) commerce: Commerce,
    pub(super) activities: TouchedActivities,
}

/// Contents of which the device has started a playback, by hash.
pub(super) type StartedContents = Recent<64>;

impl Device {
    pub(crate) fn fast(&self) -> &Fast {
        &self.fast
    }

    pub(crate) fn set_fast(&mut self, fast: Fast) {
        self.fast = fast;
    }

    /// Whether an earlier copy of this device has another slow part, so that the changelog needs a new record.
    pub(crate) fn slow_differs(&self, earlier: &Self) -> bool {
        self.slow != earlier.slow
    }

    /// The newest business day on which it had an event.
    pub(crate) fn newest_day(&self) -> i32 {
        self.slow.active.newest
    }

    /// When something was received from it last, epoch milliseconds.
    pub(crate) fn received_ms(&self) -> i64 {
        self.fast.received_ms
    }

    /// Counts as received at this time at least: an event of a raw partition that lags behind others may be older than the
    /// horizon of the partition, and its device is not forgotten for that.
    pub(crate) fn received_at_least(&mut self, received_ms: i64) {
        self.fast.received_ms = self.fast.received_ms.max(received_ms);
    }

    /// Bytes on the heap, without the values that devices share.
    pub(crate) fn heap_bytes(&self) -> usize {
        let extras = self.slow.extras.as_ref();
        let extras = extras.map_or(0, |extras| RC_COUNTERS + size_of::<Extras>() + extras.heap_bytes());
        let activity = self.fast.activity.as_ref().map_or(0, |_| RC_COUNTERS + size_of::<ActivityTouch>());
        let Slow { sessions, active, .. } = &self.slow;
        sessions.heap_bytes() + active.heap_bytes() + extras + activity + self.fast.playbacks.heap_bytes()
    }
}

impl Slow {
    pub(super) fn extras(&self) -> Option<&Extras> {
        self.extras.as_deref()
    }

    pub(super) fn extras_mut(&mut self) -> &mut Extras {
        Rc::make_mut(self.extras.get_or_insert_default())
    }
}

impl Extras {
    fn heap_bytes(&self) -> usize {
        let Self { install_source: _, active, contents, commerce, activities } = self;
        active.heap_bytes() + contents.heap_bytes() + commerce.heap_bytes() + activities.heap_bytes()
    }
}
