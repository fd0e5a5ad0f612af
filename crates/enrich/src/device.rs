//! What is remembered of one device, and what an event changes about it.
//!
//! Two parts: the slow one (first day, active days, sessions) changes a few times a day, and every change is written
//! to the changelog; the fast one (newest event time) moves with every event and is found again in the events of the
//! last de-duplication window.
use prost::Message;

/// Sessions of the client that are remembered: an ID among them starts no session.
const SESSIONS: usize = 16;
/// A longer silence in event time ends a derived session.
const SESSION_GAP_MS: i64 = 30 * 60 * 1000;
const DAYS: i32 = 64;

/// An accepted event of kind `event`, as far as its device's state is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// Business day of its event time.
    pub day: i32,
    /// Event time, epoch milliseconds.
    pub time_ms: i64,
    /// Hash of the client's session ID; none when it sends none.
    pub session: Option<u64>,
    /// What a session that is derived from this event is called.
    pub own_session: u64,
}

/// What an event was to its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamps {
    /// The first one ever.
    pub is_new_device: bool,
    /// Business day of the first one ever.
    pub first_seen_day: i32,
    /// The first one of its business day.
    pub active_day: bool,
    /// The first one of its session.
    pub session_start: bool,
    /// The session that began last; its own for one that starts a session.
    pub last_session: u64,
}

/// A device between two events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    first_seen_day: i32,
    active: ActiveDays,
    sessions: Box<[u64]>,
    last_session: u64,
    latest_event_ms: i64,
}

/// What an event replaced, to undo it.
#[derive(Debug)]
pub(crate) struct Before {
    active: ActiveDays,
    /// None: they stayed.
    sessions: Option<Box<[u64]>>,
    last_session: u64,
    latest_event_ms: i64,
}

impl Device {
    /// A device by its first event.
    pub fn new(event: &Event) -> (Self, Stamps) {
        let device = Self {
            first_seen_day: event.day,
            active: ActiveDays { newest: event.day, days: 1 },
            sessions: event.session.into_iter().collect(),
            last_session: event.session.unwrap_or(event.own_session),
            latest_event_ms: event.time_ms,
        };
        let stamps = Stamps {
            is_new_device: true,
            first_seen_day: event.day,
            active_day: true,
            session_start: true,
            last_session: device.last_session,
        };
        (device, stamps)
    }

    /// Takes a later event.
    pub(crate) fn touch(&mut self, event: &Event) -> (Stamps, Before) {
        let mut before = Before {
            active: self.active,
            sessions: None,
            last_session: self.last_session,
            latest_event_ms: self.latest_event_ms,
        };
        let active_day = self.active.insert(event.day);
        let session_start = match event.session {
            Some(session) if self.sessions.contains(&session) => false,
            Some(session) => {
                let forgotten = (self.sessions.len() + 1).saturating_sub(SESSIONS);
                let kept = self.sessions[forgotten..].iter().copied();
                let sessions = kept.chain([session]).collect();
                before.sessions = Some(std::mem::replace(&mut self.sessions, sessions));
                self.last_session = session;
                true
            }
            None if event.time_ms.saturating_sub(self.latest_event_ms) > SESSION_GAP_MS => {
                self.last_session = event.own_session;
                true
            }
            None => false,
        };
        self.latest_event_ms = self.latest_event_ms.max(event.time_ms);
        let stamps = Stamps {
            is_new_device: false,
            first_seen_day: self.first_seen_day,
            active_day,
            session_start,
            last_session: self.last_session,
        };
        (stamps, before)
    }

    pub(crate) fn undo(&mut self, before: Before) {
        self.active = before.active;
        if let Some(sessions) = before.sessions {
            self.sessions = sessions;
        }
        self.last_session = before.last_session;
        self.latest_event_ms = before.latest_event_ms;
    }

    /// An event that is part of the state already happened at this time.
    pub(crate) fn seen_at(&mut self, time_ms: i64) {
        self.latest_event_ms = self.latest_event_ms.max(time_ms);
    }

    /// The newest event time so far, epoch milliseconds.
    pub fn latest_event_ms(&self) -> i64 {
        self.latest_event_ms
    }

    /// The newest business day it had an event on.
    pub fn newest_day(&self) -> i32 {
        self.active.newest
    }

