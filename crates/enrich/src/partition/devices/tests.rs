//! Transactions, forgetting and restores of a partition's devices, in tables and against a naive model.
use std::collections::BTreeMap;

use super::*;
use crate::device::{playback::PlaybackEvent, shared::ChannelTexts, touch::EventChannels};
use proptest::prelude::*;

const DAY: i64 = 86_400_000;
const WINDOW: i64 = DAY;

thread_local! {
    static CHANNELS: &'static [EvidenceChannel] = {
        let mut shared = Shared::default();
        let mut channel = |group| shared.channel(ChannelTexts { group, ..ChannelTexts::default() });
        let channels = ["direct", "email", "sms"];
        Vec::from(channels.map(|group| EvidenceChannel { channel: channel(group), is_touch: true })).leak()
    };
}

fn channels() -> &'static [EvidenceChannel] {
    CHANNELS.with(|channels| *channels)
}

fn devices(ttl_days: i32, max_devices: usize) -> Devices {
    Devices::new(DeviceLimits { ttl_days, max_devices, max_bytes: usize::MAX, window_ms: WINDOW })
}

fn on(day: i32) -> DeviceEvent<'static> {
    let channels = EventChannels { own: None, first: None, fallback: &channels()[0].channel };
    DeviceEvent::at(day, i64::from(day) * DAY, channels)
}

/// An event of day 1, `ms` behind midnight, with a session ID.
fn at(ms: i64) -> DeviceEvent<'static> {
    let event = on(1);
    let fast = FastEvent { time_ms: DAY + ms, received_ms: DAY + ms, ..event.fast };
    DeviceEvent { fast, session: Some(1), ..event }
}

fn apply(devices: &mut Devices, key: u64, event: &DeviceEvent<'_>) -> DeviceStamps {
    devices.apply(key, event, &Definitions::default())
}

fn advance(devices: &mut Devices, today: i32) {
    devices.advance(i64::from(today) * DAY, today);
}

fn changes(devices: &mut Devices) -> Vec<(u64, bool)> {
    devices.changes().map(|(key, device)| (key, device.is_some())).collect()
}

#[test]
fn only_a_change_of_the_slow_part_is_written_and_each_device_once() {
    let mut devices = devices(400, 100);
    advance(&mut devices, 2);
    apply(&mut devices, 7, &on(1));
    apply(&mut devices, 7, &on(2));
    apply(&mut devices, 3, &on(2));
    assert_eq!(changes(&mut devices), [(3, true), (7, true)]);
    devices.commit();
    let mut a_minute_later = on(2);
    a_minute_later.fast.time_ms += 60_000;
    assert!(!apply(&mut devices, 3, &a_minute_later).session_start);
    assert_eq!(changes(&mut devices), []);
}

#[test]
fn a_change_of_the_fast_part_is_written_after_half_a_window_once() {
    let mut devices = devices(400, 100);
    advance(&mut devices, 1);
    apply(&mut devices, 7, &at(0));
    assert_eq!(changes(&mut devices), [(7, true)]);
    devices.commit();
    for (ms, expected) in [
        (60_000, vec![]),
        (120_000, vec![]),
        (60_000 + WINDOW / 2 - 1, vec![]),
        (60_000 + WINDOW / 2, vec![(7, true)]),
        (60_000 + WINDOW / 2 + 1, vec![]),
    ] {
        devices.advance(DAY + ms, 1);
        apply(&mut devices, 7, &at(ms));
        assert_eq!(changes(&mut devices), expected, "{ms}");
        devices.abort();
        apply(&mut devices, 7, &at(ms));
        assert_eq!(changes(&mut devices), expected, "after an abort, {ms}");
        devices.commit();
    }
}

#[test]
fn a_device_silent_for_longer_than_the_ttl_is_new_again_whether_or_not_it_was_swept() {
    for swept in [false, true] {
        let mut devices = devices(10, 100);
        for (key, day) in [(1, 1), (2, 1), (3, 2)] {
            apply(&mut devices, key, &on(day));
        }
        advance(&mut devices, 11);
        assert!(!apply(&mut devices, 1, &on(11)).is_new_device, "ten days are not longer than ten days");
        changes(&mut devices);
        devices.commit();
        advance(&mut devices, 12);
        if swept {
            devices.expire(100);
            assert_eq!(changes(&mut devices), [(2, false)], "swept {swept}");
            devices.commit();
        }
        assert!(apply(&mut devices, 2, &on(12)).is_new_device, "swept {swept}");
        assert!(!apply(&mut devices, 3, &on(12)).is_new_device, "swept {swept}");
        changes(&mut devices);
        devices.commit();
        devices.expire(100);
        assert_eq!(changes(&mut devices), []);
        assert_eq!((devices.len(), devices.horizon_days()), (3, 10.0));
    }
}

