//! Records to devices.
use std::rc::Rc;

use event::protobuf::{
    Fields, Malformed,
    Value::{Bytes, Fixed64, Varint},
    fixed, signed, text, varints,
};

use crate::device::{
    Device, More, Slow,
    active::{ActiveDays, Defined, DefinedDays, Progress},
    activities::ActivityTouch,
    commerce::VipPage,
    fast::Fast,
    playback::{Playback, Playbacks},
    sessions::{Session, Sessions},
    shared::{Origin, OriginTexts, Shared},
    touch::Touch,
};

/// Room for the lists of one record, kept for the next: how long they are is only known behind the last field.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    channels: Vec<Rc<Origin>>,
    sessions: Vec<u64>,
    /// Of the channel of each session.
    places: Vec<u64>,
    definitions: Vec<DefinedDays>,
    playbacks: Vec<Playback>,
}

impl Lists {
    pub(super) fn device(&mut self, record: &[u8], shared: &mut Shared) -> Result<Device, Malformed> {
        self.clear();
        let (mut first_seen_day, mut active) = (0, NO_DAYS);
        let (mut last_session, mut last_place, mut first_place, mut touch) = (0, 0, 0, None);
        let mut more = More::default();
        let mut fast = Fast { latest_event_ms: 0, ..Fast::default() };
        for field in Fields(record) {
            match field? {
                (1, Varint(day)) => first_seen_day = signed(day) as i32,
                (2, Bytes(message)) => active = active_days(message)?,
                (3, Bytes(list)) => self.sessions.extend(numbers(list)?),
                (4, Fixed64(id)) => last_session = id,
                (5, Varint(ms)) => fast.latest_event_ms = signed(ms),
                (6, Bytes(message)) => self.channels.push(shared.recorded(message)?),
                (7, Bytes(list)) => {
                    for place in varints(list) {
                        self.places.push(place?);
                    }
                }
                (8, Varint(place)) => last_place = place,
                (9, Varint(place)) => first_place = place,
                (10, Bytes(message)) => touch = Some(place_and_time(message)?),
                (11, Bytes(source)) => {
                    let source = text(source)?;
                    more.install_source = (!source.is_empty()).then(|| shared.text(source));
                }
                (12, Bytes(message)) => self.definitions.push(definition(message, shared)?),
                (13, Bytes(list)) => more.contents.append(numbers(list)?),
                (14, Bytes(message)) => self.playbacks.push(playback(message)?),
                (15, Bytes(list)) => more.commerce.orders.append(numbers(list)?),
                (16, Bytes(message)) => {
                    let (entry_point, time_ms) = text_and_time(message)?;
                    more.commerce.page = Some(VipPage { entry_point: shared.text(entry_point), time_ms });
                }
                (17, Bytes(list)) => more.activities.append(numbers(list)?),
                (18, Bytes(message)) => {
                    let (activity_id, time_ms) = text_and_time(message)?;
                    let activity_id = shared.text(activity_id);
                    fast.activity = Some(Rc::new(ActivityTouch { activity_id, time_ms }));
                }
                (19, Varint(number)) => fast.event_number = number as i64,
                (20, Fixed64(event)) => fast.last_event = event,
                (1..=20, _) => return Err(Malformed::TYPE),
                // Of a newer program.
                _ => {}
            }
        }
        let Self { channels, sessions, places, definitions, playbacks } = self;
        // A record from before channels were kept names none.
        let mut channel = |place: u64| match channels.get((place as usize).wrapping_sub(1)) {
            Some(channel) => Rc::clone(channel),
            None => shared.origin(OriginTexts::default()),
        };
        places.resize(sessions.len(), 0);
        let known = sessions.drain(..).zip(places.drain(..));
        let sessions = Sessions {
            known: (known.len() > 0)
                .then(|| known.map(|(id, place)| Session { id, channel: channel(place) }).collect()),
            last: Session { id: last_session, channel: channel(last_place) },
        };
        fast.touch = touch.map(|(place, time_ms)| Touch { origin: channel(place), time_ms });
        fast.playbacks = Playbacks((!playbacks.is_empty()).then(|| playbacks.drain(..).collect()));
        more.defined = Defined((!definitions.is_empty()).then(|| definitions.drain(..).collect()));
        let slow = Slow {
            first_seen_day,
            active,
            sessions,
            first_channel: channel(first_place),
            more: (more != More::default()).then(|| Rc::new(more)),
        };
        Ok(Device { slow, fast })
    }

