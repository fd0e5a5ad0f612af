//! Writes the decisions about events as stamps into the batch. Texts that events share are looked up once per batch.
use event::{ActivityStatus, BatchBuilder, Field, Kind, TextRef, calendar::BusinessDays};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::rc::Rc;

use super::decision::EventDecision;
use crate::{
    activity::Activities,
    device::{
        DeviceStamps,
        active::{ANY, Definitions},
        commerce::CommerceStamps,
        playback::PlaybackStamps,
        shared::SharedChannel,
    },
    row::text_ref,
    user_agent::UserAgents,
};

/// An enriched batch under construction.
pub(super) struct StampWriter {
    pub(super) out: BatchBuilder,
    /// By address: the decisions of the batch keep every channel alive.
    channels: HashMap<usize, ChannelRefs, RandomState>,
    agents: HashMap<TextRef, AgentRefs, RandomState>,
    /// Activity ID and event key of each of the client's activity event IDs.
    activities: HashMap<TextRef, [TextRef; 2], RandomState>,
}

#[derive(Debug, Clone, Copy)]
struct ChannelRefs {
    group: TextRef,
    source: TextRef,
    medium: TextRef,
    campaign: TextRef,
    rule: TextRef,
}

#[derive(Debug, Clone, Copy)]
struct AgentRefs {
    brand: TextRef,
    model: TextRef,
    os_name: TextRef,
    os_version: TextRef,
    browser: TextRef,
    in_app_browser: TextRef,
}

impl StampWriter {
    pub(super) fn new(out: BatchBuilder) -> Self {
        let (channels, agents, activities) = Default::default();
        Self { out, channels, agents, activities }
    }

    pub(super) fn identity(&mut self, kind: Kind, device_key: u64, user_key: u64) {
        self.out.key(Field::DeviceKey, device_key);
        self.out.key(Field::UserKey, user_key);
        self.out.text(Field::Kind, kind.as_str());
    }

    /// The previous level is a dimension of level changes; on other events it would split groups that belong together.
    pub(super) fn previous_level(&mut self, row: usize, is_level_change: bool) {
        if !is_level_change && text_ref(self.out.batch(), Field::PreviousLevel, row) != 0 {
            self.out.set_text(Field::PreviousLevel, 0);
        }
    }

    /// Device, system and browser: what the client reports, else what its user agent contains.
    pub(super) fn agent(&mut self, row: usize, known: &mut UserAgents) {
        let batch = self.out.batch();
        let user_agent = text_ref(batch, Field::UserAgent, row);
        let manufacturer = text_ref(batch, Field::DeviceManufacturer, row);
        let own =
            [Field::DeviceModel, Field::OsName, Field::OsVersion].map(|field| text_ref(batch, field, row));
        if user_agent == 0 {
            self.out.set_text(Field::DeviceBrand, manufacturer);
            return;
        }
        let from_agent = match self.agents.get(&user_agent) {
            Some(known) => *known,
            None => {
                let agent = known.read(batch.resolve(user_agent));
                let out = &mut self.out;
                let refs = AgentRefs {
                    brand: out.intern(&agent.device_brand),
                    model: out.intern(&agent.device_model),
                    os_name: out.intern(&agent.os_name),
                    os_version: out.intern(&agent.os_version),
                    browser: out.intern(&agent.browser),
                    in_app_browser: out.intern(agent.in_app_browser),
                };
                self.agents.insert(user_agent, refs);
                refs
            }
        };
        let or = |own: TextRef, other: TextRef| if own == 0 { other } else { own };
        self.out.set_text(Field::DeviceBrand, or(manufacturer, from_agent.brand));
        self.out.set_text(Field::DeviceModel, or(own[0], from_agent.model));
        self.out.set_text(Field::OsName, or(own[1], from_agent.os_name));
        self.out.set_text(Field::OsVersion, or(own[2], from_agent.os_version));
        self.out.set_text(Field::Browser, from_agent.browser);
        self.out.set_text(Field::InAppBrowser, from_agent.in_app_browser);
    }

    pub(super) fn device(
        &mut self,
        row: usize,
        day: i32,
        stamps: &DeviceStamps,
        definitions: &Definitions,
        days: &mut BusinessDays,
    ) {
        let out = &mut self.out;
        out.number(Field::IsNewDevice, stamps.is_new_device.into());
        out.text(Field::FirstSeenDay, days.text(stamps.first_seen_day));
        let age = i64::from(day) - i64::from(stamps.first_seen_day);
        out.number(Field::DaysSinceFirst, age);
        out.number(Field::SessionStart, stamps.session_start.into());
        out.number(Field::LostEvents, stamps.lost_events);
        if text_ref(out.batch(), Field::SessionId, row) == 0 {
            let mut digits = [0; 16];
            out.text(Field::SessionId, hex(stamps.session, &mut digits));
        }
        if let Some(known) = &stamps.install_source
            && text_ref(out.batch(), Field::InstallSource, row) == 0
        {
            out.text(Field::InstallSource, known);
        }
        self.active(stamps, definitions);
        self.channel(&stamps.channel);
        let first = self.channel_refs(&stamps.first_channel);
        self.out.set_text(Field::FirstChannelGroup, first.group);
        self.out.set_text(Field::FirstSource, first.source);
        self.playback(&stamps.playback);
        self.commerce(&stamps.commerce);
        self.out.number(Field::ActivityFirstTouch, stamps.activity_first_touch.into());
    }

