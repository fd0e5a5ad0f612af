//! What is remembered of one device, and what an event is to it.
//!
//! Two parts. The slow one changes a few times a day, and every change is written to the changelog in the transaction
//! of the event that made it. The [`fast`] one moves with nearly every event and is found again in the events of the
//! last de-duplication window. Each rule has its file; this one puts them in order, because they ask each other: the
//! channel of a session depends on the last touch before it, a replay on the contents started before.
//!
//! Parts that change seldom are behind shared pointers and copied when they change, so that a copy of a device, which
//! is how an aborted transaction is undone, costs next to nothing. They are counted without atomics: a partition lives
//! on one thread.
pub mod active;
pub mod activities;
pub mod commerce;
pub(crate) mod fast;
pub mod playback;
mod recent;
mod record;
pub(crate) mod sessions;
pub mod shared;
pub mod touch;

use std::rc::Rc;

use self::{
    active::{ActiveDays, Defined, Definitions, First},
    activities::{ActivityTouch, Touched},
    commerce::{Commerce, CommerceEvent, CommerceStamps},
    fast::Fast,
    playback::{PlaybackEvent, PlaybackStamps},
    recent::{RC, Recent},
    sessions::{Sessions, Visit},
    shared::{Origin, Shared},
    touch::{Judgement, channel_of_session},
};

pub use self::record::Malformed;

/// Contents of which it is remembered that the device has started them.
type Contents = Recent<64>;

/// An accepted event of kind `event`, as far as its device's state is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Business day of its event time.
    pub day: i32,
    /// Event time, epoch milliseconds.
    pub time_ms: i64,
    /// When the broker received it, epoch milliseconds.
    pub received_ms: i64,
    /// Hash of the client's session ID; none when it sends none.
    pub session: Option<u64>,
    /// What the event is called among those of its device, and a session that is derived from it.
    pub called: u64,
    /// `event_number`: the client's index plus 1; 0 when it sends none.
    pub number: i64,
    /// What its evidence comes to.
    pub judgement: Judgement<'a>,
    /// Its own install source; '' when it has none.
    pub install_source: &'a str,
    /// Steps of definitions of active that it fulfils.
    pub fulfilled: u64,
    /// Its playback, when it is an event of one.
    pub playback: Option<PlaybackEvent>,
    /// What it has to do with orders.
    pub commerce: Option<CommerceEvent<'a>>,
    /// The activity it touches with status `ok`.
    pub touched_activity: Option<&'a str>,
}

impl<'a> Event<'a> {
    /// An event that shows nothing but its time.
    pub fn at(day: i32, time_ms: i64, judgement: Judgement<'a>) -> Self {
        Self {
            day,
            time_ms,
            received_ms: time_ms,
            session: None,
            called: time_ms as u64,
            number: 0,
            judgement,
            install_source: "",
            fulfilled: 0,
            playback: None,
            commerce: None,
            touched_activity: None,
        }
    }
}

/// What an event was to its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamps {
    /// The first one ever.
    pub is_new_device: bool,
    /// Business day of the first one ever.
    pub first_seen_day: i32,
    /// What it is the first of, for the definition `any`.
    pub active: First,
    /// The same for the other definitions it became active by, by their place.
    pub defined: Vec<(usize, First)>,
    /// The first one of its session.
    pub session_start: bool,
    /// The session it belongs to.
    pub session: u64,
    /// The channel of that session.
    pub channel: Rc<Origin>,
    /// The channel of the device's first event.
    pub first_channel: Rc<Origin>,
    /// The first install source known of the device.
    pub install_source: Option<Rc<str>>,
    /// Events that are missing before it.
    pub lost_events: i64,
    /// What it was to its playback.
    pub playback: PlaybackStamps,
    /// What it was to the device's orders.
    pub commerce: CommerceStamps,
    /// The first touch of its activity.
    pub activity_first_touch: bool,
    /// The activity touched last, this event included.
    pub last_activity: Option<Rc<ActivityTouch>>,
}

/// What devices are held against, and what they share.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The definitions of active.
    pub definitions: &'a Definitions,
    /// The de-duplication window in milliseconds: a playback silent for longer is over.
    pub window_ms: i64,
    /// Where texts come from that devices keep.
    pub shared: &'a mut Shared,
}

/// A device between two events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    slow: Slow,
    fast: Fast,
}

/// What is written with every change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slow {
    first_seen_day: i32,
    active: ActiveDays,
    sessions: Sessions,
    first_channel: Rc<Origin>,
    /// What many devices have nothing of.
    more: Option<Rc<More>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct More {
    install_source: Option<Rc<str>>,
    defined: Defined,
    contents: Contents,
    commerce: Commerce,
    activities: Touched,
}

impl Device {
    /// A device by its first event.
    pub fn new(event: &Event<'_>, around: &mut Surroundings<'_>) -> (Self, Stamps) {
        let channel = channel_of_session(&event.judgement, true, None, event.time_ms, around.shared);
        let slow = Slow {
            first_seen_day: event.day,
            active: ActiveDays::of(event.day),
            sessions: Sessions::first(event.visit(), Rc::clone(&channel)),
            first_channel: channel,
            more: None,
        };
        let mut device = Self { slow, fast: Fast::default() };
        let first = First { day: true, week: true, month: true };
        let stamps = device.take(event, true, first, true, around);
        (device, stamps)
    }

