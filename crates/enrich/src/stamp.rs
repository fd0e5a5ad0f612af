//! Puts enrich's stamps on a batch of clean events. Pure: what it needs to know comes as arguments.
use event::{Batch, BatchBuilder, Field, IdentityKey, Kind, TextRef};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    activity::Activities,
    business_day::BusinessDays,
    channel::ChannelRules,
    device::{Event, Stamps},
    evidence::Evidence,
    partition::{Partition, device_hash},
};

/// What one batch came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Valid, unique events of real clients.
    pub events: u64,
    /// Events seen before.
    pub duplicates: u64,
    /// Test events.
    pub tests: u64,
}

impl Counts {
    /// Adds another batch.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.duplicates += other.duplicates;
        self.tests += other.tests;
    }

    /// As the ledger of the stage has it: every event travels on, whatever it is.
    pub fn ledger(&self) -> runtime::ledger::Counts {
        let events = self.events + self.duplicates + self.tests;
        let duplicates = self.duplicates;
        runtime::ledger::Counts { events, emitted: events, duplicates, ..runtime::ledger::Counts::default() }
    }
}

/// Everything that decides about stamps, except the state of the partition.
#[derive(Debug, Clone, Copy)]
pub struct Stamper<'a> {
    /// Makes device and user keys.
    pub identity: &'a IdentityKey,
    /// The channel rules.
    pub rules: &'a ChannelRules,
    /// The activity registry as of this batch.
    pub activities: &'a Activities,
}

/// Who an event belongs to, and what it is.
#[derive(Debug, Clone, Copy)]
struct Identified {
    /// 0 without an `anonymous_id`.
    device_key: u64,
    event_key: u128,
    kind: Kind,
    stamps: Option<Stamps>,
}

/// The stamps of a channel, as numbers of the batch's texts.
#[derive(Debug, Clone, Copy)]
struct ChannelTexts {
    group: TextRef,
    source: TextRef,
    medium: TextRef,
    campaign: TextRef,
    rule: TextRef,
}

/// The texts a channel depends on, as numbers of the batch's texts.
type EvidenceKey = [TextRef; 8];

impl Stamper<'_> {
    /// Stamps every event of `batch`: one event out for each event in, in the same order.
    pub fn stamp(
        &self,
        batch: Batch,
        partition: &mut Partition,
        days: &mut BusinessDays,
    ) -> (Vec<u8>, Counts) {
        let rows = batch.rows();
        let identified = self.identify(&batch, partition, days);
        let mut out = BatchBuilder::stamping(batch);
        let mut channels: HashMap<EvidenceKey, ChannelTexts, RandomState> = HashMap::default();
        let mut counts = Counts::default();
        for (row, event) in (0..rows).zip(&identified) {
            match event.kind {
                Kind::Duplicate => counts.duplicates += 1,
                Kind::Test => counts.tests += 1,
                Kind::Event | Kind::Bot => counts.events += 1,
            }
            self.stamp_identity(row, event, &mut out);
            if let Some(stamps) = &event.stamps {
                stamp_device(row, stamps, &mut out, days);
            }
            self.stamp_channel(row, &mut out, &mut channels);
            self.stamp_activity(row, &mut out);
            out.end_row();
        }
        (out.finish(), counts)
    }

    /// Asks the partition's memory about every event. One table after the other: then the processor fetches the places
    /// of the next events while it looks at this one.
    fn identify(&self, batch: &Batch, partition: &mut Partition, days: &mut BusinessDays) -> Vec<Identified> {
        let mut identified: Vec<Identified> = (0..batch.rows())
            .map(|row| {
                let device = device_hash(self.identity, batch, row);
                let anonymous = batch.text(Field::AnonymousId, row).is_empty();
                let is_test = batch.text(Field::Kind, row) == Kind::Test.as_str();
                Identified {
                    device_key: if anonymous { 0 } else { device as u64 },
                    event_key: device ^ batch.uuid(Field::EventId, row),
                    kind: if is_test { Kind::Test } else { Kind::Event },
                    stamps: None,
                }
            })
            .collect();
        for (row, event) in identified.iter_mut().enumerate() {
            let received_ms = batch.number(Field::ReceivedAt, row);
            partition.received(received_ms, days);
            if !partition.window.accept(event.event_key, received_ms) {
                event.kind = Kind::Duplicate;
            }
        }
        for (row, event) in identified.iter_mut().enumerate() {
            if event.kind == Kind::Event && event.device_key != 0 {
                event.stamps =
                    Some(partition.devices.touch(event.device_key, &device_event(batch, row, event, days)));
            }
        }
        identified
    }

    fn stamp_identity(&self, row: usize, event: &Identified, out: &mut BatchBuilder) {
        let batch = out.batch();
        let user_id = batch.text(Field::UserId, row);
        let user_key = match user_id {
            "" => 0,
            _ => self.identity.hash(batch.text(Field::AppId, row), user_id) as u64,
        };
        out.key(Field::DeviceKey, event.device_key);
        out.key(Field::UserKey, user_key);
        out.text(Field::Kind, event.kind.as_str());
    }

    fn stamp_channel(
        &self,
        row: usize,
        out: &mut BatchBuilder,
        known: &mut HashMap<EvidenceKey, ChannelTexts, RandomState>,
    ) {
        let batch = out.batch();
        // Events of a batch show the same few kinds of evidence again and again, so each is judged once.
        let key = EVIDENCE_FIELDS.map(|field| match field {
            Field::PageUrl if !batch.text(field, row).contains('?') => 0,
            _ => batch.text_column(field).get(row).copied().unwrap_or(0),
        });
        let channel = match known.get(&key) {
            Some(channel) => *channel,
            None => {
                let channel = self.rules.decide(&evidence(batch, row));
                let texts = ChannelTexts {
                    group: out.intern(channel.group),
                    source: out.intern(&channel.source),
                    medium: out.intern(&channel.medium),
                    campaign: out.intern(&channel.campaign),
                    rule: out.intern(channel.rule),
                };
                known.insert(key, texts);
                texts
            }
        };
        out.set_text(Field::ChannelGroup, channel.group);
        out.set_text(Field::ChannelSource, channel.source);
        out.set_text(Field::ChannelMedium, channel.medium);
        out.set_text(Field::ChannelCampaign, channel.campaign);
        out.set_text(Field::ChannelRule, channel.rule);
    }

    fn stamp_activity(&self, row: usize, out: &mut BatchBuilder) {
        let batch = out.batch();
        let id = batch.text(Field::ActivityEventId, row);
        if id.is_empty() {
            return;
        }
        let (id, app_id) = (id.to_owned(), batch.text(Field::AppId, row));
        if let Some(touch) = self.activities.touch(&id, app_id, batch.number(Field::EventTime, row)) {
            out.text(Field::ActivityId, touch.activity_id);
            out.text(Field::ActivityEventKey, touch.event_key);
            out.text(Field::ActivityType, touch.activity_type);
            out.text(Field::ActivityStatus, touch.status.as_str());
        }
    }
}

