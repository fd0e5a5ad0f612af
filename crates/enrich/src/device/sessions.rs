//! Sessions: those that the client names by an ID, and those derived from silence where it names none.
//!
//! An ID that is not among the last 16 starts a session. An event without an ID belongs to the session that started
//! last, unless its event time is more than 30 minutes after the latest so far: then it starts a session. Midnight ends
//! no session. A session keeps the channel it started with.
use std::rc::Rc;

use super::{heap::RC_COUNTERS, shared::SharedChannel};

/// Most session IDs that are remembered.
const MAX_KNOWN: usize = 16;
/// A longer silence in event time ends a derived session.
const SESSION_GAP_MS: i64 = 30 * 60 * 1000;

/// A session of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// Hash of the client's ID; of a derived session the ID of its first event.
    pub(crate) id: u64,
    pub(crate) channel: Rc<SharedChannel>,
}

/// The sessions of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sessions {
    /// The newest sessions that the client named, oldest first.
    pub(crate) known: Option<Rc<[Session]>>,
    /// The session that started last.
    pub(crate) last: Session,
}

/// What decides the session of an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit {
    pub(crate) time_ms: i64,
    /// Hash of the client's ID.
    pub(crate) id: Option<u64>,
    /// ID of a session derived from this event.
    pub(crate) derived_id: u64,
}

impl Sessions {
    /// The sessions of a device after its first event.
    pub(crate) fn first(visit: Visit, channel: Rc<SharedChannel>) -> Self {
        let last = Session { id: visit.id.unwrap_or(visit.derived_id), channel };
        Self { known: visit.id.map(|_| Rc::from([last.clone()])), last }
    }

    /// The session that an event belongs to; None when it starts one.
    pub(crate) fn joined(&self, visit: Visit, latest_event_ms: i64) -> Option<&Session> {
        match visit.id {
            Some(id) => self.known().iter().find(|session| session.id == id),
            None if visit.time_ms.saturating_sub(latest_event_ms) > SESSION_GAP_MS => None,
            None => Some(&self.last),
        }
    }

    /// Starts the session of an event.
    pub(crate) fn start(&mut self, visit: Visit, channel: Rc<SharedChannel>) {
        self.last = Session { id: visit.id.unwrap_or(visit.derived_id), channel };
        if visit.id.is_some() {
            let known = self.known();
            let pushed_out = (known.len() + 1).saturating_sub(MAX_KNOWN);
            self.known = Some(known[pushed_out..].iter().chain([&self.last]).cloned().collect());
        }
    }

    pub(crate) fn known(&self) -> &[Session] {
        self.known.as_deref().unwrap_or_default()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.known.as_ref().map_or(0, |known| RC_COUNTERS + size_of_val(&**known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::shared::{ChannelTexts, Shared};
    use proptest::prelude::*;

    const MINUTE: i64 = 60_000;

    /// The session of each event, and whether the event starts it.
    fn visits(events: &[(i64, Option<u64>)]) -> Vec<(u64, bool)> {
        let mut latest = i64::MIN;
        let mut sessions: Option<Sessions> = None;
        let mut found = Vec::new();
        for (number, &(minutes, id)) in (1000..).zip(events) {
            let visit = Visit { time_ms: minutes * MINUTE, id, derived_id: number };
            let channel = Shared::default()
                .channel(ChannelTexts { source: &number.to_string(), ..ChannelTexts::default() });
            let joined = sessions.as_ref().and_then(|sessions| sessions.joined(visit, latest)).cloned();
            let is_start = joined.is_none();
            let session = match (joined, &mut sessions) {
                (Some(session), _) => session,
                (None, Some(sessions)) => {
                    sessions.start(visit, channel);
                    sessions.last.clone()
                }
                (None, none) => none.insert(Sessions::first(visit, channel)).last.clone(),
            };
            latest = latest.max(visit.time_ms);
            assert_eq!(
                is_start,
                *session.channel.source == *number.to_string(),
                "a session keeps its channel"
            );
            found.push((session.id, is_start));
        }
        found
    }

    fn starts(events: &[(i64, Option<u64>)]) -> Vec<bool> {
        visits(events).into_iter().map(|(_, is_start)| is_start).collect()
    }

    #[test]
    fn a_session_of_the_client_counts_once_and_a_derived_one_after_thirty_silent_minutes() {
        let (a, b) = (Some(1), Some(2));
        for (name, events, expected) in [
            ("an ID and its repetition", vec![(0, a), (1, a), (600, a)], vec![true, false, false]),
            ("two IDs in turn", vec![(0, a), (1, b), (2, a), (3, b)], vec![true, true, false, false]),
            ("thirty minutes are no gap", vec![(0, None), (30, None), (61, None)], vec![true, false, true]),
            (
                "late events change nothing",
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
    fn an_event_joins_the_session_of_its_id_or_the_one_that_started_last() {
        let found = visits(&[
            (0, Some(1)),
            (1, Some(2)),
            (2, Some(1)),
            (3, None),
            (40, None),
            (41, Some(2)),
            (42, None),
        ]);
        let ids: Vec<u64> = found.iter().map(|&(id, _)| id).collect();
        assert_eq!(ids, [1, 2, 1, 2, 1004, 2, 1004]);
    }

    #[test]
    fn sixteen_sessions_are_remembered() {
        let mut events: Vec<_> = (0..17).map(|at| (at, Some(at as u64))).collect();
        events.extend([(20, Some(1)), (21, Some(0)), (22, Some(16))]);
        let found = starts(&events);
        assert!(found[..17].iter().all(|&start| start));
        assert_eq!(found[17..], [false, true, false], "the second is still known, the first is not");
    }

    proptest! {
        #[test]
        fn sessions_are_those_of_a_naive_list(events in prop::collection::vec((0..300_i64, prop::option::of(0..30_u64)), 1..200)) {
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