#[test]
fn beyond_the_cap_those_go_first_that_were_silent_longest() {
    let mut devices = devices(400, 8);
    for key in 0..12 {
        apply(&mut devices, key, &on(key as i32));
    }
    devices.commit();
    advance(&mut devices, 11);
    devices.expire(100);
    let gone = changes(&mut devices);
    assert_eq!(gone, (0..5).map(|key| (key, false)).collect::<Vec<_>>());
    assert_eq!((devices.len(), devices.horizon_days().round()), (7, 7.0));
}

#[test]
fn devices_of_today_are_forgotten_too_when_there_is_no_room_for_them() {
    let mut devices = devices(400, 8);
    for key in 0..20 {
        devices.advance(DAY + key as i64, 1);
        apply(&mut devices, key, &at(key as i64));
        devices.expire(100);
    }
    let kept = devices.len();
    assert!((7..=9).contains(&kept), "{kept}");
    changes(&mut devices);
    devices.commit();
    assert!(apply(&mut devices, 0, &at(20)).is_new_device);
    assert!(!apply(&mut devices, 19, &at(20)).is_new_device);
}

#[test]
fn a_device_whose_events_come_late_is_new_once_although_others_were_forgotten_since() {
    let mut devices = devices(400, 8);
    for key in 0..20 {
        devices.advance(DAY + 1000 + key as i64, 1);
        apply(&mut devices, key, &at(1000 + key as i64));
        devices.expire(100);
    }
    for (expected, ms) in [(true, 1), (false, 2), (false, 3)] {
        assert_eq!(apply(&mut devices, 99, &at(ms)).is_new_device, expected, "{ms}");
    }
}

/// Bytes are counted as devices change, come and go, and never drift.
fn assert_counted(devices: &Devices) {
    let heap: usize = devices.slots.values().map(|slot| slot.device.heap_bytes()).sum();
    assert_eq!(devices.heap_bytes, heap);
}

#[test]
fn a_flood_of_new_devices_with_long_texts_stays_within_the_bytes() {
    const MOST: usize = 4 << 20;
    let limits = DeviceLimits { ttl_days: 400, max_devices: usize::MAX, max_bytes: MOST, window_ms: WINDOW };
    let mut devices = Devices::new(limits);
    let (mut most, mut tombstones) = (0, 0);
    for key in 0..60_000_u64 {
        let ms = key as i64;
        devices.advance(DAY + ms, 1);
        let campaign = key.to_string().repeat(30);
        let texts = ChannelTexts { group: "email", campaign: &campaign, ..ChannelTexts::default() };
        let own = EvidenceChannel { channel: devices.shared().channel(texts), is_touch: true };
        let event = at(ms);
        let channels = EventChannels { own: Some(&own), first: Some(&own), ..event.channels };
        let event = DeviceEvent { channels, ..event };
        assert!(apply(&mut devices, key, &event).is_new_device);
        drop(own);
        // A device that comes again and again is remembered through the flood.
        assert_eq!(apply(&mut devices, u64::MAX, &at(ms)).is_new_device, key == 0);
        if key % 200 == 199 {
            devices.expire(10);
            tombstones += changes(&mut devices).iter().filter(|(_, is_known)| !is_known).count();
            assert_counted(&devices);
            most = most.max(devices.memory_bytes());
            devices.commit();
        }
    }
    assert!(most <= MOST / 4 * 5 && devices.memory_bytes() <= MOST, "{most}, {}", devices.memory_bytes());
    assert!(devices.len() > 1_000 && devices.memory_bytes() > MOST / 3, "{}", devices.memory_bytes());
    assert_eq!(devices.len() + tombstones, 60_001);
    assert!(devices.horizon_days() < 0.001);
}

#[test]
fn a_changelog_with_more_devices_than_fit_is_restored_within_the_bytes() {
    const MOST: usize = 1 << 20;
    let limits = DeviceLimits { ttl_days: 400, max_devices: usize::MAX, max_bytes: MOST, window_ms: WINDOW };
    let (mut source, mut devices) = (self::devices(400, usize::MAX), Devices::new(limits));
    let mut record = Vec::new();
    let mut most = 0;
    for key in 0..20_000_u64 {
        apply(&mut source, key, &at(key as i64));
        for (key, device) in source.changes() {
            device.unwrap().encode(&mut record);
            devices.restore_record(key, Some(&record)).unwrap();
        }
        source.commit();
        most = most.max(devices.memory_bytes());
    }
    assert_counted(&devices);
    devices.restored();
    assert!(most <= MOST / 4 * 5, "{most}");
    assert!(!apply(&mut devices, 19_999, &at(20_000)).is_new_device);
    assert!(apply(&mut devices, 0, &at(20_000)).is_new_device);
}

