//! What many devices have in common is kept once: origins of visits and short texts, as shared pointers.
//!
//! Equal values of one [`Shared`] are one pointer, so that devices stay small and are compared without reading texts.
//! What no device knows any more is dropped when the number has doubled.
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};
use std::{
    hash::{BuildHasher, Hash},
    rc::Rc,
};

use super::record::{Lists, Malformed, decode_channel, encode_channel};

/// Where a visit came from: the texts of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// One of the channel groups.
    pub group: Box<str>,
    /// Who sent the visitor; '' for nobody known.
    pub source: Box<str>,
    /// The campaign's medium.
    pub medium: Box<str>,
    /// The campaign's name.
    pub campaign: Box<str>,
    /// The rule that decided, or `last_touch` where the device's past did.
    pub rule: Box<str>,
    /// All of it as it stands in records.
    record: Box<[u8]>,
}

/// The same, not yet shared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct OriginTexts<'a> {
    /// As in [`Origin`], and so are the others.
    pub group: &'a str,
    /// Who sent the visitor.
    pub source: &'a str,
    /// The campaign's medium.
    pub medium: &'a str,
    /// The campaign's name.
    pub campaign: &'a str,
    /// The rule that decided.
    pub rule: &'a str,
}

impl Origin {
    /// Its texts.
    pub fn texts(&self) -> OriginTexts<'_> {
        let Self { group, source, medium, campaign, rule, record: _ } = self;
        OriginTexts { group, source, medium, campaign, rule }
    }

    /// As it stands in records.
    pub(crate) fn record(&self) -> &[u8] {
        &self.record
    }
}

/// The one place where shared values come from.
#[derive(Debug)]
pub struct Shared {
    hasher: RandomState,
    origins: HashTable<Rc<Origin>>,
    texts: HashTable<Rc<str>>,
    /// During a restore: origins by how they stand in records, so that few of them are read.
    recorded: HashMap<Box<[u8]>, Rc<Origin>, RandomState>,
    /// The same for the lists of records.
    lists: Lists,
    swept_at: [usize; 2],
}

/// Fewer are not worth a sweep.
const SWEPT_FROM: usize = 4096;

impl Default for Shared {
    fn default() -> Self {
        Self {
            hasher: RandomState::default(),
            origins: HashTable::new(),
            texts: HashTable::new(),
            recorded: HashMap::default(),
            lists: Lists::default(),
            swept_at: [SWEPT_FROM; 2],
        }
    }
}

impl Shared {
    /// The one pointer to an origin of these texts.
    pub fn origin(&mut self, texts: OriginTexts<'_>) -> Rc<Origin> {
        let Self { hasher, origins, swept_at, .. } = self;
        let hash = hasher.hash_one(texts);
        if let Some(known) = origins.find(hash, |known| known.texts() == texts) {
            return Rc::clone(known);
        }
        if origins.len() >= swept_at[0] {
            origins.retain(|known| Rc::strong_count(known) > 1);
            swept_at[0] = (origins.len() * 2).max(SWEPT_FROM);
        }
        let OriginTexts { group, source, medium, campaign, rule } = texts;
        let new = Rc::new(Origin {
            group: group.into(),
            source: source.into(),
            medium: medium.into(),
            campaign: campaign.into(),
            rule: rule.into(),
            record: encode_channel(texts),
        });
        let new_hash = |known: &Rc<Origin>| hasher.hash_one(known.texts());
        origins.insert_unique(hash, Rc::clone(&new), new_hash);
        new
    }

    /// The one pointer to an origin, by how it stands in a record.
    pub(crate) fn recorded(&mut self, record: &[u8]) -> Result<Rc<Origin>, Malformed> {
        if let Some(known) = self.recorded.get(record) {
            return Ok(Rc::clone(known));
        }
        let origin = self.origin(decode_channel(record)?);
        self.recorded.insert(record.into(), Rc::clone(&origin));
        Ok(origin)
    }

    /// Room to read a record in; to be given back.
    pub(super) fn take_lists(&mut self) -> Lists {
        std::mem::take(&mut self.lists)
    }

    pub(super) fn keep_lists(&mut self, lists: Lists) {
        self.lists = lists;
    }

    /// No more records follow.
    pub(crate) fn restored(&mut self) {
        self.recorded = HashMap::default();
        self.lists = Lists::default();
    }

    /// The one pointer to this text.
    pub fn text(&mut self, text: &str) -> Rc<str> {
        let Self { hasher, texts, swept_at, .. } = self;
        let hash = hash_text(hasher, text);
        if let Some(known) = texts.find(hash, |known| **known == *text) {
            return Rc::clone(known);
        }
        if texts.len() >= swept_at[1] {
            texts.retain(|known| Rc::strong_count(known) > 1);
            swept_at[1] = (texts.len() * 2).max(SWEPT_FROM);
        }
        let new: Rc<str> = text.into();
        texts.insert_unique(hash, Rc::clone(&new), |known| hash_text(hasher, known));
        new
    }
}

fn hash_text<H: BuildHasher>(hasher: &H, text: &str) -> u64 {
    hasher.hash_one(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_unused_ones_are_dropped_in_time() {
        let mut shared = Shared::default();
        fn texts(source: &str) -> OriginTexts<'_> {
            OriginTexts { group: "referral", source, ..OriginTexts::default() }
        }
        let kept = shared.origin(texts("a"));
        assert!(Rc::ptr_eq(&kept, &shared.origin(texts("a"))));
        assert!(!Rc::ptr_eq(&kept, &shared.origin(texts("b"))));
        let text = shared.text("huawei");
        for number in 0..3 * SWEPT_FROM {
            shared.origin(texts(&number.to_string()));
            shared.text(&number.to_string());
        }
        assert!(shared.origins.len() <= SWEPT_FROM && shared.texts.len() <= SWEPT_FROM);
        assert!(Rc::ptr_eq(&kept, &shared.origin(texts("a"))));
        assert!(Rc::ptr_eq(&text, &shared.text("huawei")));
    }
}
