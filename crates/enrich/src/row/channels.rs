//! The channels of the events of a batch, matched once for each combination of evidence.
use event::{Batch, Field, TextRef};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::rc::Rc;

use super::{agents::AgentFacts, text::text_ref};
use crate::{
    channel::{Channel, ChannelRules, Evidence, has_evidence, host},
    device::{
        shared::{ChannelTexts, Shared, SharedChannel},
        text_hash,
        touch::{EventChannels, EvidenceChannel},
    },
};

/// The channels of one batch.
#[derive(Debug, Default)]
pub(crate) struct ChannelCache {
    own: HashMap<EvidenceKey, OwnChannels, RandomState>,
    /// By platform and in-app browser. They are few, so a scan finds one.
    fallbacks: Vec<(FallbackPlace, Rc<SharedChannel>)>,
}

/// What the channel of an event without evidence depends on: the platform, the in-app browser, and whether the referrer is
/// a container of mini programs.
type FallbackPlace = (TextRef, &'static str, bool);

/// The channels of one combination of evidence.
#[derive(Debug, Clone, Default)]
struct OwnChannels {
    own: Option<EvidenceChannel>,
    /// Of a device's first event, where the app store is evidence too.
    first: Option<EvidenceChannel>,
    in_mini_program: bool,
}

/// Everything that the channel of an event's own evidence depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct EvidenceKey {
    /// As numbers of the batch's texts.
    texts: [TextRef; 5],
    /// The page's address when its parameters may be evidence, else 0: most addresses differ and show nothing.
    page: TextRef,
    /// Hash of the referrer's host: rules look at nothing else of a referrer.
    referrer_host: u64,
}

const EVIDENCE: [Field; 5] = [
    Field::CampaignSource,
    Field::CampaignMedium,
    Field::CampaignName,
    Field::ClickIdType,
    Field::InstallSource,
];

impl EvidenceKey {
    fn of(batch: &Batch, row: usize) -> Self {
        let page = text_ref(batch, Field::PageUrl, row);
        let referrer = batch.text(Field::PageReferrer, row);
        let host_hash = |referrer| host(referrer).map_or(0, |host| text_hash(&host));
        Self {
            texts: EVIDENCE.map(|field| text_ref(batch, field, row)),
            page: if page != 0 && has_evidence(batch.resolve(page)) { page } else { 0 },
            referrer_host: if referrer.is_empty() { 0 } else { host_hash(referrer) },
        }
    }
}

impl ChannelCache {
    /// The channels of the event of a row.
    pub(crate) fn get(
        &mut self,
        batch: &Batch,
        row: usize,
        agent: AgentFacts,
        rules: &ChannelRules,
        shared: &mut Shared,
    ) -> EventChannels<'_> {
        let Self { own, fallbacks } = self;
        let channels = own_channels(own, batch, row, rules, shared);
        let in_mini_program = channels.is_some_and(|channels| channels.in_mini_program);
        let place = (text_ref(batch, Field::Platform, row), agent.in_app_browser, in_mini_program);
        let known = fallbacks.iter().position(|(known, _)| *known == place);
        let index = known.unwrap_or_else(|| {
            let evidence = Evidence { referrer: batch.text(Field::PageReferrer, row), ..Evidence::default() };
            let fallback = rules.fallback(&evidence, batch.resolve(place.0), place.1);
            fallbacks.push((place, share(&fallback, shared)));
            fallbacks.len() - 1
        });
        let fallback = &fallbacks[index].1;
        match channels {
            Some(OwnChannels { own, first, .. }) => {
                EventChannels { own: own.as_ref(), first: first.as_ref(), fallback }
            }
            None => EventChannels { own: None, first: None, fallback },
        }
    }

    /// The channel of the own evidence of a row of an enriched batch. The rules are those of today.
    pub(crate) fn own(
        &mut self,
        batch: &Batch,
        row: usize,
        rules: &ChannelRules,
        shared: &mut Shared,
    ) -> Option<&EvidenceChannel> {
        let channels = own_channels(&mut self.own, batch, row, rules, shared)?;
        // Only the install source of a first event is certainly the event's own: enrich writes the first known install
        // source on all later events.
        let is_new_device = batch.number(Field::IsNewDevice, row) == 1;
        if is_new_device { channels.first.as_ref() } else { channels.own.as_ref() }
    }
}

/// None for an event without any evidence.
fn own_channels<'c>(
    known: &'c mut HashMap<EvidenceKey, OwnChannels, RandomState>,
    batch: &Batch,
    row: usize,
    rules: &ChannelRules,
    shared: &mut Shared,
) -> Option<&'c OwnChannels> {
    let key = EvidenceKey::of(batch, row);
    if key == EvidenceKey::default() {
        return None;
    }
    Some(known.entry(key).or_insert_with(|| {
        let mut match_rules = |install_source| {
            let channel = rules.own(&Evidence::of_event(batch, row, install_source))?;
            Some(EvidenceChannel { channel: share(&channel, shared), is_touch: channel.is_touch })
        };
        let own = match_rules("");
        let first = match batch.text(Field::InstallSource, row) {
            "" => own.clone(),
            install_source => match_rules(install_source),
        };
        let in_mini_program = rules.is_in_mini_program(batch.text(Field::PageReferrer, row));
        OwnChannels { own, first, in_mini_program }
    }))
}

fn share(channel: &Channel<'_>, shared: &mut Shared) -> Rc<SharedChannel> {
    let Channel { group, source, medium, campaign, rule, is_touch: _ } = channel;
    shared.channel(ChannelTexts { group, source, medium, campaign, rule })
}
