//! Reads a device from a record of the changelog.
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::rc::Rc;

use event::protobuf::{
    Fields, Malformed,
    WireValue::{Bytes, Fixed64, Varint},
    fixed, signed, text, varints,
};

use crate::device::{
    active::{ActiveByDefinition, ActiveDays, DefinitionState, UnfinishedDay},
    activity_touch::ActivityTouch,
    channel_texts::ChannelTexts,
    commerce::VipPage,
    fast::Fast,
    playback::{Playback, Playbacks},
    sessions::{Session, Sessions},
    shared::{Shared, SharedChannel, cut},
    state::{Device, Extras, Slow},
    touch::Touch,
};

/// Reads the records of a restore one after the other. It keeps what makes the next record cheaper, so it is dropped
/// when the restore ends.
#[derive(Debug, Default)]
pub(crate) struct RecordReader {
    /// Channels by their message: few of millions are decoded.
    known_channels: HashMap<Box<[u8]>, Rc<SharedChannel>, RandomState>,
    /// Bytes of the messages of the known channels.
    known_bytes: usize,
    lists: Lists,
}

/// Most bytes of the messages of the known channels. Beyond them, channels are decoded again.
const MAX_KNOWN_BYTES: usize = 4 * 1024 * 1024;

/// Buffers for the lists of one record: their lengths are known only behind the last field.
#[derive(Debug, Default)]
struct Lists {
    channels: Vec<Rc<SharedChannel>>,
    sessions: Vec<u64>,
    /// Place of the channel of each session.
    places: Vec<u64>,
    definitions: Vec<DefinitionState>,
    playbacks: Vec<Playback>,
}

impl RecordReader {
    /// The device of a record.
    ///
    /// # Errors
    /// The bytes are no `DeviceState`.
    pub(crate) fn read(&mut self, record: &[u8], shared: &mut Shared) -> Result<Device, Malformed> {
        if self.known_bytes > MAX_KNOWN_BYTES {
            (self.known_channels, self.known_bytes) = Default::default();
        }
        let Self { known_channels, known_bytes, lists } = self;
        lists.clear();
        let Lists { channels, sessions, places, definitions, playbacks } = lists;
        let (mut first_seen_day, mut active) = (0, NO_DAYS);
        let (mut last_session, mut last_place, mut first_place, mut touch) = (0, 0, 0, None);
        let mut extras = Extras::default();
        let mut fast = Fast { latest_event_ms: 0, received_ms: 0, ..Fast::default() };
        for field in Fields(record) {
            match field? {
                (1, Varint(day)) => first_seen_day = signed(day) as i32,
                (2, Bytes(message)) => active = active_days(message)?,
                (3, Bytes(list)) => sessions.extend(numbers(list)?),
                (4, Fixed64(id)) => last_session = id,
                (5, Varint(ms)) => fast.latest_event_ms = signed(ms),
                (6, Bytes(message)) => {
                    let channel = channel(message, known_channels, shared, known_bytes)?;
                    channels.push(channel);
                }
                (7, Bytes(list)) => {
                    for place in varints(list) {
                        places.push(place?);
                    }
                }
                (8, Varint(place)) => last_place = place,
                (9, Varint(place)) => first_place = place,
                (10, Bytes(message)) => touch = Some(place_and_time(message)?),
                (11, Bytes(source)) => {
                    let source = text(source)?;
                    extras.install_source = (!source.is_empty()).then(|| shared.text(source));
                }
                (12, Bytes(message)) => definitions.push(definition(message, shared)?),
                (13, Bytes(list)) => extras.contents.append(numbers(list)?),
                (14, Bytes(message)) => playbacks.push(playback(message)?),
                (15, Bytes(list)) => extras.commerce.orders.append(numbers(list)?),
                (16, Bytes(message)) => {
                    let (entry_point, time_ms) = text_and_time(message)?;
                    extras.commerce.page = Some(VipPage { entry_point: cut(entry_point).into(), time_ms });
                }
                (17, Bytes(list)) => extras.activities.append(numbers(list)?),
                (18, Bytes(message)) => {
                    let (activity_id, time_ms) = text_and_time(message)?;
                    let activity_id = shared.text(activity_id);
                    fast.activity = Some(Rc::new(ActivityTouch { activity_id, time_ms }));
                }
                (19, Varint(number)) => fast.event_number = number as i64,
                (20, Fixed64(event)) => fast.last_event = event,
                (21, Varint(ms)) => fast.received_ms = signed(ms),
                (1..=21, _) => return Err(Malformed::TYPE),
                // A field of a newer version.
                _ => {}
            }
        }
        // A record written before the time of receipt was kept has none.
        if fast.received_ms == 0 {
            fast.received_ms = fast.latest_event_ms;
        }
        // A record written before channels were kept has none.
        let mut channel_at = |place: u64| match channels.get((place as usize).wrapping_sub(1)) {
            Some(channel) => Rc::clone(channel),
            None => shared.channel(ChannelTexts::default()),
        };
        places.resize(sessions.len(), 0);
        let known = sessions.drain(..).zip(places.drain(..));
        let sessions = Sessions {
            known: (known.len() > 0)
                .then(|| known.map(|(id, place)| Session { id, channel: channel_at(place) }).collect()),
            last: Session { id: last_session, channel: channel_at(last_place) },
        };
        fast.touch = touch.map(|(place, time_ms)| Touch { channel: channel_at(place), time_ms });
        fast.playbacks = Playbacks((!playbacks.is_empty()).then(|| playbacks.drain(..).collect()));
        extras.active =
            ActiveByDefinition((!definitions.is_empty()).then(|| definitions.drain(..).collect()));
        let slow = Slow {
            first_seen_day,
            active,
            sessions,
            first_channel: channel_at(first_place),
            extras: (extras != Extras::default()).then(|| Rc::new(extras)),
        };
        Ok(Device { slow, fast })
    }
}

