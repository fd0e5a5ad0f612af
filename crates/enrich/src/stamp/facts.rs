//! What the events of a batch say, as far as stamps depend on it: each name, user agent and kind of evidence is judged
//! once per batch, however many events share it.
use event::{Batch, Field, TextRef};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::rc::Rc;

use crate::{
    channel::{Channel, ChannelRules},
    device::{
        active::Definitions,
        commerce::CommerceEvent,
        hash,
        playback::PlaybackEvent,
        shared::{Origin, OriginTexts, Shared},
        touch::{Judgement, Shown},
    },
    evidence::{Evidence, host, may_show},
    user_agent::UserAgents,
};

/// What an event's name says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Name {
    /// Steps of definitions of active that such an event may fulfil.
    pub(crate) possible_steps: u64,
    pub(crate) is_playback: bool,
    pub(crate) is_vip_page: bool,
    /// An order, of a VIP subscription or of a gift.
    pub(crate) is_order: bool,
    pub(crate) is_vip_order: bool,
    pub(crate) is_conversion: bool,
    pub(crate) is_published: bool,
    pub(crate) is_level_change: bool,
}

/// The names of a batch.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// For each text of the batch its place in `names` plus 1; 0 when it was not asked for yet.
    places: Vec<u16>,
    names: Vec<Name>,
}

impl Names {
    pub(crate) fn of(
        &mut self,
        batch: &Batch,
        row: usize,
        definitions: &Definitions,
        conversion_events: &[String],
    ) -> Name {
        let text = text_ref(batch, Field::EventName, row) as usize;
        if self.places.len() <= text {
            self.places.resize(batch.text_count().max(text + 1), 0);
        }
        let place = usize::from(self.places[text]);
        if let Some(&name) = place.checked_sub(1).and_then(|place| self.names.get(place)) {
            return name;
        }
        let event_name = batch.text(Field::EventName, row);
        let name = Name {
            possible_steps: definitions.possible(event_name),
            is_playback: event_name.starts_with("playback_"),
            is_vip_page: event_name == "vip_page_viewed",
            is_order: matches!(event_name, "vip_opened" | "gift_sent"),
            is_vip_order: event_name == "vip_opened",
            is_conversion: conversion_events.iter().any(|one| one == event_name),
            is_published: event_name == "content_published",
            is_level_change: event_name == "creator_level_changed",
        };
        self.names.push(name);
        // A batch has fewer rows, and so fewer names, than this type has numbers.
        self.places[text] = u16::try_from(self.names.len()).unwrap_or(0);
        name
    }
}

/// What a user agent says about who sent an event.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Agent {
    pub(crate) is_bot: bool,
    pub(crate) in_app_browser: &'static str,
}

/// The user agents of a batch.
#[derive(Debug, Default)]
pub(crate) struct Agents(HashMap<TextRef, Agent, RandomState>);

impl Agents {
    pub(crate) fn of(&mut self, batch: &Batch, row: usize, known: &mut UserAgents) -> Agent {
        match text_ref(batch, Field::UserAgent, row) {
            0 => Agent::default(),
            text => *self.0.entry(text).or_insert_with(|| {
                let agent = known.read(batch.resolve(text));
                Agent { is_bot: agent.is_bot, in_app_browser: agent.in_app_browser }
            }),
        }
    }
}

/// The evidence of a batch and what it comes to.
#[derive(Debug, Default)]
pub(crate) struct Judgements {
    own: HashMap<EvidenceKey, [Option<Shown>; 2], RandomState>,
    /// By platform and in-app browser: a handful, so they are looked through.
    fallbacks: Vec<((TextRef, &'static str), Rc<Origin>)>,
}

/// What a channel depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct EvidenceKey {
    /// As numbers of the batch's texts.
    texts: [TextRef; 5],
    /// The page's address, when its parameters may be evidence; most pages differ and show nothing.
    page: TextRef,
    /// Hash of the referrer's host: rules do not look further.
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
        Self {
            texts: EVIDENCE.map(|field| text_ref(batch, field, row)),
            page: if page != 0 && may_show(batch.resolve(page)) { page } else { 0 },
            referrer_host: if referrer.is_empty() { 0 } else { host(referrer).map_or(0, |host| hash(&host)) },
        }
    }
}

impl Judgements {
    pub(crate) fn of(
        &mut self,
        batch: &Batch,
        row: usize,
        agent: Agent,
        rules: &ChannelRules,
        shared: &mut Shared,
    ) -> Judgement<'_> {
        let key = EvidenceKey::of(batch, row);
        let place = (text_ref(batch, Field::Platform, row), agent.in_app_browser);
        let known = self.fallbacks.iter().position(|(known, _)| *known == place);
        let known = known.unwrap_or_else(|| {
            let fallback = rules.fallback(batch.resolve(place.0), place.1);
            self.fallbacks.push((place, share(&fallback, shared)));
            self.fallbacks.len() - 1
        });
        let fallback = &self.fallbacks[known].1;
        if key == EvidenceKey::default() {
            return Judgement { own: None, first: None, fallback };
        }
        let [own, first] = self.own.entry(key).or_insert_with(|| {
            let mut judge = |install_source| {
                let channel = rules.own(&Evidence::of_event(batch, row, install_source))?;
                Some(Shown { origin: share(&channel, shared), is_touch: channel.is_touch })
            };
            let own = judge("");
            let first = match batch.text(Field::InstallSource, row) {
                "" => own.clone(),
                install_source => judge(install_source),
            };
            [own, first]
        });
        Judgement { own: own.as_ref(), first: first.as_ref(), fallback }
    }
}

fn share(channel: &Channel<'_>, shared: &mut Shared) -> Rc<Origin> {
    let Channel { group, source, medium, campaign, rule, is_touch: _ } = channel;
    shared.origin(OriginTexts { group, source, medium, campaign, rule })
}

/// The playback an event is of, if it is of one.
pub(crate) fn playback(batch: &Batch, row: usize) -> Option<PlaybackEvent> {
    let id = match batch.text(Field::PlaybackId, row) {
        "" => return None,
        id => hash(id),
    };
    let content = match batch.text(Field::ContentId, row) {
        "" => 0,
        content => hash(content),
    };
    let played_ms = batch.number(Field::PlayedMs, row);
    let duration_ms = batch.number(Field::ContentDurationMs, row);
    Some(PlaybackEvent { id, played_ms, duration_ms, content })
}

/// What an event of this name has to do with orders.
pub(crate) fn commerce(batch: &Batch, row: usize, name: Name) -> Option<CommerceEvent<'_>> {
    if name.is_vip_page {
        return Some(CommerceEvent::Page { entry_point: batch.text(Field::EntryPoint, row) });
    }
    let id = hash(batch.text(Field::OrderId, row));
    name.is_order.then_some(CommerceEvent::Order { id, is_vip: name.is_vip_order })
}

/// Hash of the client's session ID.
pub(crate) fn session(batch: &Batch, row: usize) -> Option<u64> {
    match batch.text(Field::SessionId, row) {
        "" => None,
        id => Some(hash(id)),
    }
}

pub(crate) fn text_ref(batch: &Batch, field: Field, row: usize) -> TextRef {
    batch.text_column(field).get(row).copied().unwrap_or(0)
}
