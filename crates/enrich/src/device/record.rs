//! A device as a record of the topic `enrich-state`: the Protobuf message `DeviceState` of `schemas/device_state.proto`.
//!
//! A record lists its channels once, and its other fields refer to them by place, counted from 1; 0 is none. The codec is written by
//! hand, because a restore reads millions of records: 694 000 to 833 000 per second and core instead of 278 000 with
//! generated code, which builds a message of its own for each part first. A test compares it with the published schema.
mod read;
mod write;

pub use event::protobuf::Malformed;
pub(crate) use read::RecordReader;

use super::{shared::Shared, state::Device};

impl Device {
    /// Writes the record of this device into `buffer`, which is cleared first.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
        write::device(self, buffer);
    }

    /// Reads a single record. A restore uses `RecordReader`.
    ///
    /// # Errors
    /// The bytes are no `DeviceState`.
    pub fn decode(record: &[u8], shared: &mut Shared) -> Result<Self, Malformed> {
        RecordReader::default().read(record, shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{
        active::Definitions,
        apply::DeviceContext,
        channel_texts::ChannelTexts,
        commerce::CommerceEvent,
        event::{DeviceEvent, FastEvent},
        hash::text_hash,
        playback::PlaybackEvent,
        shared::SharedChannel,
        touch::{EventChannels, EvidenceChannel},
    };
    use event::protobuf::Fields;
    use proptest::prelude::*;
    use prost_reflect::{DescriptorPool, DynamicMessage, Value, prost::Message};
    use std::rc::Rc;

    const DAY: i64 = 86_400_000;

    /// A device with a value in every field.
    fn sample(shared: &mut Shared) -> Device {
        let steps = "core = [{ event_name = 'a' }, { event_name = 'b' }]\nlogin = [{ event_name = 'a' }]";
        let definitions = Definitions::parse(&toml::from_str(steps).unwrap()).unwrap();
        let mut channel =
            |group| shared.channel(ChannelTexts { group, source: "s", rule: "r", ..ChannelTexts::default() });
        let (email, direct) =
            (EvidenceChannel { channel: channel("email"), is_touch: true }, channel("direct"));
        let mut context = DeviceContext { definitions: &definitions, window_ms: DAY, shared };
        let channels = EventChannels { own: Some(&email), first: Some(&email), fallback: &direct };
        let first = DeviceEvent { session: Some(11), ..DeviceEvent::at(5, 5 * DAY + 7, channels) };
        let first = DeviceEvent { fast: FastEvent { number: 3, ..first.fast }, ..first };
        let (mut device, _) = Device::new(&first, &mut context);
        let channels = EventChannels { own: None, first: None, fallback: &direct };
        let later = DeviceEvent::at(7, 7 * DAY, channels);
        let playback = PlaybackEvent { id: 21, played_ms: 900, duration_ms: 1000, content: 22 };
        let order = DeviceEvent {
            fast: FastEvent { playback: Some(playback), touched_activity: Some("spring"), ..later.fast },
            install_source: "huawei",
            fulfilled_steps: 0b101,
            commerce: Some(CommerceEvent::Order { id: 31, is_vip: true }),
            ..later
        };
        device.apply(&order, &mut context);
        let page = Some(CommerceEvent::Page { entry_point: "pc" });
        device.apply(
            &DeviceEvent { fast: FastEvent { id: 41, ..later.fast }, commerce: page, ..later },
            &mut context,
        );
        device
    }

    fn sample_bytes() -> Vec<u8> {
        let mut bytes = Vec::new();
        sample(&mut Shared::default()).encode(&mut bytes);
        bytes
    }

    #[test]
    fn a_record_is_read_back_equal_and_shares_known_channels() {
        let mut shared = Shared::default();
        let read = Device::decode(&sample_bytes(), &mut shared).unwrap();
        assert_eq!(read, sample(&mut Shared::default()));
        let again = Device::decode(&sample_bytes(), &mut shared).unwrap();
        assert!(Rc::ptr_eq(&read.slow.first_channel, &again.slow.first_channel));
    }

    #[test]
    fn a_record_follows_the_published_schema() {
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
            ("activities", Value::List(vec![Value::U64(text_hash("spring"))])),
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
        assert_eq!(state.encode_to_vec(), sample_bytes());
    }

    #[test]
    fn malformed_bytes_are_an_error_and_fields_of_a_newer_version_are_not() {
        let shared = &mut Shared::default();
        for (what, bytes) in [
            ("cut", &[0x12, 0xff, 0x01][..]),
            ("a length of 64 bits", &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            ("a longer number", &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            ("another type", &[0x0a, 0x00]),
            ("no type", &[0x0f]),
            ("half a list", &[0x1a, 0x04, 1, 2, 3, 4]),
            ("no text", &[0x5a, 0x01, 0xff]),
        ] {
            assert!(Device::decode(bytes, shared).is_err(), "{what}");
        }
        let newer: [&[u8]; 4] = [
            &[0xf8, 0x01, 0x01],                   // field 31: a number
            &[0xfa, 0x01, 0x02, 0xff, 0xff],       // bytes
            &[0xf9, 0x01, 1, 2, 3, 4, 5, 6, 7, 8], // a fixed64
            &[0xfd, 0x01, 1, 2, 3, 4],             // a fixed32
        ];
        let bytes = [newer.concat(), sample_bytes(), newer.concat()].concat();
        assert_eq!(Device::decode(&bytes, shared).unwrap(), sample(&mut Shared::default()));
    }

    #[test]
    fn fields_may_come_in_any_order_and_lists_in_several_parts() {
        let bytes = sample_bytes();
        let (mut rest, mut fields) = (Fields(&bytes), Vec::new());
        while !rest.0.is_empty() {
            let before = rest.0;
            let (number, _) = rest.next().unwrap().unwrap();
            fields.push((number, &before[..before.len() - rest.0.len()]));
        }
        // The sort is stable, so elements of a list keep their order.
        fields.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        let mut bytes: Vec<u8> = fields.iter().flat_map(|(_, field)| field.iter().copied()).collect();
        let shared = &mut Shared::default();
        assert_eq!(Device::decode(&bytes, shared).unwrap(), sample(&mut Shared::default()));
        bytes.extend([0x1a, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0x6a, 8, 23, 0, 0, 0, 0, 0, 0, 0]);
        let device = Device::decode(&bytes, shared).unwrap();
        assert_eq!(
            device.slow.sessions.known().iter().map(|session| session.id).collect::<Vec<_>>(),
            [11, 12]
        );
        assert_eq!(device.slow.extras().unwrap().contents.as_slice(), [22, 23]);
    }

    #[test]
    fn a_record_written_before_channels_were_kept_is_a_device_without_channels() {
        // The session 11 and the last session.
        let old =
            [&[0x08, 0x0a, 0x1a, 0x08][..], &11_u64.to_le_bytes(), &[0x21], &11_u64.to_le_bytes()].concat();
        let device = Device::decode(&old, &mut Shared::default()).unwrap();
        assert_eq!(*device.slow.first_channel, SharedChannel::default());
        assert_eq!((device.slow.first_seen_day, device.slow.sessions.known()[0].id), (5, 11));
    }

    proptest! {
        /// A device read from changed bytes can be written and read again.
        #[test]
        fn no_bytes_make_it_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), length in any::<prop::sample::Index>()) {
            let mut bytes = sample_bytes();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.truncate(length.index(bytes.len() + 1));
            let shared = &mut Shared::default();
            if let Ok(device) = Device::decode(&bytes, shared) {
                let mut again = Vec::new();
                device.encode(&mut again);
                prop_assert_eq!(Device::decode(&again, shared).unwrap(), device);
            }
        }
    }
}
