//! Values that many devices have in common, kept once: channels and short texts, as shared pointers.
//!
//! Equal values of one [`Shared`] are one pointer, so devices stay small and are compared without reading texts. Values
//! that no device uses any more are dropped when the number of values has doubled. A text is cut at the limit of texts
//! that become dimensions: whatever a client sends, a device keeps little of it.
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::{hash::BuildHasher, rc::Rc};

pub use super::channel_texts::ChannelTexts;
use super::heap::RC_COUNTERS;

/// The channel of a visit, as devices keep it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedChannel {
    /// One of the channel groups.
    pub group: Box<str>,
    /// Who sent the visitor; '' when unknown.
    pub source: Box<str>,
    /// The campaign's medium.
    pub medium: Box<str>,
    /// The campaign's name.
    pub campaign: Box<str>,
    /// The rule that decided, or `last_touch` where the device's last touch did.
    pub rule: Box<str>,
    /// The `Channel` message of the changelog.
    record: Box<[u8]>,
}

impl SharedChannel {
    /// Its texts.
    pub fn texts(&self) -> ChannelTexts<'_> {
        let Self { group, source, medium, campaign, rule, record: _ } = self;
        ChannelTexts { group, source, medium, campaign, rule }
    }

    fn memory_bytes(&self) -> usize {
        let Self { group, source, medium, campaign, rule, record } = self;
        let texts: usize = [group, source, medium, campaign, rule].map(|text| text.len()).iter().sum();
        RC_COUNTERS + size_of::<Self>() + texts + record.len()
    }

    /// The `Channel` message of the changelog.
    pub(super) fn record(&self) -> &[u8] {
        &self.record
    }
}

/// The one place where shared values come from.
#[derive(Debug)]
pub struct Shared {
    hasher: RandomState,
    channels: HashTable<Rc<SharedChannel>>,
    texts: HashTable<Rc<str>>,
    /// Bytes of all channels and texts, without the tables.
    bytes: usize,
    /// Number of channels and of texts at which unused ones are dropped.
    sweep_at: [usize; 2],
}

/// Longest text of a channel or of a device, in characters.
const MAX_CHARACTERS: usize = 256;

/// Fewer values are not worth a sweep.
const SWEEP_FROM: usize = 4096;

impl Default for Shared {
    fn default() -> Self {
        Self {
            hasher: RandomState::default(),
            channels: HashTable::new(),
            texts: HashTable::new(),
            bytes: 0,
            sweep_at: [SWEEP_FROM; 2],
        }
    }
}

impl Shared {
    /// The one pointer to the channel of these texts.
    pub fn channel(&mut self, texts: ChannelTexts<'_>) -> Rc<SharedChannel> {
        let texts = texts.map(cut);
        let hash = self.hasher.hash_one(texts);
        if let Some(known) = self.channels.find(hash, |known| known.texts() == texts) {
            return Rc::clone(known);
        }
        if self.channels.len() >= self.sweep_at[0] {
            self.drop_unused_channels();
        }
        let ChannelTexts { group, source, medium, campaign, rule } = texts;
        let new = Rc::new(SharedChannel {
            group: group.into(),
            source: source.into(),
            medium: medium.into(),
            campaign: campaign.into(),
            rule: rule.into(),
            record: texts.encode(),
        });
        self.bytes += new.memory_bytes();
        let Self { hasher, channels, .. } = self;
        channels.insert_unique(hash, Rc::clone(&new), |known| hasher.hash_one(known.texts()));
        new
    }

    /// The one pointer to this text.
    pub fn text(&mut self, text: &str) -> Rc<str> {
        let text = cut(text);
        let hash = self.hasher.hash_one(text);
        if let Some(known) = self.texts.find(hash, |known| **known == *text) {
            return Rc::clone(known);
        }
        if self.texts.len() >= self.sweep_at[1] {
            self.drop_unused_texts();
        }
        let new: Rc<str> = text.into();
        self.bytes += text_bytes(&new);
        let Self { hasher, texts, .. } = self;
        texts.insert_unique(hash, Rc::clone(&new), |known| hasher.hash_one(&**known));
        new
    }

    /// Drops what no device uses any more, and the room it took.
    pub(crate) fn drop_unused(&mut self) {
        self.drop_unused_channels();
        self.drop_unused_texts();
        let Self { hasher, channels, texts, .. } = self;
        channels.shrink_to(2 * channels.len(), |known| hasher.hash_one(known.texts()));
        texts.shrink_to(2 * texts.len(), |known| hasher.hash_one(&**known));
    }

    fn drop_unused_channels(&mut self) {
        let Self { channels, bytes, sweep_at, .. } = self;
        channels.retain(|known| {
            let is_used = Rc::strong_count(known) > 1;
            *bytes -= if is_used { 0 } else { known.memory_bytes() };
            is_used
        });
        sweep_at[0] = (channels.len() * 2).max(SWEEP_FROM);
    }

    fn drop_unused_texts(&mut self) {
        let Self { texts, bytes, sweep_at, .. } = self;
        texts.retain(|known| {
            let is_used = Rc::strong_count(known) > 1;
            *bytes -= if is_used { 0 } else { text_bytes(known) };
            is_used
        });
        sweep_at[1] = (texts.len() * 2).max(SWEEP_FROM);
    }

    /// Bytes of memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes + self.channels.allocation_size() + self.texts.allocation_size()
    }
}

fn text_bytes(text: &Rc<str>) -> usize {
    RC_COUNTERS + text.len()
}

/// The beginning of a text that is longer than a device keeps.
pub(crate) fn cut(text: &str) -> &str {
    // A character has at least one byte, so most texts need no look at their characters.
    if text.len() <= MAX_CHARACTERS {
        return text;
    }
    text.char_indices().nth(MAX_CHARACTERS).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let mut shared = Shared::default();
        for (text, kept) in [("a".repeat(256), 256), ("a".repeat(257), 256), ("活".repeat(300), 256)] {
            assert_eq!(shared.text(&text).chars().count(), kept);
            let channel = shared.channel(ChannelTexts { campaign: &text, ..ChannelTexts::default() });
            assert_eq!(channel.campaign.chars().count(), kept);
        }
    }

    #[test]
    fn equal_values_are_one_and_unused_ones_are_dropped_in_time() {
        let mut shared = Shared::default();
        fn texts(source: &str) -> ChannelTexts<'_> {
            ChannelTexts { group: "referral", source, ..ChannelTexts::default() }
        }
        let kept = shared.channel(texts("a"));
        assert!(Rc::ptr_eq(&kept, &shared.channel(texts("a"))));
        assert!(!Rc::ptr_eq(&kept, &shared.channel(texts("b"))));
        let text = shared.text("huawei");
        for number in 0..3 * SWEEP_FROM {
            shared.channel(texts(&number.to_string()));
            shared.text(&number.to_string());
        }
        assert!(shared.channels.len() <= SWEEP_FROM && shared.texts.len() <= SWEEP_FROM);
        assert!(Rc::ptr_eq(&kept, &shared.channel(texts("a"))));
        assert!(Rc::ptr_eq(&text, &shared.text("huawei")));
    }
}
