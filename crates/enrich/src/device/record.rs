//! A device as a record of `enrich-state`: the Protobuf message `DeviceState` of `schemas/device_state.proto`.
//!
//! Channels stand once in a record and are named by their place from then on; 0 names none.
use prost::Message;
use std::rc::Rc;

use super::{
    Device, More, Slow,
    active::{ActiveDays, Defined, DefinedDays, Progress},
    activities::ActivityTouch,
    commerce::{Commerce, VipPage},
    fast::Fast,
    playback::{Playback, Playbacks},
    sessions::{Session, Sessions},
    shared::{Origin, OriginTexts, Shared},
    touch::Touch,
};

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
    /// Each a `ChannelState`, which is not read when its bytes are known.
    #[prost(bytes = "vec", repeated, tag = "6")]
    channels: Vec<Vec<u8>>,
    #[prost(uint32, repeated, tag = "7")]
    session_channels: Vec<u32>,
    #[prost(uint32, tag = "8")]
    last_session_channel: u32,
    #[prost(uint32, tag = "9")]
    first_channel: u32,
    #[prost(message, optional, tag = "10")]
    touch: Option<TouchState>,
    #[prost(string, tag = "11")]
    install_source: String,
    #[prost(message, repeated, tag = "12")]
    active: Vec<DefinitionState>,
    #[prost(fixed64, repeated, tag = "13")]
    contents: Vec<u64>,
    #[prost(message, repeated, tag = "14")]
    playbacks: Vec<PlaybackState>,
    #[prost(fixed64, repeated, tag = "15")]
    orders: Vec<u64>,
    #[prost(message, optional, tag = "16")]
    vip_page: Option<VipPageState>,
    #[prost(fixed64, repeated, tag = "17")]
    activities: Vec<u64>,
    #[prost(message, optional, tag = "18")]
    last_activity: Option<ActivityState>,
    #[prost(int64, tag = "19")]
    event_number: i64,
    #[prost(fixed64, tag = "20")]
    last_event: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ActiveDaysState {
    #[prost(sint32, tag = "1")]
    newest_day: i32,
    #[prost(fixed64, tag = "2")]
    days: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ChannelState {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(string, tag = "2")]
    source: String,
    #[prost(string, tag = "3")]
    medium: String,
    #[prost(string, tag = "4")]
    campaign: String,
    #[prost(string, tag = "5")]
    rule: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct TouchState {
    #[prost(uint32, tag = "1")]
    channel: u32,
    #[prost(sint64, tag = "2")]
    event_time: i64,
}

#[derive(Clone, PartialEq, Message)]
struct DefinitionState {
    #[prost(string, tag = "1")]
    definition: String,
    #[prost(message, optional, tag = "2")]
    active: Option<ActiveDaysState>,
    #[prost(sint32, repeated, tag = "3")]
    unfinished_days: Vec<i32>,
    #[prost(uint32, repeated, tag = "4")]
    steps_done: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct PlaybackState {
    #[prost(fixed64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    played_ms: i64,
    #[prost(int64, tag = "3")]
    received_at: i64,
    #[prost(bool, tag = "4")]
    completed: bool,
}

#[derive(Clone, PartialEq, Message)]
struct VipPageState {
    #[prost(string, tag = "1")]
    entry_point: String,
    #[prost(sint64, tag = "2")]
    event_time: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ActivityState {
    #[prost(string, tag = "1")]
    activity_id: String,
    #[prost(sint64, tag = "2")]
    event_time: i64,
}

impl Device {
    /// As a record of `enrich-state`.
    pub fn encode(&self, into: &mut Vec<u8>) {
        into.clear();
        // Writing to a Vec cannot run out of room.
        let _ = self.state().encode(into);
    }

    /// From a record of `enrich-state`.
    ///
    /// # Errors
    /// The bytes are no DeviceState.
    pub fn decode(bytes: &[u8], shared: &mut Shared) -> Result<Self, prost::DecodeError> {
        Self::of(DeviceState::decode(bytes)?, shared)
    }

    fn state(&self) -> DeviceState {
        let Self { slow, fast } = self;
        let mut channels = Channels::default();
        let sessions = slow.sessions.known();
        let mut state = DeviceState {
            first_seen_day: slow.first_seen_day,
            active_any: Some(days_state(slow.active)),
            sessions: sessions.iter().map(|session| session.id).collect(),
            session_channels: sessions.iter().map(|session| channels.place(&session.channel)).collect(),
            last_session: slow.sessions.last.id,
            last_session_channel: channels.place(&slow.sessions.last.channel),
            first_channel: channels.place(&slow.first_channel),
            latest_event_time: fast.latest_event_ms,
            touch: fast.touch.as_ref().map(|touch| TouchState {
                channel: channels.place(&touch.origin),
                event_time: touch.time_ms,
            }),
            playbacks: fast.playbacks.open().iter().map(playback_state).collect(),
            last_activity: fast.activity.as_ref().map(|touch| ActivityState {
                activity_id: touch.activity_id.to_string(),
                event_time: touch.time_ms,
            }),
            event_number: fast.event_number,
            last_event: fast.last_event,
            ..DeviceState::default()
        };
        if let Some(more) = slow.known() {
            let More { install_source, defined, contents, commerce, activities } = more;
            state.install_source = install_source.as_deref().unwrap_or_default().to_owned();
            state.active = defined.0.iter().flat_map(|all| all.iter()).map(definition_state).collect();
            state.contents = contents.as_slice().to_vec();
            state.orders = commerce.orders.as_slice().to_vec();
            state.vip_page = commerce.page.as_ref().map(|page| VipPageState {
                entry_point: page.entry_point.to_string(),
                event_time: page.time_ms,
            });
            state.activities = activities.as_slice().to_vec();
        }
        state.channels = channels.records();
        state
    }

    fn of(state: DeviceState, shared: &mut Shared) -> Result<Self, prost::DecodeError> {
        let channels: Vec<Rc<Origin>> =
            state.channels.iter().map(|channel| shared.recorded(channel)).collect::<Result<_, _>>()?;
        // A record from before channels were kept names none.
        let mut channel = |place: u32| match channels.get((place as usize).wrapping_sub(1)) {
            Some(channel) => Rc::clone(channel),
            None => shared.origin(OriginTexts::default()),
        };
        let places = state.session_channels.iter().copied().chain(std::iter::repeat(0));
        let known: Vec<Session> = state
            .sessions
            .iter()
            .zip(places)
            .map(|(&id, place)| Session { id, channel: channel(place) })
            .collect();
        let sessions = Sessions {
            known: (!known.is_empty()).then(|| known.into()),
            last: Session { id: state.last_session, channel: channel(state.last_session_channel) },
        };
        let first_channel = channel(state.first_channel);
        let touch =
            state.touch.map(|touch| Touch { origin: channel(touch.channel), time_ms: touch.event_time });
        let more = More {
            install_source: text(&state.install_source, shared),
            defined: Defined(
                (!state.active.is_empty()).then(|| {
                    Rc::new(state.active.into_iter().map(|one| defined_days(one, shared)).collect())
                }),
            ),
            contents: state.contents.into(),
            commerce: Commerce {
                orders: state.orders.into(),
                page: state
                    .vip_page
                    .map(|page| VipPage { entry_point: page.entry_point.into(), time_ms: page.event_time }),
            },
            activities: state.activities.into(),
        };
        let active = active_days(state.active_any.unwrap_or_default());
        let slow = Slow {
            first_seen_day: state.first_seen_day,
            active,
            sessions,
            first_channel,
            more: (more != More::default()).then(|| Rc::new(more)),
        };
        let playbacks: Vec<Playback> = state.playbacks.into_iter().map(playback).collect();
        let fast = Fast {
            latest_event_ms: state.latest_event_time,
            event_number: state.event_number,
            touch,
            activity: state.last_activity.map(|touch| {
                let activity_id = shared.text(&touch.activity_id);
                Rc::new(ActivityTouch { activity_id, time_ms: touch.event_time })
            }),
            playbacks: Playbacks((!playbacks.is_empty()).then(|| Rc::new(playbacks))),
            last_event: state.last_event,
        };
        Ok(Self { slow, fast })
    }
}

/// The channels of a record, each once. There are few: they are compared by their pointers.
#[derive(Default)]
struct Channels<'a>(Vec<&'a Rc<Origin>>);

impl<'a> Channels<'a> {
    fn place(&mut self, channel: &'a Rc<Origin>) -> u32 {
        let place = self.0.iter().position(|known| Rc::ptr_eq(known, channel)).unwrap_or_else(|| {
            self.0.push(channel);
            self.0.len() - 1
        });
        place as u32 + 1
    }

    fn records(&self) -> Vec<Vec<u8>> {
        self.0.iter().map(|channel| channel.record().to_vec()).collect()
    }
}

/// A channel as it stands in records.
pub(super) fn encode_channel(texts: OriginTexts<'_>) -> Box<[u8]> {
    let OriginTexts { group, source, medium, campaign, rule } = texts;
    let [group, source, medium, campaign, rule] = [group, source, medium, campaign, rule].map(str::to_owned);
    ChannelState { group, source, medium, campaign, rule }.encode_to_vec().into()
}

/// Reads a channel of a record.
pub(super) fn decode_channel<T>(
    record: &[u8],
    read: impl FnOnce(OriginTexts<'_>) -> T,
) -> Result<T, prost::DecodeError> {
    let ChannelState { group, source, medium, campaign, rule } = ChannelState::decode(record)?;
    let (group, source, medium, campaign, rule) = (&*group, &*source, &*medium, &*campaign, &*rule);
    Ok(read(OriginTexts { group, source, medium, campaign, rule }))
}

fn text(text: &str, shared: &mut Shared) -> Option<Rc<str>> {
    (!text.is_empty()).then(|| shared.text(text))
}

fn days_state(days: ActiveDays) -> ActiveDaysState {
    ActiveDaysState { newest_day: days.newest, days: days.days }
}

fn active_days(state: ActiveDaysState) -> ActiveDays {
    ActiveDays { newest: state.newest_day, days: state.days }
}

fn definition_state(one: &DefinedDays) -> DefinitionState {
    DefinitionState {
        definition: one.name.to_string(),
        active: one.active.map(days_state),
        unfinished_days: one.unfinished.iter().map(|progress| progress.day).collect(),
        steps_done: one.unfinished.iter().map(|progress| progress.steps_done).collect(),
    }
}

fn defined_days(state: DefinitionState, shared: &mut Shared) -> DefinedDays {
    let progress = |(&day, &steps_done)| Progress { day, steps_done };
    DefinedDays {
        name: shared.text(&state.definition),
        active: state.active.map(active_days),
        unfinished: state.unfinished_days.iter().zip(&state.steps_done).map(progress).collect(),
    }
}

fn playback_state(playback: &Playback) -> PlaybackState {
    let Playback { id, played_ms, received_ms, completed } = *playback;
    PlaybackState { id, played_ms, received_at: received_ms, completed }
}

fn playback(state: PlaybackState) -> Playback {
    let PlaybackState { id, played_ms, received_at, completed } = state;
    Playback { id, played_ms, received_ms: received_at, completed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{
        Event, Surroundings,
        active::Definitions,
        commerce::CommerceEvent,
        playback::PlaybackEvent,
        touch::{Judgement, Shown},
    };
    use prost_reflect::{DescriptorPool, DynamicMessage, Value};

    const DAY: i64 = 86_400_000;

    /// A device that has something of everything.
    fn sample(shared: &mut Shared) -> Device {
        let steps = "core = [{ event_name = 'a' }, { event_name = 'b' }]\nlogin = [{ event_name = 'a' }]";
        let definitions = Definitions::parse(&toml::from_str(steps).unwrap()).unwrap();
        let mut origin =
            |group| shared.origin(OriginTexts { group, source: "s", rule: "r", ..OriginTexts::default() });
        let (email, direct) = (Shown { origin: origin("email"), is_touch: true }, origin("direct"));
        let mut around = Surroundings { definitions: &definitions, window_ms: DAY, shared };
        let judgement = Judgement { own: Some(&email), first: Some(&email), fallback: &direct };
        let first = Event { session: Some(11), number: 3, ..Event::at(5, 5 * DAY + 7, judgement) };
        let (mut device, _) = Device::new(&first, &mut around);
        let judgement = Judgement { own: None, first: None, fallback: &direct };
        let playback = PlaybackEvent { id: 21, played_ms: 900, duration_ms: 1000, content: 22 };
        let later = Event {
            install_source: "huawei",
            fulfilled: 0b101,
            playback: Some(playback),
            commerce: Some(CommerceEvent::Order { id: 31, is_vip: true }),
            touched_activity: Some("spring"),
            ..Event::at(7, 7 * DAY, judgement)
        };
        device.touch(&later, &mut around);
        let page = Some(CommerceEvent::Page { entry_point: "pc" });
        device.touch(&Event { commerce: page, called: 41, ..Event::at(7, 7 * DAY, judgement) }, &mut around);
        device
    }

    fn sample_bytes() -> Vec<u8> {
        let mut bytes = Vec::new();
        sample(&mut Shared::default()).encode(&mut bytes);
        bytes
    }

    #[test]
    fn what_is_written_is_read_back_and_shares_what_is_known() {
        let mut shared = Shared::default();
        let read = Device::decode(&sample_bytes(), &mut shared).unwrap();
        assert_eq!(read, sample(&mut Shared::default()));
        let again = Device::decode(&sample_bytes(), &mut shared).unwrap();
        assert!(Rc::ptr_eq(&read.slow.first_channel, &again.slow.first_channel));
    }

    #[test]
    fn what_is_written_is_what_the_published_schema_says() {
        let schemas = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas");
        let files = protox::compile(["device_state.proto"], [schemas]).unwrap();
        let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
        let descriptor = pool.get_message_by_name("millrace.v1.DeviceState").unwrap();
        let state = DynamicMessage::decode(descriptor, sample_bytes().as_slice()).unwrap();
        let channel = |group: &str| Value::String(group.into());
        for (path, expected) in [
            ("first_seen_day", Value::I32(5)),
            ("active_any.newest_day", Value::I32(7)),
            ("active_any.days", Value::U64(0b101)),
            ("sessions", Value::List(vec![Value::U64(11)])),
            ("session_channels", Value::List(vec![Value::U32(1)])),
            ("last_session", Value::U64(7 * DAY as u64)),
            ("last_session_channel", Value::U32(2)),
            ("first_channel", Value::U32(1)),
            ("latest_event_time", Value::I64(7 * DAY)),
            ("channels.0.group", channel("email")),
            ("channels.0.source", channel("s")),
            ("channels.1.rule", channel("last_touch")),
            ("touch.channel", Value::U32(1)),
            ("touch.event_time", Value::I64(5 * DAY + 7)),
            ("install_source", Value::String("huawei".into())),
            ("active.0.definition", Value::String("core".into())),
            ("active.0.unfinished_days", Value::List(vec![Value::I32(7)])),
            ("active.0.steps_done", Value::List(vec![Value::U32(1)])),
            ("active.1.active.newest_day", Value::I32(7)),
            ("contents", Value::List(vec![Value::U64(22)])),
            ("playbacks.0.id", Value::U64(21)),
            ("playbacks.0.played_ms", Value::I64(900)),
            ("playbacks.0.received_at", Value::I64(7 * DAY)),
            ("playbacks.0.completed", Value::Bool(true)),
            ("orders", Value::List(vec![Value::U64(31)])),
            ("vip_page.entry_point", Value::String("pc".into())),
            ("vip_page.event_time", Value::I64(7 * DAY)),
            ("activities", Value::List(vec![Value::U64(crate::device::hash("spring"))])),
            ("last_activity.activity_id", Value::String("spring".into())),
            ("last_activity.event_time", Value::I64(7 * DAY)),
            ("event_number", Value::I64(3)),
            ("last_event", Value::U64(41)),
        ] {
            let found = path.split('.').try_fold(Value::Message(state.clone()), |value, name| match value {
                Value::Message(message) => Some(message.get_field_by_name(name)?.into_owned()),
                Value::List(list) => list.get(name.parse::<usize>().ok()?).cloned(),
                _ => None,
            });
            assert_eq!(found, Some(expected), "{path}");
        }
        assert_eq!(state.unknown_fields().count(), 0);
    }

    #[test]
    fn bytes_that_are_no_device_are_an_error_and_fields_of_a_newer_program_are_none() {
        let shared = &mut Shared::default();
        assert!(Device::decode(&[0x0a, 0xff], shared).is_err());
        let mut bytes = sample_bytes();
        bytes.extend([0xf8, 0x01, 0x01]); // field 31, a number
        assert_eq!(Device::decode(&bytes, shared).unwrap(), sample(&mut Shared::default()));
    }

    #[test]
    fn a_record_from_before_channels_were_kept_is_a_device_without_any() {
        let old =
            DeviceState { first_seen_day: 5, sessions: vec![11], last_session: 11, ..DeviceState::default() };
        let device = Device::decode(&old.encode_to_vec(), &mut Shared::default()).unwrap();
        assert_eq!(*device.slow.first_channel, Origin::default());
        assert_eq!(device.slow.sessions.known()[0].id, 11);
    }
}
