//! What enrich remembers of one device, and what an event is to it.
//!
//! [`Device::apply`] is the transition: an event in, the changed device and the event's [`DeviceStamps`] out. The state
//! has two parts. The slow part changes a few times a day, and every change goes to the changelog in the transaction of
//! the event that made it. The fast part changes with nearly every event; a restore rebuilds it from the events of the
//! last de-duplication window.
//!
//! Each rule has its file: [`active`] days, sessions, [`touch`] (attribution of sessions), [`activity_touch`]
//! (attribution of conversions), [`playback`], [`commerce`]. `apply` puts them in order. `record` reads and writes
//! records of the changelog.
//!
//! Parts that change seldom are behind shared pointers and copied on change, so a copy of a device, which is how an
//! aborted transaction is undone, is cheap. The pointers count without atomics, because a partition lives on one thread.
pub mod active;
pub mod activity_touch;
mod apply;
mod channel_texts;
pub mod commerce;
mod event;
mod fast;
mod hash;
mod heap;
pub mod playback;
mod recent;
mod record;
mod sessions;
pub mod shared;
mod state;
pub mod touch;

pub use self::{
    apply::{DeviceContext, DeviceStamps},
    event::{DeviceEvent, FastEvent},
    record::Malformed,
    state::Device,
};
pub(crate) use self::{fast::Fast, hash::text_hash, record::RecordReader};