fn device_event(batch: &Batch, row: usize, event: &Identified, days: &mut BusinessDays) -> Event {
    let session_id = batch.text(Field::SessionId, row);
    let time_ms = batch.number(Field::EventTime, row);
    Event {
        day: days.day(time_ms),
        time_ms,
        session: (!session_id.is_empty()).then(|| xxh3_64(session_id.as_bytes())),
        own_session: (event.event_key >> 64) as u64 ^ event.event_key as u64,
    }
}

fn stamp_device(row: usize, stamps: &Stamps, out: &mut BatchBuilder, days: &mut BusinessDays) {
    out.number(Field::IsNewDevice, stamps.is_new_device.into());
    out.text(Field::FirstSeenDay, days.text(stamps.first_seen_day));
    if stamps.active_day {
        out.push_list(Field::ActiveDay, "any");
    }
    out.number(Field::SessionStart, stamps.session_start.into());
    if out.batch().text(Field::SessionId, row).is_empty() {
        out.text(Field::SessionId, &format!("{:016x}", stamps.last_session));
    }
}

const EVIDENCE_FIELDS: [Field; 8] = [
    Field::CampaignSource,
    Field::CampaignMedium,
    Field::CampaignName,
    Field::ClickIdType,
    Field::InstallSource,
    Field::PageReferrer,
    Field::Platform,
    Field::PageUrl,
];

