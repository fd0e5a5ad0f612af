//! The texts of a channel, and the Protobuf message `Channel` of the changelog.
use event::protobuf::{Fields, Malformed, ProtobufWriter, WireValue::Bytes, text};

/// A channel's texts, borrowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ChannelTexts<'a> {
    /// One of the channel groups.
    pub group: &'a str,
    /// Who sent the visitor; '' when unknown.
    pub source: &'a str,
    /// The campaign's medium.
    pub medium: &'a str,
    /// The campaign's name.
    pub campaign: &'a str,
    /// The rule that decided, or `last_touch`.
    pub rule: &'a str,
}

impl<'a> ChannelTexts<'a> {
    /// The same with each text changed.
    pub(super) fn map(self, change: impl Fn(&'a str) -> &'a str) -> Self {
        let Self { group, source, medium, campaign, rule } = self;
        let [group, source, medium, campaign, rule] = [group, source, medium, campaign, rule].map(change);
        Self { group, source, medium, campaign, rule }
    }

    /// As a `Channel` message.
    pub(super) fn encode(self) -> Box<[u8]> {
        let Self { group, source, medium, campaign, rule } = self;
        let mut bytes = Vec::new();
        let mut message = ProtobufWriter(&mut bytes);
        for (field, text) in (1..).zip([group, source, medium, campaign, rule]) {
            message.bytes(field, text.as_bytes());
        }
        bytes.into()
    }

    /// From a `Channel` message.
    pub(super) fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut texts = Self::default();
        for field in Fields(message) {
            match field? {
                (1, Bytes(group)) => texts.group = text(group)?,
                (2, Bytes(source)) => texts.source = text(source)?,
                (3, Bytes(medium)) => texts.medium = text(medium)?,
                (4, Bytes(campaign)) => texts.campaign = text(campaign)?,
                (5, Bytes(rule)) => texts.rule = text(rule)?,
                (1..=5, _) => return Err(Malformed::TYPE),
                _ => {}
            }
        }
        Ok(texts)
    }
}
