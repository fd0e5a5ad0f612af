//! Reads from the rows of a batch what decisions depend on.
//!
//! Rows of a batch share most of their texts, so each name, user agent and combination of evidence is looked up once per
//! batch. The stream reads clean batches, a restore reads enriched batches; both build their [`FastEvent`](crate::device::FastEvent)
//! with the same function, [`fast_event`].
mod agents;
mod channels;
mod device_event;
mod key;
mod names;
mod text;

pub(crate) use self::{
    agents::{AgentCache, AgentFacts},
    channels::ChannelCache,
    device_event::{commerce_event, fast_event, session, stamped_touch},
    key::{device_hash, event_key},
    names::{NameCache, NameFacts},
    text::text_ref,
};