    /// Takes a later event.
    pub(crate) fn touch(&mut self, event: &Event<'_>, around: &mut Surroundings<'_>) -> Stamps {
        let active = self.slow.active.insert(event.day);
        let visit = event.visit();
        let starts = self.slow.sessions.joined(visit, self.fast.latest_event_ms).is_none();
        if starts {
            let touch = self.fast.touch.as_ref();
            let channel = channel_of_session(&event.judgement, false, touch, event.time_ms, around.shared);
            self.slow.sessions.start(visit, channel);
        }
        self.take(event, false, active, starts, around)
    }

    /// Everything behind day and session, which are decided.
    fn take(
        &mut self,
        event: &Event<'_>,
        is_new_device: bool,
        active: First,
        session_start: bool,
        around: &mut Surroundings<'_>,
    ) -> Stamps {
        let Self { slow, fast } = self;
        // Just taken or joined: it is there, and the fallback never needed.
        let session = slow.sessions.joined(event.visit(), i64::MAX).unwrap_or(&slow.sessions.last);
        let (session, channel) = (session.id, Rc::clone(&session.channel));
        let defined = slow.defined(event, around);
        let of_fast = fast.take(event, is_new_device, around.window_ms, around.shared);
        let mut playback = of_fast.playback;
        if let Some(PlaybackEvent { content, .. }) = event.playback
            && playback.start
            && content != 0
        {
            playback.replay = slow.starts(content);
        }
        Stamps {
            is_new_device,
            first_seen_day: slow.first_seen_day,
            active,
            defined,
            session_start,
            session,
            channel,
            first_channel: Rc::clone(&slow.first_channel),
            install_source: slow.install_source(event.install_source, around.shared),
            lost_events: of_fast.lost_events,
            playback,
            commerce: slow.commerce(event),
            activity_first_touch: event.touched_activity.is_some_and(|activity| slow.touches(activity)),
            last_activity: fast.activity.clone(),
        }
    }

    /// Takes an event once more that the record of the slow part already knows.
    pub(crate) fn replay(
        &mut self,
        event: &Event<'_>,
        is_new_device: bool,
        window_ms: i64,
        shared: &mut Shared,
    ) {
        self.fast.take(event, is_new_device, window_ms, shared);
    }

    pub(crate) fn fast(&self) -> &Fast {
        &self.fast
    }

    pub(crate) fn set_fast(&mut self, fast: Fast) {
        self.fast = fast;
    }

    /// Whether the other one, an earlier copy, needs another record.
    pub(crate) fn differs_slowly(&self, other: &Self) -> bool {
        self.slow != other.slow
    }

    /// The newest business day it had an event on.
    pub fn newest_day(&self) -> i32 {
        self.slow.active.newest
    }

    /// Bytes of memory beside the value itself, without what devices share.
    pub fn heap_bytes(&self) -> usize {
        let more = self.slow.more.as_ref().map_or(0, |more| RC + size_of::<More>() + more.heap_bytes());
        let activity = self.fast.activity.as_ref().map_or(0, |_| RC + size_of::<ActivityTouch>());
        self.slow.sessions.heap_bytes() + more + activity + self.fast.playbacks.heap_bytes()
    }
}

impl Event<'_> {
    fn visit(&self) -> Visit {
        Visit { time_ms: self.time_ms, id: self.session, derived: self.called }
    }
}

impl Slow {
    fn known(&self) -> Option<&More> {
        self.more.as_deref()
    }

    fn change(&mut self) -> &mut More {
        Rc::make_mut(self.more.get_or_insert_default())
    }

    fn defined(&mut self, event: &Event<'_>, around: &mut Surroundings<'_>) -> Vec<(usize, First)> {
        let Event { fulfilled, day, .. } = *event;
        let nothing = &Defined::default();
        let defined = self.known().map_or(nothing, |more| &more.defined);
        if fulfilled == 0 || !defined.moves(around.definitions, fulfilled, day) {
            return Vec::new();
        }
        self.change().defined.take(around.definitions, fulfilled, day, around.shared)
    }

    /// Notes that a playback of this content starts, and says whether one had before.
    fn starts(&mut self, content: u64) -> bool {
        let before = self.known().is_some_and(|more| more.contents.contains(content));
        if !self.known().is_some_and(|more| more.contents.is_newest(content)) {
            self.change().contents.push(content);
        }
        before
    }

    fn install_source(&mut self, own: &str, shared: &mut Shared) -> Option<Rc<str>> {
        let known = self.known().and_then(|more| more.install_source.clone());
        if known.is_none() && !own.is_empty() {
            let own = shared.text(own);
            self.change().install_source = Some(Rc::clone(&own));
            return Some(own);
        }
        known
    }

    fn commerce(&mut self, event: &Event<'_>) -> CommerceStamps {
        match &event.commerce {
            Some(commerce) => self.change().commerce.take(commerce, event.time_ms),
            None => CommerceStamps::default(),
        }
    }

    /// Notes a touch of an activity, and says whether it is the first.
    fn touches(&mut self, activity_id: &str) -> bool {
        let hash = hash(activity_id);
        let first = !self.known().is_some_and(|more| more.activities.contains(hash));
        if !self.known().is_some_and(|more| more.activities.is_newest(hash)) {
            self.change().activities.push(hash);
        }
        first
    }
}

impl More {
    fn heap_bytes(&self) -> usize {
        let Self { install_source: _, defined, contents, commerce, activities } = self;
        defined.heap_bytes() + contents.heap_bytes() + commerce.heap_bytes() + activities.heap_bytes()
    }
}

/// How texts of the client are told apart in a device's memory; part of the changelog's format.
pub fn hash(text: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(text.as_bytes())
}