#[derive(Debug, Clone)]
enum Action {
    /// Device, hours it is late, session, evidence, playback, numbers it skips.
    Apply(u64, i64, Option<u64>, Option<usize>, Option<u64>, i64),
    Hours(i64),
    Expire,
    Commit,
    Abort,
    Restart,
}

fn action() -> impl Strategy<Value = Action> {
    let session = prop::option::of(0..20_u64);
    let event =
        (0..12_u64, 0..72_i64, session, prop::option::of(1..3_usize), prop::option::of(0..3_u64), 0..3_i64);
    prop_oneof![
        12 => event.prop_map(|(key, late, session, evidence, playback, skipped)| {
            Action::Apply(key, late, session, evidence, playback, skipped)
        }),
        2 => (0..40_i64).prop_map(Action::Hours),
        1 => Just(Action::Expire),
        3 => Just(Action::Commit),
        2 => Just(Action::Abort),
        1 => Just(Action::Restart),
    ]
}

proptest! {
    /// Commits, aborts and restarts in any order: the stamps equal those of a model that keeps plain copies, although a
    /// restart has only the changelog and the events of the last window.
    #[test]
    fn everything_committed_is_remembered_and_nothing_else(actions in prop::collection::vec(action(), 1..250)) {
        const TTL: i32 = 6;
        let mut devices = devices(TTL, 100);
        let (mut hour, mut number) = (24 * 10, 0);
        let definitions = Definitions::default();
        let mut changelog: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let (mut committed, mut open): (BTreeMap<u64, Device>, BTreeMap<u64, Device>) = Default::default();
        let mut written: Vec<(u64, DeviceEvent<'_>, bool)> = Vec::new();
        let mut to_write = Vec::new();
        let mut shared = Shared::default();
        devices.advance(hour * 3_600_000, 10);
        for (at, action) in actions.into_iter().enumerate() {
            let today = (hour / 24) as i32;
            assert_counted(&devices);
            match action {
                Action::Apply(key, late, session, evidence, playback, skipped) => {
                    number += 1 + skipped;
                    let day = ((hour - late) / 24) as i32;
                    let own = evidence.map(|index| &channels()[index]);
                    let event = on(day);
                    let fast = FastEvent {
                        id: at as u64,
                        received_ms: hour * 3_600_000,
                        number,
                        playback: playback.map(|id| PlaybackEvent { id, played_ms: 4_000, duration_ms: 9_000, content: id / 2 }),
                        ..event.fast
                    };
                    let channels = EventChannels { own, first: own, ..event.channels };
                    let event = DeviceEvent { fast, session, channels, ..event };
                    let context = &mut DeviceContext { definitions: &definitions, window_ms: WINDOW, shared: &mut shared };
                    let known = open.get_mut(&key).filter(|device| device.newest_day() >= today - TTL);
                    let expected = match known {
                        Some(device) => device.apply(&event, context),
                        None => {
                            let (device, stamps) = Device::new(&event, context);
                            open.insert(key, device);
                            stamps
                        }
                    };
                    to_write.push((key, event, expected.is_new_device));
                    prop_assert_eq!(apply(&mut devices, key, &event), expected);
                }
                Action::Hours(hours) => {
                    hour += hours;
                    devices.advance(hour * 3_600_000, (hour / 24) as i32);
                }
                Action::Expire => devices.expire(2),
                Action::Commit => {
                    for (key, device) in devices.changes() {
                        match device {
                            Some(device) => device.encode(changelog.entry(key).or_default()),
                            None => drop(changelog.remove(&key)),
                        }
                    }
                    devices.commit();
                    written.append(&mut to_write);
                    open.retain(|_, device| device.newest_day() >= today - TTL);
                    committed = open.clone();
                }
                Action::Abort => {
                    devices.abort();
                    to_write.clear();
                    open = committed.clone();
                }
                Action::Restart => {
                    devices = self::devices(TTL, 100);
                    for (&key, bytes) in &changelog {
                        devices.restore_record(key, Some(bytes)).unwrap();
                    }
                    let newest = written.last().map_or(0, |(_, event, _)| event.fast.received_ms);
                    for (key, event, is_new) in &written {
                        if event.fast.received_ms >= newest - WINDOW {
                            devices.restore_event(*key, &event.fast, event.channels.own(*is_new));
                        }
                    }
                    devices.restored();
                    to_write.clear();
                    open = committed.clone();
                    for (key, device) in &committed {
                        prop_assert_eq!(Some(device), devices.slots.get(key).map(|slot| &slot.device), "device {}", key);
                    }
                    devices.advance(hour * 3_600_000, today);
                }
            }
        }
    }
}