    /// Bytes of memory beside the value itself.
    pub fn heap_bytes(&self) -> usize {
        std::mem::size_of_val(&*self.sessions)
    }

    /// As a record of `enrich-state`.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let state = DeviceState {
            first_seen_day: self.first_seen_day,
            active_any: Some(ActiveDaysState { newest_day: self.active.newest, days: self.active.days }),
            sessions: self.sessions.to_vec(),
            last_session: self.last_session,
            latest_event_time: self.latest_event_ms,
        };
        into.clear();
        // Writing to a Vec cannot run out of room.
        let _ = state.encode(into);
    }

    /// From a record of `enrich-state`.
    ///
    /// # Errors
    /// The bytes are no DeviceState.
    pub fn decode(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let state = DeviceState::decode(bytes)?;
        let active = state.active_any.unwrap_or_default();
        Ok(Self {
            first_seen_day: state.first_seen_day,
            active: ActiveDays { newest: active.newest_day, days: active.days },
            sessions: state.sessions.into_boxed_slice(),
            last_session: state.last_session,
            latest_event_ms: state.latest_event_time,
        })
    }
}

/// The last 64 days up to the newest active one, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ActiveDays {
    newest: i32,
    /// Bit i: day `newest - i`.
    days: u64,
}

impl ActiveDays {
    /// Adds a day and says whether it was missing. Days too old for the bitmap count as there.
    fn insert(&mut self, day: i32) -> bool {
        let age = i64::from(self.newest) - i64::from(day);
        if age < 0 {
            let shift = -age;
            self.days = if shift < i64::from(DAYS) { self.days << shift | 1 } else { 1 };
            self.newest = day;
            return true;
        }
        if age >= i64::from(DAYS) {
            return false;
        }
        let missing = self.days & 1 << age == 0;
        self.days |= 1 << age;
        missing
    }
}

#[derive(Clone, PartialEq, Message)]
struct DeviceState {
    #[prost(sint32, tag = "1")]
    first_seen_day: i32,
    #[prost(message, optional, tag = "2")]
    active_any: Option<ActiveDaysState>,
    #[prost(fixed64, repeated, tag = "3")]
    sessions: Vec<u64>,
    #[prost(fixed64, tag = "4")]
    last_session: u64,
    #[prost(sint64, tag = "5")]
    latest_event_time: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ActiveDaysState {
    #[prost(sint32, tag = "1")]
    newest_day: i32,
    #[prost(fixed64, tag = "2")]
    days: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost_reflect::{DescriptorPool, DynamicMessage, Value};
    use std::collections::BTreeSet;

    const MINUTE: i64 = 60_000;

    fn event(time_ms: i64, session: Option<u64>) -> Event {
        Event { day: time_ms.div_euclid(86_400_000) as i32, time_ms, session, own_session: time_ms as u64 }
    }

    /// Which of these events start a session.
    fn starts(events: &[(i64, Option<u64>)]) -> Vec<bool> {
        let mut events = events.iter().map(|&(minutes, session)| event(minutes * MINUTE, session));
        let (mut device, first) = Device::new(&events.next().unwrap());
        let later = events.map(|event| device.touch(&event).0.session_start);
        [first.session_start].into_iter().chain(later).collect()
    }

    #[test]
    fn a_session_of_the_client_counts_once_and_a_derived_one_after_thirty_silent_minutes() {
        let (a, b) = (Some(1), Some(2));
        for (name, events, expected) in [
            ("an ID and its repetition", vec![(0, a), (1, a), (600, a)], vec![true, false, false]),
            ("two IDs in turn", vec![(0, a), (1, b), (2, a), (3, b)], vec![true, true, false, false]),
            ("thirty minutes are no gap", vec![(0, None), (30, None), (61, None)], vec![true, false, true]),
            (
                "late events move nothing",
                vec![(100, None), (10, None), (125, None)],
                vec![true, false, false],
            ),
            ("no split at midnight", vec![(1439, None), (1441, None)], vec![true, false]),
            (
                "an event without ID inside one with",
                vec![(0, a), (10, None), (11, a)],
                vec![true, false, false],
            ),
        ] {
            assert_eq!(starts(&events), expected, "{name}");
        }
    }

    #[test]
    fn sixteen_sessions_are_remembered() {
        let mut events: Vec<_> = (0..17).map(|at| (at, Some(at as u64))).collect();
        events.extend([(20, Some(1)), (21, Some(0)), (22, Some(16))]);
        let found = starts(&events);
        assert!(found[..17].iter().all(|&start| start));
        assert_eq!(found[17..], [false, true, false], "the second is still known, the first is not");
    }

    fn sample() -> Device {
        let (mut device, _) = Device::new(&event(5 * 86_400_000 + 7, Some(11)));
        device.touch(&event(7 * 86_400_000, None));
        device
    }

    #[test]
    fn what_is_written_is_what_the_published_schema_says() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        let schemas = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas");
        let files = protox::compile(["device_state.proto"], [schemas]).unwrap();
        let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
        let descriptor = pool.get_message_by_name("millrace.v1.DeviceState").unwrap();
        let state = DynamicMessage::decode(descriptor, bytes.as_slice()).unwrap();
        let field = |name: &str| state.get_field_by_name(name).unwrap().into_owned();
        assert_eq!(field("first_seen_day"), Value::I32(5));
        let active = field("active_any");
        let active = active.as_message().unwrap();
        assert_eq!(*active.get_field_by_name("newest_day").unwrap(), Value::I32(7));
        assert_eq!(*active.get_field_by_name("days").unwrap(), Value::U64(0b101));
        assert_eq!(field("sessions"), Value::List(vec![Value::U64(11)]));
        assert_eq!(field("last_session"), Value::U64(7 * 86_400_000));
        assert_eq!(field("latest_event_time"), Value::I64(7 * 86_400_000));
        assert_eq!(state.unknown_fields().count(), 0);
        assert_eq!(Device::decode(&bytes).unwrap(), sample());
    }

