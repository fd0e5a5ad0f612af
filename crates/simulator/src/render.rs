//! Writes one event of a session as JSON and returns what the pipeline must count for it.

use crate::activity::Pair;
use crate::channel::Evidence;
use crate::clock::{Timing, event_time_bounds, write_time};
use crate::expected_device::Bounds;
use crate::json_text::{event_id, number, text};
use crate::names::{ChannelGroup, EventKind, EventName, Status};
use crate::session::{ClientSession, write_evidence};
use crate::truth_tally::ExpectedEvent;
use crate::world::World;

/// Largest difference between the event time that ingest computes and the one assumed here, for a device with a
/// wrong clock.
const UNCERTAIN_MS: i64 = 3_600_000;

/// When an event happens and what the client sends about it, epoch milliseconds.
struct Times {
    original: i64,
    sent_at: Option<i64>,
    event_time: i64,
    uncertain_ms: i64,
}

/// What the channel group of an event depends on.
struct Visit {
    /// Channel group of its own evidence.
    shown: Option<ChannelGroup>,
    bounds: Bounds,
    session_start: bool,
    /// Whether it has a session ID.
    has_id: bool,
}

impl World {
    /// Writes the next event of `session`. It happens at about `moment` and is sent at `now_ms`.
    pub(crate) fn write_event(
        &mut self,
        session: &mut ClientSession,
        moment: i64,
        now_ms: i64,
        out: &mut Vec<u8>,
    ) -> ExpectedEvent {
        let custom = !self.config.reject_unknown_events;
        let event = session.advance(&mut self.dice, &mut self.memory[session.number as usize], custom);
        let times = self.times(session, moment, now_ms);
        let is_test = self.dice.chance(self.config.tests);
        let kind = match (is_test, session.device.bot) {
            (true, _) => EventKind::Test,
            (false, true) => EventKind::Bot,
            (false, false) => EventKind::Event,
        };

        text(out, "{\"schema_version\":\"1-0-0\",\"event_id\":\"", "");
        event_id(out, &mut self.dice, moment);
        text(out, "\",\"event_name\":\"", event.as_str());
        text(out, "\",\"original_timestamp\":", "");
        write_time(out, times.original, session.device.time_format);
        if let Some(sent_at) = times.sent_at {
            text(out, ",\"sent_at\":", "");
            write_time(out, sent_at, session.device.time_format);
        }
        out.extend_from_slice(&session.device.identity);
        let bounds = event_time_bounds(times.original, times.sent_at, now_ms);
        let counted = &self.memory[session.number as usize].counted;
        // A library that sends no session ID sends one if it is uncertain whether a session starts without it.
        let derived = if session.device.sends_session_id { None } else { counted.starts_derived(bounds) };
        if derived.is_none() {
            text(out, ",\"session_id\":\"", &session.session_id);
            out.push(b'"');
        }
        let counts = kind == EventKind::Event;
        let new_device = counts && counted.is_new();
        let session_start = counts && derived.unwrap_or(session.id_group.is_none());
        if session.logged_in {
            number(out, ",\"user_id\":\"u", self.config.seed);
            number(out, "-", u64::from(session.device.user_id));
            out.push(b'"');
        }
        if is_test {
            text(out, ",\"is_test\":true", "");
        } else if session.device.has_index {
            number(out, ",\"event_index\":", u64::from(self.next_index(session.number)));
        }
        out.extend_from_slice(&session.place);
        let shown = self.evidence(session, event, new_device, out);
        let group = if counts {
            let visit = Visit { shown, bounds, session_start, has_id: derived.is_none() };
            self.visit(session, &visit, out)
        } else {
            ChannelGroup::Direct
        };
        let touch = self.touch(session, event, &times, out);
        self.details(session, event, moment, out);
        out.push(b'}');
        self.settle(session, event);

        ExpectedEvent {
            app: session.device.app,
            platform: session.device.platform,
            event,
            group,
            library: session.device.library,
            device: Some(session.number),
            touch,
            kind,
            original: times.original,
            sent_at: times.sent_at,
            new_device,
            session_start,
        }
    }

