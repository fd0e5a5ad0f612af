//! Which period a report covers.
use crate::metrics::period::TimeStep;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReportLength {
    /// One business day.
    Daily,
    /// One week from Monday to Sunday.
    Weekly,
}

impl ReportLength {
    /// The step of its metrics.
    pub(crate) fn step(self) -> TimeStep {
        match self {
            Self::Daily => TimeStep::Day,
            Self::Weekly => TimeStep::Week,
        }
    }
}
