//! Metrics: what each number means (`schemas/metrics.toml`) and the one way to ask for it, which commands and reports
//! share.
//!
//! Pure parts: [`catalogue`] (what is written), [`cubes`] (what the views offer), [`period`] (when), [`statement`] (the
//! SQL), [`show`] (for people). Around them: [`answer`] and [`load`] (ClickHouse).
pub(crate) mod answer;
pub(crate) mod catalogue;
pub(crate) mod cubes;
pub(crate) mod load;
pub(crate) mod period;
pub(crate) mod show;
pub(crate) mod statement;

use aggregate::Cubes;

#[cfg(test)]
pub(crate) use catalogue::Kind;
pub(crate) use catalogue::{Catalogue, Definition, Metric, Unit};

use crate::tables::metric_definitions::MetricDefinition;

/// The built-in catalogue as rows of its table; one line about what is wrong with it.
pub(crate) fn definitions(cubes: &Cubes) -> Result<Vec<MetricDefinition>, String> {
    Ok(load::rows(&Catalogue::built_in()?, &cubes::views(cubes)))
}

#[cfg(test)]
mod tests;