impl RecordReader {
    /// Bytes of memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.known_channels.allocation_size() + self.known_bytes
    }
}

impl Lists {
    /// Removes what the record before has left.
    fn clear(&mut self) {
        let Self { channels, sessions, places, definitions, playbacks } = self;
        channels.clear();
        sessions.clear();
        places.clear();
        definitions.clear();
        playbacks.clear();
    }
}

fn channel(
    message: &[u8],
    known: &mut HashMap<Box<[u8]>, Rc<SharedChannel>, RandomState>,
    shared: &mut Shared,
    known_bytes: &mut usize,
) -> Result<Rc<SharedChannel>, Malformed> {
    if let Some(channel) = known.get(message) {
        return Ok(Rc::clone(channel));
    }
    let channel = shared.channel(ChannelTexts::decode(message)?);
    if message.len() <= MAX_KNOWN_CHANNEL {
        *known_bytes += message.len();
        known.insert(message.into(), Rc::clone(&channel));
    }
    Ok(channel)
}

/// A longer message was written before the texts of channels were cut, and is decoded each time.
const MAX_KNOWN_CHANNEL: usize = 4096;

const NO_DAYS: ActiveDays = ActiveDays { newest: 0, days: 0, older: None };

fn active_days(message: &[u8]) -> Result<ActiveDays, Malformed> {
    let mut active = NO_DAYS;
    for field in Fields(message) {
        match field? {
            (1, Varint(newest)) => active.newest = signed(newest) as i32,
            (2, Fixed64(days)) => active.days = days,
            (3, Bytes(list)) => {
                let older: Vec<u64> = numbers(list)?.collect();
                active.older = (!older.is_empty()).then(|| Rc::new(older));
            }
            (1..=3, _) => return Err(Malformed::TYPE),
            _ => {}
        }
    }
    Ok(active)
}

/// Fields of a `Touch`.
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

/// Fields of a `VipPage` or an `ActivityTouch`.
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

fn definition(message: &[u8], shared: &mut Shared) -> Result<DefinitionState, Malformed> {
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
    let unfinished_day = |(day, steps_done): (Result<u64, _>, Result<u64, _>)| {
        Ok(UnfinishedDay { day: signed(day?) as i32, steps_done: steps_done? as u32 })
    };
    let unfinished =
        varints(days).zip(varints(steps)).map(unfinished_day).collect::<Result<_, Malformed>>()?;
    Ok(DefinitionState { name: shared.text(name), active, unfinished })
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
