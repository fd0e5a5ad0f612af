//! A restart changes no stamp, because a restore rebuilds what the stream has built.
use super::*;

/// Makes clean batches of random events: each event gets its times, its ID and its number.
struct Feed {
    minute: i64,
    next_id: usize,
    number: i64,
}

impl Feed {
    fn new() -> Self {
        Self { minute: 0, next_id: 1, number: 0 }
    }

    /// The next batch, received `minutes` after the one before, and its receive time.
    fn batch(&mut self, minutes: i64, events: &[String]) -> (Batch, i64) {
        self.minute += minutes;
        let received_ms = MONDAY + self.minute * 60_000;
        let events: Vec<String> = events
            .iter()
            .map(|event| {
                let (event, late) = event.split_once(" late=").unwrap();
                let (late, skipped) = late.split_once(" skipped=").unwrap();
                self.number += 1 + skipped.parse::<i64>().unwrap();
                let minute = self.minute - late.parse::<i64>().unwrap();
                format!("{event} m={minute} received_at={received_ms} event_number={}", self.number)
            })
            .collect();
        let batch = clean(self.next_id, &events);
        self.next_id += events.len();
        (batch, received_ms)
    }
}

/// All fields of all events, as text.
fn all(bytes: &[u8]) -> Vec<String> {
    let batch = Batch::decode(bytes).unwrap();
    let row = |row| {
        let shown =
            event::FIELDS.iter().map(|&field| format!("{}={}", field.name(), shown(&batch, field, row)));
        shown.collect::<Vec<_>>().join(" ")
    };
    (0..batch.rows()).map(row).collect()
}

fn any_event() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "page_view",
        "login",
        "app_open",
        "content_view",
        "playback_ping",
        "playback_ping",
        "playback_ping",
        "vip_page_viewed",
        "vip_opened",
        "gift_sent",
        "share",
    ]);
    let evidence = prop::sample::select(vec![
        "",
        "",
        "",
        "page_referrer=https://www.baidu.com/",
        "page_referrer=https://www.example.tv/",
        "campaign_source=n campaign_medium=email",
        "install_source=xiaomi",
        "platform=mini_program",
        "page_url=https://www.example.tv/?gclid=1",
    ]);
    let activity = prop::sample::select(vec!["", "", "", "draw_join", "spring_join", "other_x"]);
    let session = prop::option::of(0..6_u32);
    let play = (0..4_u32, 0..3_u32, 0..8_000_i64);
    // Minutes it is late, and numbers it skips.
    let (late, skipped) = (prop_oneof![4 => Just(0_i64), 1 => 0..5000_i64], 0..3_u32);
    (0..5_u32, name, evidence, activity, session, play, late, skipped).prop_map(
        |(device, name, evidence, activity, session, (playback, content, played), late, skipped)| {
            let session = session.map(|id| format!("session_id=s{id}")).unwrap_or_default();
            format!(
                "anonymous_id=d{device} event_name={name} {evidence} {session} activity_event_id={activity} page_type=activity \
                 playback_id=p{playback} content_id=c{content} played_ms={played} content_duration_ms=9000 \
                 order_id=o{content} entry_point=e{playback} late={late} skipped={skipped}"
            )
        },
    )
}

/// The devices of a restored partition were not forgotten before a newer event came.
#[test]
fn a_restored_partition_forgets_the_devices_that_it_had_forgotten_before() {
    let limits = PartitionLimits {
        devices: DeviceLimits { ttl_days: 3, ..partition_limits().devices },
        ..partition_limits()
    };
    let (mut before, mut changelog) = (Partition::new(limits), BTreeMap::new());
    let event = |device: &str, day: i64| {
        let time_ms = MONDAY + day * 24 * HOUR;
        format!("anonymous_id={device} event_time={time_ms} received_at={time_ms}")
    };
    stamp(clean(1, &[event("old", 0)]), &mut before);
    for (key, device) in before.devices.changes() {
        let mut record = Vec::new();
        device.unwrap().encode(&mut record);
        changelog.insert(key, record);
    }
    before.commit();
    let (message, _) = stamp(clean(2, &[event("new", 4)]), &mut before);

    let mut restored = Partition::new(limits);
    for (key, value) in &changelog {
        restored.restore_record(&key.to_be_bytes(), Some(value)).unwrap();
    }
    restored.restore_batch(&message, &IdentityKey::new("secret"), &RULES).unwrap();
    restored.restored(&mut BusinessDays::new("Asia/Shanghai").unwrap());
    // Received at the same time as the event before the restart, and not later.
    let again = event("old", 4);
    let expected = all(&stamp(clean(3, std::slice::from_ref(&again)), &mut before).0);
    assert!(expected[0].contains("is_new_device=1"), "{expected:?}");
    assert_eq!(all(&stamp(clean(3, &[again]), &mut restored).0), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// The events of devices as the stream builds them from clean batches equal those that a restore builds from the
    /// enriched batches.
    #[test]
    fn a_restore_builds_every_event_as_the_stream_built_it(
        batches in prop::collection::vec((0..50_i64, prop::collection::vec(any_event(), 1..12)), 1..20)
    ) {
        let (mut stream, mut feed) = (partition(), Feed::new());
        for (minutes, events) in batches {
            let (batch, _) = feed.batch(minutes, &events);
            let (enriched, _) = stamp(batch, &mut stream);
            let mut restored = partition();
            restored.restore_batch(&enriched, &IdentityKey::new("secret"), &RULES).unwrap();
            prop_assert_eq!(restored.devices.fast_events.len(), events.len());
            prop_assert_eq!(restored.devices.fast_events, std::mem::take(&mut stream.devices.fast_events));
            stream.devices.changes().for_each(drop);
            stream.commit();
        }
    }

    /// A partition that is restarted at any point, from the changelog and one window of enriched events, gives the same
    /// stamps as one that was never restarted.
    #[test]
    fn a_restart_at_any_point_changes_no_stamp(
        batches in prop::collection::vec((0..50_i64, prop::collection::vec(any_event(), 1..12), any::<bool>(), any::<bool>()), 1..40)
    ) {
        let (mut steady, mut restarted, mut feed) = (partition(), partition(), Feed::new());
        let mut changelog: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut written: Vec<(i64, Vec<u8>)> = Vec::new();
        for (minutes, events, restart, abort) in batches {
            let (batch, received_ms) = feed.batch(minutes, &events);
            if restart {
                restarted = partition();
                for (key, value) in &changelog {
                    restarted.restore_record(&key.to_be_bytes(), Some(value)).unwrap();
                }
                let newest = written.last().map_or(0, |(received_ms, _)| *received_ms);
                for (_, message) in written.iter().filter(|(received_ms, _)| *received_ms >= newest - HOUR) {
                    restarted.restore_batch(message, &IdentityKey::new("secret"), &RULES).unwrap();
                }
                restarted.restored(&mut BusinessDays::new("Asia/Shanghai").unwrap());
            }
            let (expected, _) = stamp(batch.clone(), &mut steady);
            steady.devices.changes().for_each(drop);
            steady.commit();
            if abort {
                stamp(batch.clone(), &mut restarted);
                restarted.devices.changes().for_each(drop);
                restarted.abort();
            }
            let (found, _) = stamp(batch, &mut restarted);
            prop_assert_eq!(all(&found), all(&expected));
            for (key, device) in restarted.devices.changes() {
                device.unwrap().encode(changelog.entry(key).or_default());
            }
            restarted.commit();
            written.push((received_ms, found));
        }
    }
}