    #[test]
    fn bytes_that_are_no_device_are_an_error_and_fields_of_a_newer_program_are_none() {
        assert!(Device::decode(&[0x0a, 0xff]).is_err());
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        bytes.extend([0xf8, 0x01, 0x01]); // field 31, a number
        assert_eq!(Device::decode(&bytes).unwrap(), sample());
    }

    proptest! {
        #[test]
        fn in_any_order_every_day_is_new_exactly_once(first in 0..100_i32, days in prop::collection::vec(0..100_i32, 0..300)) {
            let at = |day: i32| event(i64::from(day) * 86_400_000, None);
            let (mut device, _) = Device::new(&at(first));
            let mut seen = BTreeSet::from([first]);
            for day in days {
                let newest = *seen.last().unwrap();
                let expected = newest - day < DAYS && !seen.contains(&day);
                let (stamps, _) = device.touch(&at(day));
                prop_assert_eq!(stamps.active_day, expected, "day {} of {:?}", day, seen);
                prop_assert_eq!(stamps.first_seen_day, first);
                if newest - day < DAYS {
                    seen.insert(day);
                }
            }
            let expected: BTreeSet<i32> = seen.iter().copied().filter(|day| seen.last().unwrap() - day < DAYS).collect();
            let found: BTreeSet<i32> =
                (0..DAYS).filter(|age| device.active.days >> age & 1 == 1).map(|age| device.active.newest - age).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn what_was_undone_never_happened(events in prop::collection::vec((0..5000_i64, prop::option::of(0..20_u64)), 1..60)) {
            let (mut device, _) = Device::new(&event(0, None));
            for (minutes, session) in events {
                let untouched = device.clone();
                let (_, before) = device.touch(&event(minutes * MINUTE, session));
                let touched = device.clone();
                device.undo(before);
                prop_assert_eq!(&device, &untouched);
                device = touched;
            }
        }

        #[test]
        fn sessions_are_those_of_a_plain_list(events in prop::collection::vec((0..300_i64, prop::option::of(0..30_u64)), 1..200)) {
            let mut last: Vec<u64> = Vec::new();
            let mut latest: Option<i64> = None;
            let expected: Vec<bool> = events.iter().map(|&(minute, session)| {
                let start = match session {
                    Some(id) => {
                        let new = !last[last.len().saturating_sub(16)..].contains(&id);
                        if new { last.push(id); }
                        new
                    }
                    None => latest.is_none_or(|latest| minute - latest > 30),
                };
                latest = latest.max(Some(minute));
                start
            }).collect();
            prop_assert_eq!(starts(&events), expected);
        }
    }
}