fn evidence(batch: &Batch, row: usize) -> Evidence<'_> {
    let mut evidence = Evidence {
        campaign_source: batch.text(Field::CampaignSource, row).into(),
        campaign_medium: batch.text(Field::CampaignMedium, row).into(),
        campaign_name: batch.text(Field::CampaignName, row).into(),
        click_id_type: batch.text(Field::ClickIdType, row).into(),
        install_source: batch.text(Field::InstallSource, row),
        referrer: batch.text(Field::PageReferrer, row),
        platform: batch.text(Field::Platform, row),
    };
    evidence.read_address(batch.text(Field::PageUrl, row));
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{channel::BUILT_IN, dedupe::WindowLimits, devices::DeviceLimits, partition::PartitionLimits};

    fn partition() -> Partition {
        let window = WindowLimits { length_ms: 1000, max_entries: 1000 };
        Partition::new(PartitionLimits { window, devices: DeviceLimits { ttl_days: 400, max_devices: 1000 } })
    }

    fn clean(events: &[(u128, &str, &str)]) -> Batch {
        let mut builder = BatchBuilder::default();
        for &(id, user, activity) in events {
            builder.text(Field::AppId, "web-main");
            builder.text(Field::AnonymousId, "d1");
            builder.uuid(Field::EventId, id);
            builder.text(Field::Kind, if id == 9 { "test" } else { "event" });
            builder.text(Field::UserId, user);
            builder.text(Field::ActivityEventId, activity);
            builder.text(Field::PageUrl, "https://www.example.tv/?utm_source=baidu&utm_medium=cpc");
            builder.number(Field::ReceivedAt, 1);
            builder.end_row();
        }
        Batch::decode(&builder.finish()).unwrap()
    }

    fn stamp(batch: Batch, partition: &mut Partition) -> (Batch, Counts) {
        let stamper = Stamper {
            identity: &IdentityKey::new("secret"),
            rules: &ChannelRules::parse(BUILT_IN, &[]).unwrap(),
            activities: &Activities::default(),
        };
        let (bytes, counts) =
            stamper.stamp(batch, partition, &mut BusinessDays::new("Asia/Shanghai").unwrap());
        (Batch::decode(&bytes).unwrap(), counts)
    }

    #[test]
    fn every_event_in_is_one_event_out_and_duplicates_say_so() {
        let (batch, counts) = stamp(clean(&[(1, "", ""), (9, "", ""), (1, "", "")]), &mut partition());
        assert_eq!(counts, Counts { events: 1, duplicates: 1, tests: 1 });
        let kinds: Vec<&str> = (0..3).map(|row| batch.text(Field::Kind, row)).collect();
        assert_eq!(kinds, ["event", "test", "duplicate"]);
    }

    #[test]
    fn channel_device_user_and_activity_are_stamped() {
        let (batch, _) = stamp(clean(&[(1, "u1", "spring_join"), (2, "", "")]), &mut partition());
        assert_eq!(batch.text(Field::ChannelGroup, 0), "paid_search");
        assert_eq!(batch.text(Field::ChannelSource, 1), "baidu");
        assert_ne!(batch.key(Field::DeviceKey, 0), 0);
        assert_eq!(batch.key(Field::DeviceKey, 0), batch.key(Field::DeviceKey, 1));
        assert_ne!(batch.key(Field::UserKey, 0), 0);
        assert_eq!(batch.key(Field::UserKey, 1), 0);
        assert_eq!(batch.text(Field::ActivityId, 0), "spring");
        assert_eq!(batch.text(Field::ActivityStatus, 0), "unregistered");
        assert_eq!(batch.text(Field::ActivityStatus, 1), "");
    }

    #[test]
    fn only_the_first_event_of_a_device_is_new_and_a_test_touches_nothing() {
        let mut partition = partition();
        let (batch, _) = stamp(clean(&[(9, "", ""), (1, "", ""), (2, "", "")]), &mut partition);
        assert_eq!(partition.devices.len(), 1);
        let stamps = |field| (0..3).map(|row| batch.number(field, row)).collect::<Vec<_>>();
        assert_eq!(stamps(Field::IsNewDevice), [0, 1, 0]);
        assert_eq!(stamps(Field::SessionStart), [0, 1, 0]);
        assert_eq!([0, 1, 2].map(|row| batch.list(Field::ActiveDay, row).len()), [0, 1, 0]);
        let texts = |field| (0..3).map(|row| batch.text(field, row).to_owned()).collect::<Vec<_>>();
        assert_eq!(texts(Field::FirstSeenDay), ["", "1970-01-01", "1970-01-01"]);
        let sessions = texts(Field::SessionId);
        assert_eq!((sessions[0].as_str(), sessions[1].len()), ("", 16));
        assert_eq!(sessions[1], sessions[2]);
    }

    #[test]
    fn a_partition_that_is_restored_from_what_it_wrote_decides_the_same() {
        let identity = IdentityKey::new("secret");
        let mut partition = partition();
        let (written, _) = stamp(clean(&[(1, "", ""), (9, "", ""), (1, "", "")]), &mut partition);
        let mut restored = super::tests::partition();
        let mut value = Vec::new();
        for (key, device) in partition.devices.changes() {
            device.unwrap().encode(&mut value);
            restored.restore_state(&key.to_be_bytes(), Some(&value)).unwrap();
        }
        let mut copy = BatchBuilder::stamping(written);
        (0..3).for_each(|_| copy.end_row());
        assert_eq!(restored.replay(&copy.finish(), &identity).unwrap(), 3);
        let (again, counts) = stamp(clean(&[(9, "", ""), (1, "", ""), (2, "", "")]), &mut restored);
        assert_eq!(counts, Counts { events: 1, duplicates: 2, tests: 0 });
        assert_eq!((again.number(Field::IsNewDevice, 2), again.number(Field::SessionStart, 2)), (0, 0));
        assert!(restored.restore_state(b"short", None).is_err());
    }
}
