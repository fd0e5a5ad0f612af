//! A query about a metric and its answer.

use std::collections::BTreeMap;

/// A query: whole business days, both included.
#[derive(Debug, Clone, Copy)]
pub struct MetricQuery {
    /// First business day.
    pub from: i64,
    /// Last business day.
    pub to: i64,
    /// The current time, epoch ms.
    pub now: i64,
    /// One value for each of these periods.
    pub step: Period,
}

/// The length of the periods of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// The whole range.
    Total,
    /// Business days.
    Day,
    /// Weeks from Monday.
    Week,
    /// Calendar months.
    Month,
}

/// A value, with its confidence interval where the metric has one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MetricValue {
    /// None when it is not known.
    pub value: Option<f64>,
    /// Lower and upper bound.
    pub interval: Option<(f64, f64)>,
}

/// The values of a metric by period (its first day; empty for the whole range) and dimensions.
#[derive(Debug, Clone)]
pub struct MetricAnswer {
    /// Whether the pipeline may estimate them with a sketch.
    pub estimate: bool,
    /// By period and dimensions.
    pub rows: BTreeMap<(String, Vec<String>), MetricValue>,
}

/// A value without interval.
pub(super) fn plain(value: f64) -> MetricValue {
    MetricValue { value: Some(value), interval: None }
}

/// A ratio; none when the divisor is 0.
pub(super) fn ratio(dividend: f64, divisor: f64) -> MetricValue {
    MetricValue { value: (divisor != 0.0).then(|| dividend / divisor), interval: None }
}
