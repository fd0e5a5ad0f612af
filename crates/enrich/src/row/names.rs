//! The event names of a batch: which rules apply to an event of that name.
use event::{Batch, Field};

use super::text::text_ref;
use crate::device::active::Definitions;

/// The rules that apply to events of one name.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NameFacts {
    /// Steps of definitions of active that such an event can fulfil, one bit each.
    pub(crate) possible_steps: u64,
    pub(crate) is_vip_page: bool,
    /// An order of a VIP subscription or of a gift.
    pub(crate) is_order: bool,
    pub(crate) is_vip_order: bool,
    pub(crate) is_conversion: bool,
    pub(crate) is_published: bool,
    pub(crate) is_level_change: bool,
}

/// The event names of one batch.
#[derive(Debug, Default)]
pub(crate) struct NameCache {
    /// For each text of the batch the place of its facts, counted from 1; 0 for a text that was not looked up yet.
    places: Vec<u16>,
    facts: Vec<NameFacts>,
}

impl NameCache {
    /// The facts of a row's event name.
    pub(crate) fn get(
        &mut self,
        batch: &Batch,
        row: usize,
        definitions: &Definitions,
        conversion_events: &[String],
    ) -> NameFacts {
        let text = text_ref(batch, Field::EventName, row) as usize;
        if self.places.len() <= text {
            self.places.resize(batch.text_count().max(text + 1), 0);
        }
        let place = usize::from(self.places[text]);
        if let Some(&known) = place.checked_sub(1).and_then(|index| self.facts.get(index)) {
            return known;
        }
        let event_name = batch.text(Field::EventName, row);
        let facts = NameFacts {
            possible_steps: definitions.possible_steps(event_name),
            is_vip_page: event_name == "vip_page_viewed",
            is_order: matches!(event_name, "vip_opened" | "gift_sent"),
            is_vip_order: event_name == "vip_opened",
            is_conversion: conversion_events.iter().any(|one| one == event_name),
            is_published: event_name == "content_published",
            is_level_change: event_name == "creator_level_changed",
        };
        self.facts.push(facts);
        // A batch has fewer rows, and so fewer names, than u16::MAX.
        self.places[text] = u16::try_from(self.facts.len()).unwrap_or(0);
        facts
    }
}