    fn active(&mut self, stamps: &DeviceStamps, definitions: &Definitions) {
        let out = &mut self.out;
        if stamps.active.day || stamps.is_new_device || stamps.session_start {
            out.push_list(Field::ActiveDefinition, ANY);
        }
        let by_definition = stamps.active_by_definition.iter();
        let by_definition = by_definition.map(|&(index, first)| (definitions.name(index), first));
        for (name, first) in [(ANY, stamps.active)].into_iter().chain(by_definition) {
            if first.day && name != ANY {
                out.push_list(Field::ActiveDefinition, name);
            }
            for (field, is_first) in [
                (Field::ActiveDay, first.day),
                (Field::ActiveWeek, first.week),
                (Field::ActiveMonth, first.month),
            ] {
                if is_first {
                    out.push_list(field, name);
                }
            }
        }
    }

    pub(super) fn channel(&mut self, channel: &Rc<SharedChannel>) {
        let refs = self.channel_refs(channel);
        self.out.set_text(Field::ChannelGroup, refs.group);
        self.out.set_text(Field::ChannelSource, refs.source);
        self.out.set_text(Field::ChannelMedium, refs.medium);
        self.out.set_text(Field::ChannelCampaign, refs.campaign);
        self.out.set_text(Field::ChannelRule, refs.rule);
    }

    fn channel_refs(&mut self, channel: &Rc<SharedChannel>) -> ChannelRefs {
        let Self { out, channels, .. } = self;
        *channels.entry(Rc::as_ptr(channel).addr()).or_insert_with(|| ChannelRefs {
            group: out.intern(&channel.group),
            source: out.intern(&channel.source),
            medium: out.intern(&channel.medium),
            campaign: out.intern(&channel.campaign),
            rule: out.intern(&channel.rule),
        })
    }

    fn playback(&mut self, stamps: &PlaybackStamps) {
        let out = &mut self.out;
        out.number(Field::PlayStart, stamps.start.into());
        out.number(Field::EffectivePlay, stamps.effective.into());
        out.number(Field::CompletedPlay, stamps.completed.into());
        out.number(Field::Replay, stamps.rewatch.into());
        out.number(Field::PlayedTotalMs, stamps.played_total_ms);
    }

    fn commerce(&mut self, stamps: &CommerceStamps) {
        self.out.number(Field::RepeatedOrder, stamps.repeated_order.into());
        if let Some(entry_point) = &stamps.matched_entry_point {
            self.out.text(Field::MatchedEntryPoint, entry_point);
        }
    }

    /// The event's activity, and on a conversion the one it is attributed to.
    pub(super) fn activity(&mut self, row: usize, decision: &EventDecision<'_>, activities: &Activities) {
        let mut touched = 0;
        if let Some(stamp) = &decision.activity {
            let [activity_id, event_key] = match stamp.by_rule {
                Some((activity_id, event_key)) => [activity_id, event_key].map(|text| self.out.intern(text)),
                None => self.client_id_halves(row),
            };
            self.out.set_text(Field::ActivityId, activity_id);
            self.out.set_text(Field::ActivityEventKey, event_key);
            self.out.text(Field::ActivityType, stamp.activity_type);
            self.out.text(Field::ActivityStatus, stamp.status.as_str());
            touched = if stamp.status == ActivityStatus::Ok { activity_id } else { 0 };
        }
        let Some(stamps) = decision.device_stamps.as_ref().filter(|_| decision.name.is_conversion) else {
            return;
        };
        if touched != 0 {
            self.out.set_text(Field::AttributedActivityId, touched);
        } else if let Some(last) = &stamps.last_activity {
            let window_ms = activities.attribution_window_ms(&last.activity_id);
            if last.leads_to(self.out.batch().number(Field::EventTime, row), window_ms) {
                self.out.text(Field::AttributedActivityId, &last.activity_id);
            }
        }
    }

    /// Activity ID and event key of the client's activity event ID.
    fn client_id_halves(&mut self, row: usize) -> [TextRef; 2] {
        let Self { out, activities, .. } = self;
        let id = text_ref(out.batch(), Field::ActivityEventId, row);
        *activities.entry(id).or_insert_with(|| {
            let id = out.batch().resolve(id).to_owned();
            let (activity_id, event_key) = id.split_once('_').unwrap_or((&id, ""));
            [out.intern(activity_id), out.intern(event_key)]
        })
    }

    pub(super) fn publish_day(&mut self, row: usize, decision: &EventDecision<'_>, days: &mut BusinessDays) {
        let published_ms = self.out.batch().number(Field::PublishedAt, row);
        let day = match published_ms {
            0 if decision.name.is_published => decision.day,
            0 => return,
            published_ms => days.day(published_ms),
        };
        self.out.text(Field::PublishDay, days.text(day));
    }

    pub(super) fn payer(&mut self, payer_key: u64) {
        self.out.key(Field::PayerKey, payer_key);
    }
}

/// Sixteen hexadecimal digits, without an allocation.
fn hex(number: u64, digits: &mut [u8; 16]) -> &str {
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * place)) as usize & 15];
    }
    str::from_utf8(digits).unwrap_or_default()
}
