//! Puts enrich's stamps on a batch of clean events. Pure: what it needs to know comes as arguments.
use event::{Batch, BatchBuilder, Field, IdentityKey, Kind, TextRef};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::{activity::Activities, channel::ChannelRules, dedupe::Window, evidence::Evidence};

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
    pub fn stamp(&self, batch: Batch, window: &mut Window) -> (Vec<u8>, Counts) {
        let rows = batch.rows();
        let mut out = BatchBuilder::stamping(batch);
        let mut channels: HashMap<EvidenceKey, ChannelTexts, RandomState> = HashMap::default();
        let mut counts = Counts::default();
        for row in 0..rows {
            let kind = self.stamp_identity(row, &mut out, window);
            match kind {
                Kind::Duplicate => counts.duplicates += 1,
                Kind::Test => counts.tests += 1,
                Kind::Event | Kind::Bot => counts.events += 1,
            }
            out.text(Field::Kind, kind.as_str());
            self.stamp_channel(row, &mut out, &mut channels);
            self.stamp_activity(row, &mut out);
            out.end_row();
        }
        (out.finish(), counts)
    }

    /// Stamps device and user, and says what the event is.
    fn stamp_identity(&self, row: usize, out: &mut BatchBuilder, window: &mut Window) -> Kind {
        let batch = out.batch();
        let app_id = batch.text(Field::AppId, row);
        let (anonymous_id, user_id) = (batch.text(Field::AnonymousId, row), batch.text(Field::UserId, row));
        let device = self.identity.hash(app_id, anonymous_id);
        let device_key = if anonymous_id.is_empty() { 0 } else { device as u64 };
        let user_key = if user_id.is_empty() { 0 } else { self.identity.hash(app_id, user_id) as u64 };
        let key = device ^ batch.uuid(Field::EventId, row);
        let first = window.accept(key, batch.number(Field::ReceivedAt, row));
        let is_test = batch.text(Field::Kind, row) == Kind::Test.as_str();
        out.key(Field::DeviceKey, device_key);
        out.key(Field::UserKey, user_key);
        match (first, is_test) {
            (false, _) => Kind::Duplicate,
            (true, true) => Kind::Test,
            (true, false) => Kind::Event,
        }
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
    use crate::channel::BUILT_IN;

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

    fn stamp(batch: Batch, window: &mut Window) -> (Batch, Counts) {
        let stamper = Stamper {
            identity: &IdentityKey::new("secret"),
            rules: &ChannelRules::parse(BUILT_IN, &[]).unwrap(),
            activities: &Activities::default(),
        };
        let (bytes, counts) = stamper.stamp(batch, window);
        (Batch::decode(&bytes).unwrap(), counts)
    }

    #[test]
    fn every_event_in_is_one_event_out_and_duplicates_say_so() {
        let (batch, counts) = stamp(clean(&[(1, "", ""), (9, "", ""), (1, "", "")]), &mut Window::new(1000));
        assert_eq!(counts, Counts { events: 1, duplicates: 1, tests: 1 });
        let kinds: Vec<&str> = (0..3).map(|row| batch.text(Field::Kind, row)).collect();
        assert_eq!(kinds, ["event", "test", "duplicate"]);
    }

    #[test]
    fn channel_device_user_and_activity_are_stamped() {
        let (batch, _) = stamp(clean(&[(1, "u1", "spring_join"), (2, "", "")]), &mut Window::new(1000));
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
}
