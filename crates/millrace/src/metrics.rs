//! Metrics: the catalogue (`schemas/metrics.toml`) and the one way to query it, which commands and reports share.
//!
//! Pure: [`catalogue`] (the file), [`views`] (the columns of the cubes), [`period`] (ranges and steps of time), [`query`] (the
//! SQL of a query), [`rows`] (the rows of the table `metric_definitions`), [`format`] (values as text). [`clickhouse`] runs
//! queries.
//!
//! The head of `schemas/metrics.toml` says how to add a metric.
pub(crate) mod catalogue;
pub(crate) mod clickhouse;
pub(crate) mod format;
pub(crate) mod period;
pub(crate) mod query;
pub(crate) mod rows;
pub(crate) mod views;

#[cfg(test)]
mod tests;
