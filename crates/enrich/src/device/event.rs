//! An event as the state of its device depends on it.
//!
//! A restore can rebuild only part of an event from `enriched-events`: a session ID or an install source found there
//! may be a stamp of enrich's own. That part is a type of its own, [`FastEvent`], and the fast part of a device depends
//! on nothing else.
use super::{commerce::CommerceEvent, playback::PlaybackEvent, sessions::Visit, touch::EventChannels};

/// An accepted event of kind `event`.
#[derive(Debug, Clone, Copy)]
pub struct DeviceEvent<'a> {
    /// What the fast part depends on.
    pub fast: FastEvent<'a>,
    /// Business day of the event time, in days since 1970-01-01.
    pub day: i32,
    /// Hash of the client's session ID; None when it sends none.
    pub session: Option<u64>,
    /// What the channel rules decide about it.
    pub channels: EventChannels<'a>,
    /// Its own install source; '' when it has none.
    pub install_source: &'a str,
    /// Steps of definitions of active that it fulfils, one bit each.
    pub fulfilled_steps: u64,
    /// An order or a VIP page.
    pub commerce: Option<CommerceEvent<'a>>,
}

/// The part of an event that moves the fast part of its device. The stream and a restore build the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FastEvent<'a> {
    /// Event time, epoch milliseconds.
    pub time_ms: i64,
    /// When the broker received it, epoch milliseconds.
    pub received_ms: i64,
    /// Identifies it among the events of its device. A session derived from it has this ID.
    pub id: u64,
    /// `event_number`: the client's index plus 1; 0 when it sends none.
    pub number: i64,
    /// Its playback, when it is an event of one.
    pub playback: Option<PlaybackEvent>,
    /// The activity it touches with status `ok`.
    pub touched_activity: Option<&'a str>,
}

impl<'a> DeviceEvent<'a> {
    /// An event that has only a time and a channel.
    pub fn at(day: i32, time_ms: i64, channels: EventChannels<'a>) -> Self {
        let fast = FastEvent {
            time_ms,
            received_ms: time_ms,
            id: time_ms as u64,
            number: 0,
            playback: None,
            touched_activity: None,
        };
        Self { fast, day, session: None, channels, install_source: "", fulfilled_steps: 0, commerce: None }
    }

    pub(super) fn visit(&self) -> Visit {
        Visit { time_ms: self.fast.time_ms, id: self.session, derived_id: self.fast.id }
    }
}