    fn times(&mut self, session: &mut ClientSession, moment: i64, now_ms: i64) -> Times {
        let (config, dice, device) = (&self.config, &mut self.dice, &session.device);
        if dice.chance(config.future) {
            let original = now_ms + dice.spread(600_000, 2 * 86_400_000);
            return Times { original, sent_at: None, event_time: now_ms, uncertain_ms: UNCERTAIN_MS };
        }
        if dice.chance(config.untrusted) {
            let original = moment + device.skew_ms;
            let sent_at = Some(original - dice.spread(1_000, 3_600_000));
            return Times { original, sent_at, event_time: now_ms, uncertain_ms: UNCERTAIN_MS };
        }
        let happened = if dice.chance(config.late) {
            moment - dice.spread(120_000, 6 * 3_600_000)
        } else {
            // Event times of one device never decrease, except for late events.
            let jitter = if config.timing == Timing::Now { dice.spread(20, 3_000) } else { 0 };
            session.last_ms = session.last_ms.max(moment - jitter).min(moment);
            session.last_ms
        };
        Times {
            original: happened + device.skew_ms,
            sent_at: device.sends_sent_at.then_some(now_ms + device.skew_ms),
            event_time: happened,
            uncertain_ms: if device.skew_ms == 0 { 0 } else { UNCERTAIN_MS },
        }
    }

    fn next_index(&mut self, device: u32) -> u32 {
        let memory = &mut self.memory[device as usize];
        if memory.next_index > 0 && self.dice.chance(self.config.lost) {
            memory.next_index += 1;
            self.lost += 1;
        }
        memory.next_index += 1;
        memory.next_index - 1
    }

    /// Writes evidence in addition to the page. Returns the channel group of all evidence of the event.
    fn evidence(
        &mut self,
        session: &mut ClientSession,
        event: EventName,
        new_device: bool,
        out: &mut Vec<u8>,
    ) -> Option<ChannelGroup> {
        let evidence = session.start.take().unwrap_or_default();
        write_evidence(out, &evidence, &mut self.dice);
        let store = session.device.install_source.filter(|_| is_start(event));
        if let Some((source, _)) = store {
            text(out, ",\"install_source\":\"", source);
            out.push(b'"');
        }
        // The install source is evidence only on the first event of a device.
        let store = store.filter(|_| new_device).map(|(_, group)| group);
        evidence.group(store).or(session.shown)
    }

    /// Returns the channel group of a counted event and updates what is remembered of its device.
    fn visit(&mut self, session: &mut ClientSession, visit: &Visit, out: &mut Vec<u8>) -> ChannelGroup {
        let otherwise = session.device.otherwise;
        let counted = &mut self.memory[session.number as usize].counted;
        let mut shown = visit.shown;
        let group = if visit.session_start {
            let group = shown.or_else(|| counted.inherited(visit.bounds, otherwise)).or_else(|| {
                // It is uncertain which touch is inherited, so the client sends a campaign.
                let campaign = Evidence::of_campaign(&mut self.dice);
                write_evidence(out, &campaign, &mut self.dice);
                shown = campaign.group(None);
                shown
            });
            let group = group.unwrap_or(otherwise);
            counted.begin_session(group);
            if visit.has_id {
                session.id_group = Some(group);
            }
            group
        } else if visit.has_id {
            session.id_group.unwrap_or(otherwise)
        } else {
            counted.session_group(otherwise)
        };
        if let Some(shown) = shown {
            counted.touch(shown, visit.bounds);
        }
        counted.take(visit.bounds);
        group
    }

    /// The activity of an event: always with `activity_event`, sometimes with events that activities ask for.
    fn touch(
        &mut self,
        session: &ClientSession,
        event: EventName,
        times: &Times,
        out: &mut Vec<u8>,
    ) -> Option<(Pair, Status)> {
        let share = match event {
            EventName::ActivityEvent => 1.0,
            EventName::Share | EventName::ContentPublished | EventName::VipOpened => 0.1,
            EventName::PageView | EventName::ScreenView => 0.02,
            _ => 0.0,
        };
        if !self.dice.chance(share) {
            return None;
        }
        let touch = self.activities.touch(
            &mut self.dice,
            session.device.app,
            times.event_time,
            times.uncertain_ms,
        )?;
        let (activity_id, key, _) = self.activities.pair(touch.0);
        text(out, ",\"activity_event_id\":\"", activity_id);
        text(out, "_", key);
        out.push(b'"');
        Some(touch)
    }
}

fn is_start(event: EventName) -> bool {
    matches!(event, EventName::AppOpen | EventName::FirstOpen | EventName::AppUpdated)
}
