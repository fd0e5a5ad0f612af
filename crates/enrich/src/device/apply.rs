//! Applies an event to its device: the new state and the event's stamps.
//!
//! The order of the rules matters: the channel of a session depends on the last touch before the event, a rewatch on
//! the contents started before it.
use std::rc::Rc;

use super::{
    active::{ActiveByDefinition, ActiveDays, Definitions, FirstOf},
    activity_touch::ActivityTouch,
    commerce::CommerceStamps,
    event::{DeviceEvent, FastEvent},
    fast::Fast,
    hash::text_hash,
    playback::{PlaybackEvent, PlaybackStamps},
    sessions::Sessions,
    shared::{Shared, SharedChannel},
    state::{Device, Slow},
    touch::{EvidenceChannel, channel_of_session},
};

/// What the rules need besides device and event.
#[derive(Debug)]
pub struct DeviceContext<'a> {
    /// The definitions of active.
    pub definitions: &'a Definitions,
    /// The de-duplication window in milliseconds: a playback silent for longer is over.
    pub window_ms: i64,
    /// Where devices have their shared texts from.
    pub shared: &'a mut Shared,
}

/// What an event is to its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStamps {
    /// The device's first event ever.
    pub is_new_device: bool,
    /// Business day of the device's first event.
    pub first_seen_day: i32,
    /// What it is the first of by the definition `any`.
    pub active: FirstOf,
    /// The same by each other definition that it completes, with the definition's index.
    pub active_by_definition: Vec<(usize, FirstOf)>,
    /// The first event of its session.
    pub session_start: bool,
    /// The session it belongs to.
    pub session: u64,
    /// The channel of that session.
    pub channel: Rc<SharedChannel>,
    /// The channel of the device's first event.
    pub first_channel: Rc<SharedChannel>,
    /// The first install source known of the device.
    pub install_source: Option<Rc<str>>,
    /// Events missing before it.
    pub lost_events: i64,
    /// What it is to its playback.
    pub playback: PlaybackStamps,
    /// What it is to the device's orders.
    pub commerce: CommerceStamps,
    /// Whether it is the device's first touch of its activity.
    pub activity_first_touch: bool,
    /// The activity touched last, this event included.
    pub last_activity: Option<Rc<ActivityTouch>>,
}

/// What is decided about an event before the other rules.
#[derive(Clone, Copy)]
struct Arrival {
    is_new_device: bool,
    active: FirstOf,
    session_start: bool,
}

impl Device {
    /// Creates a device from its first event.
    pub fn new(event: &DeviceEvent<'_>, context: &mut DeviceContext<'_>) -> (Self, DeviceStamps) {
        let time_ms = event.fast.time_ms;
        let channel = channel_of_session(&event.channels, true, None, time_ms, context.shared);
        let slow = Slow {
            first_seen_day: event.day,
            active: ActiveDays::of(event.day),
            sessions: Sessions::first(event.visit(), Rc::clone(&channel)),
            first_channel: channel,
            extras: None,
        };
        let mut device = Self { slow, fast: Fast::default() };
        let arrival = Arrival { is_new_device: true, active: FirstOf::ALL, session_start: true };
        let stamps = device.apply_in_session(event, arrival, context);
        (device, stamps)
    }

    /// Applies a later event.
    pub(crate) fn apply(&mut self, event: &DeviceEvent<'_>, context: &mut DeviceContext<'_>) -> DeviceStamps {
        let active = self.slow.active.insert(event.day, context.definitions.days());
        let visit = event.visit();
        let session_start = self.slow.sessions.joined(visit, self.fast.latest_event_ms).is_none();
        if session_start {
            let touch = self.fast.touch.as_ref();
            let channel =
                channel_of_session(&event.channels, false, touch, event.fast.time_ms, context.shared);
            self.slow.sessions.start(visit, channel);
        }
        self.apply_in_session(event, Arrival { is_new_device: false, active, session_start }, context)
    }

