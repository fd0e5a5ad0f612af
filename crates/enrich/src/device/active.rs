//! Active devices: the event with which a device becomes active on a business day, in an ISO week, in a month.
//!
//! Every event is active by the definition `any`. Each other definition is a list of steps. A device fulfils them in
//! the order in which its events are processed, one step per event, all on one business day of event time; the event of
//! the last step makes it active. A day, week or month is stamped once, however late its events come.
mod days;
mod definitions;
mod progress;

pub(crate) use self::{
    days::ActiveDays,
    definitions::ANY,
    progress::{ActiveByDefinition, DefinitionState, UnfinishedDay},
};
pub use self::{
    days::FirstOf,
    definitions::{DefinitionError, Definitions},
};
