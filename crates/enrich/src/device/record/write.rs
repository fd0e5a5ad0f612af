//! Writes a device as a record of the changelog.
use std::rc::Rc;

use event::protobuf::ProtobufWriter;

use crate::device::{
    active::{ActiveDays, DefinitionState},
    activity_touch::ActivityTouch,
    commerce::VipPage,
    playback::Playback,
    shared::SharedChannel,
    state::{Device, Extras},
};

pub(super) fn device(device: &Device, into: &mut Vec<u8>) {
    let Device { slow, fast } = device;
    let sessions = &slow.sessions;
    let channels = Channels::of(device);
    let mut record = ProtobufWriter(into);
    record.signed(1, slow.first_seen_day.into());
    record.message(2, |days| active_days(&slow.active, days));
    record.fixed(3, sessions.known().iter().map(|session| session.id.to_le_bytes()));
    record.fixed64(4, sessions.last.id);
    record.signed(5, fast.latest_event_ms);
    for channel in &channels.0 {
        record.message(6, |message| message.0.extend_from_slice(channel.record()));
    }
    record.varints(7, sessions.known().iter().map(|session| channels.place(&session.channel)));
    record.varint(8, channels.place(&sessions.last.channel));
    record.varint(9, channels.place(&slow.first_channel));
    if let Some(touch) = &fast.touch {
        record.message(10, |message| {
            message.varint(1, channels.place(&touch.channel));
            message.signed(2, touch.time_ms);
        });
    }
    let nothing = &Extras::default();
    let Extras { install_source, active, contents, commerce, activities } = slow.extras().unwrap_or(nothing);
    record.bytes(11, install_source.as_deref().unwrap_or_default().as_bytes());
    for one in active.states() {
        record.message(12, |message| definition(one, message));
    }
    record.fixed(13, contents.as_slice().iter().map(|id| id.to_le_bytes()));
    for one in fast.playbacks.open() {
        record.message(14, |message| playback(one, message));
    }
    record.fixed(15, commerce.orders.as_slice().iter().map(|id| id.to_le_bytes()));
    if let Some(VipPage { entry_point, time_ms }) = &commerce.page {
        record.message(16, |message| {
            message.bytes(1, entry_point.as_bytes());
            message.signed(2, *time_ms);
        });
    }
    record.fixed(17, activities.as_slice().iter().map(|id| id.to_le_bytes()));
    if let Some(ActivityTouch { activity_id, time_ms }) = fast.activity.as_deref() {
        record.message(18, |message| {
            message.bytes(1, activity_id.as_bytes());
            message.signed(2, *time_ms);
        });
    }
    record.varint(19, fast.event_number as u64);
    record.fixed64(20, fast.last_event);
    record.signed(21, fast.received_ms);
}

fn active_days(active: &ActiveDays, message: &mut ProtobufWriter<'_>) {
    let ActiveDays { newest, days, older } = active;
    message.signed(1, (*newest).into());
    message.fixed64(2, *days);
    let older = older.as_ref().map(|older| &older[..]).unwrap_or_default();
    message.fixed(3, older.iter().map(|days| days.to_le_bytes()));
}

fn definition(one: &DefinitionState, message: &mut ProtobufWriter<'_>) {
    message.bytes(1, one.name.as_bytes());
    if let Some(active) = &one.active {
        message.message(2, |days| active_days(active, days));
    }
    message.signeds(3, one.unfinished.iter().map(|unfinished| unfinished.day.into()));
    message.varints(4, one.unfinished.iter().map(|unfinished| unfinished.steps_done.into()));
}

fn playback(playback: &Playback, message: &mut ProtobufWriter<'_>) {
    let Playback { id, played_ms, received_ms, completed } = *playback;
    message.fixed64(1, id);
    message.varint(2, played_ms as u64);
    message.varint(3, received_ms as u64);
    message.varint(4, completed.into());
}

/// The channels of a record, each once. They are few, so a scan over the pointers finds one.
struct Channels<'a>(Vec<&'a Rc<SharedChannel>>);

impl<'a> Channels<'a> {
    fn of(Device { slow, fast }: &'a Device) -> Self {
        let mut channels = Self(Vec::with_capacity(4));
        let sessions = slow.sessions.known().iter().chain([&slow.sessions.last]);
        let touch = fast.touch.as_ref().map(|touch| &touch.channel);
        for channel in sessions.map(|session| &session.channel).chain([&slow.first_channel]).chain(touch) {
            if channels.place(channel) == 0 {
                channels.0.push(channel);
            }
        }
        channels
    }

    /// Place of a channel, counted from 1; 0 when it is not in the list.
    fn place(&self, channel: &Rc<SharedChannel>) -> u64 {
        let place = self.0.iter().position(|known| Rc::ptr_eq(known, channel));
        place.map_or(0, |place| place as u64 + 1)
    }
}