    /// Applies the rules that follow, once day and session are decided.
    fn apply_in_session(
        &mut self,
        event: &DeviceEvent<'_>,
        arrival: Arrival,
        context: &mut DeviceContext<'_>,
    ) -> DeviceStamps {
        let Self { slow, fast } = self;
        let Arrival { is_new_device, active, session_start } = arrival;
        // The session was joined or started just now, so it is there; the fallback is never used.
        let session = slow.sessions.joined(event.visit(), i64::MAX).unwrap_or(&slow.sessions.last);
        let (session, channel) = (session.id, Rc::clone(&session.channel));
        let active_by_definition = slow.apply_definitions(event, context);
        let own_channel = event.channels.own(is_new_device);
        let fast_stamps = fast.apply(&event.fast, own_channel, context.window_ms, context.shared);
        let mut playback = fast_stamps.playback;
        if let Some(PlaybackEvent { content, .. }) = event.fast.playback
            && playback.start
            && content != 0
        {
            playback.rewatch = slow.start_content(content);
        }
        DeviceStamps {
            is_new_device,
            first_seen_day: slow.first_seen_day,
            active,
            active_by_definition,
            session_start,
            session,
            channel,
            first_channel: Rc::clone(&slow.first_channel),
            install_source: slow.apply_install_source(event.install_source, context.shared),
            lost_events: fast_stamps.lost_events,
            playback,
            commerce: slow.apply_commerce(event),
            activity_first_touch: event
                .fast
                .touched_activity
                .is_some_and(|activity| slow.touch_activity(activity)),
            last_activity: fast.activity.clone(),
        }
    }

    /// Applies an event to the fast part only: a restore has the slow part from the changelog. `own_channel` is the
    /// channel of the event's own evidence.
    pub(crate) fn restore_event(
        &mut self,
        event: &FastEvent<'_>,
        own_channel: Option<&EvidenceChannel>,
        window_ms: i64,
        shared: &mut Shared,
    ) {
        self.fast.apply(event, own_channel, window_ms, shared);
    }
}

impl Slow {
    fn apply_definitions(
        &mut self,
        event: &DeviceEvent<'_>,
        context: &mut DeviceContext<'_>,
    ) -> Vec<(usize, FirstOf)> {
        let DeviceEvent { fulfilled_steps, day, .. } = *event;
        let nothing = &ActiveByDefinition::default();
        let active = self.extras().map_or(nothing, |extras| &extras.active);
        if fulfilled_steps == 0 || !active.changes(context.definitions, fulfilled_steps, day) {
            return Vec::new();
        }
        self.extras_mut().active.apply(context.definitions, fulfilled_steps, day, context.shared)
    }

    /// Remembers that a playback of this content starts; true when one had started before.
    fn start_content(&mut self, content: u64) -> bool {
        let before = self.extras().is_some_and(|extras| extras.contents.contains(content));
        if !self.extras().is_some_and(|extras| extras.contents.is_newest(content)) {
            self.extras_mut().contents.push(content);
        }
        before
    }

    fn apply_install_source(&mut self, own: &str, shared: &mut Shared) -> Option<Rc<str>> {
        let known = self.extras().and_then(|extras| extras.install_source.clone());
        if known.is_none() && !own.is_empty() {
            let own = shared.text(own);
            self.extras_mut().install_source = Some(Rc::clone(&own));
            return Some(own);
        }
        known
    }

    fn apply_commerce(&mut self, event: &DeviceEvent<'_>) -> CommerceStamps {
        match &event.commerce {
            Some(commerce) => self.extras_mut().commerce.apply(commerce, event.fast.time_ms),
            None => CommerceStamps::default(),
        }
    }

    /// Remembers a touch of an activity; true when it is the first.
    fn touch_activity(&mut self, activity_id: &str) -> bool {
        let hash = text_hash(activity_id);
        let first = !self.extras().is_some_and(|extras| extras.activities.contains(hash));
        if !self.extras().is_some_and(|extras| extras.activities.is_newest(hash)) {
            self.extras_mut().activities.push(hash);
        }
        first
    }
}