    /// What a record was not read to the end, or another, has left.
    fn clear(&mut self) {
        let Self { channels, sessions, places, definitions, playbacks } = self;
        channels.clear();
        sessions.clear();
        places.clear();
        definitions.clear();
        playbacks.clear();
    }
}

/// A channel of a record.
pub(super) fn channel(message: &[u8]) -> Result<OriginTexts<'_>, Malformed> {
    let mut texts = OriginTexts::default();
    for field in Fields(message) {
        match field? {
            (1, Bytes(group)) => texts.group = text(group)?,
            (2, Bytes(source)) => texts.source = text(source)?,
            (3, Bytes(medium)) => texts.medium = text(medium)?,
            (4, Bytes(campaign)) => texts.campaign = text(campaign)?,
            (5, Bytes(rule)) => texts.rule = text(rule)?,
            (1..=5, _) => return Err(Malformed::TYPE),
            _ => {}
        }
    }
    Ok(texts)
}

const NO_DAYS: ActiveDays = ActiveDays { newest: 0, days: 0 };

fn active_days(message: &[u8]) -> Result<ActiveDays, Malformed> {
    let mut active = NO_DAYS;
    for field in Fields(message) {
        match field? {
            (1, Varint(newest)) => active.newest = signed(newest) as i32,
            (2, Fixed64(days)) => active.days = days,
            (1..=2, _) => return Err(Malformed::TYPE),
            _ => {}
        }
    }
    Ok(active)
}

/// Of a `Touch`.
fn place_and_time(message: &[u8]) -> Result<(u64, i64), Malformed> {
    let (mut place, mut time_ms) = (0, 0);
    for field in Fields(message) {
        match field? {
            (1, Varint(channel)) => place = channel,
            (2, Varint(ms)) => time_ms = signed(ms),
            (1..=2, _) => return Err(Malformed::TYPE),
            _ => {}
        }
    }
    Ok((place, time_ms))
}

/// Of a `VipPage` or an `ActivityTouch`.
fn text_and_time(message: &[u8]) -> Result<(&str, i64), Malformed> {
    let (mut name, mut time_ms) = ("", 0);
    for field in Fields(message) {
        match field? {
            (1, Bytes(bytes)) => name = text(bytes)?,
            (2, Varint(ms)) => time_ms = signed(ms),
            (1..=2, _) => return Err(Malformed::TYPE),
            _ => {}
        }
    }
    Ok((name, time_ms))
}

fn definition(message: &[u8], shared: &mut Shared) -> Result<DefinedDays, Malformed> {
    let (mut name, mut active) = ("", None);
    let (mut days, mut steps): (&[u8], &[u8]) = (&[], &[]);
    for field in Fields(message) {
        match field? {
            (1, Bytes(bytes)) => name = text(bytes)?,
            (2, Bytes(message)) => active = Some(active_days(message)?),
            (3, Bytes(list)) => days = list,
            (4, Bytes(list)) => steps = list,
            (1..=4, _) => return Err(Malformed::TYPE),
            _ => {}
        }
    }
    let progress = |(day, steps_done): (Result<u64, _>, Result<u64, _>)| {
        Ok(Progress { day: signed(day?) as i32, steps_done: steps_done? as u32 })
    };
    let unfinished = varints(days).zip(varints(steps)).map(progress).collect::<Result<_, Malformed>>()?;
    Ok(DefinedDays { name: shared.text(name), active, unfinished })
}

fn playback(message: &[u8]) -> Result<Playback, Malformed> {
    let mut playback = Playback { id: 0, played_ms: 0, received_ms: 0, completed: false };
    for field in Fields(message) {
        match field? {
            (1, Fixed64(id)) => playback.id = id,
            (2, Varint(ms)) => playback.played_ms = ms as i64,
            (3, Varint(ms)) => playback.received_ms = ms as i64,
            (4, Varint(completed)) => playback.completed = completed != 0,
            (1..=4, _) => return Err(Malformed::TYPE),
            _ => {}
        }
    }
    Ok(playback)
}

fn numbers(list: &[u8]) -> Result<impl Iterator<Item = u64>, Malformed> {
    Ok(fixed(list)?.iter().map(|&number| u64::from_le_bytes(number)))
}
