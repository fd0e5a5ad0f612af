//! The catalogue of metrics, read from its file. A definition takes the keys that it does not have from its metric.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::period::{LookBack, PeriodColumn, TimeStep};
use crate::nearest::nearest;

/// The built-in file.
const BUILT_IN: &str = include_str!("../../../../schemas/metrics.toml");
/// The range of a query without --from, for definitions without `last`.
const DEFAULT_RANGE: LookBack = LookBack::days(7);

/// A text in Chinese and English.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bilingual {
    pub(crate) zh: String,
    pub(crate) en: String,
}

/// The unit of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MetricUnit {
    Devices,
    Users,
    Sessions,
    Events,
    Times,
    Videos,
    Orders,
    Items,
    Uploads,
    Creators,
    /// Minor units of a currency.
    Minor,
    Hours,
    Seconds,
    /// From 0 to 1.
    Share,
    PerDevice,
}

impl MetricUnit {
    /// Its name in Chinese and in English.
    pub(crate) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Devices => ("台", "devices"),
            Self::Users => ("人", "users"),
            Self::Sessions => ("次", "sessions"),
            Self::Events => ("条", "events"),
            Self::Times => ("次", "times"),
            Self::Videos => ("个", "videos"),
            Self::Orders => ("单", "orders"),
            Self::Items => ("件", "items"),
            Self::Uploads => ("个", "uploads"),
            Self::Creators => ("人", "creators"),
            Self::Minor => ("最小货币单位", "minor units"),
            Self::Hours => ("小时", "hours"),
            Self::Seconds => ("秒", "seconds"),
            Self::Share => ("比例", "share"),
            Self::PerDevice => ("每台", "per device"),
        }
    }
}

/// Whether values can be added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MetricKind {
    /// Exact; adds up over dimensions and periods.
    Sum,
    /// Exact; adds up over dimensions, not over periods.
    Distinct,
    /// An estimate by a sketch; does not add up.
    Uniq,
    /// Does not add up; NULL if the denominator is 0.
    Ratio,
    /// The current state.
    Gauge,
}

impl MetricKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Distinct => "distinct",
            Self::Uniq => "uniq",
            Self::Ratio => "ratio",
            Self::Gauge => "gauge",
        }
    }

    /// Whether a missing row means 0. For a ratio or a gauge it means unknown.
    pub(crate) fn is_count(self) -> bool {
        matches!(self, Self::Sum | Self::Distinct | Self::Uniq)
    }
}

/// A metric.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) title: Bilingual,
    pub(crate) unit: MetricUnit,
    pub(crate) kind: MetricKind,
    /// Whether values have `low` and `high`.
    pub(crate) interval: bool,
    /// Never empty. The first is the default.
    pub(crate) definitions: Vec<Definition>,
}

/// One meaning of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) words: Bilingual,
    pub(crate) cube: String,
    pub(crate) clock: PeriodColumn,
    /// Never empty.
    pub(crate) steps: Vec<TimeStep>,
    pub(crate) each: Vec<String>,
    pub(crate) without: Vec<String>,
    pub(crate) computed: BTreeMap<String, String>,
    pub(crate) last: LookBack,
    pub(crate) sql: String,
}

/// All metrics of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MetricCatalogue {
    /// In the order of the file.
    pub(crate) metrics: Vec<Metric>,
}

impl MetricCatalogue {
    /// The built-in metrics. Errors are one line.
    pub(crate) fn built_in() -> Result<Self, String> {
        Self::parse(BUILT_IN)
    }

    /// Parses a file of metrics. Errors are one line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let file: CatalogueFile = toml::from_str(text).map_err(|error| format!("metrics: {error}"))?;
        let mut metrics: Vec<Metric> = Vec::with_capacity(file.metric.len());
        for written in file.metric {
            let name = written.name.clone();
            if metrics.iter().any(|metric| metric.name == name) {
                return Err(format!("metric `{name}` is defined twice"));
            }
            metrics.push(resolve(written).map_err(|problem| format!("metric `{name}`: {problem}"))?);
        }
        Ok(Self { metrics })
    }

    /// The metric with this name. The error suggests the nearest name.
    pub(crate) fn metric(&self, name: &str) -> Result<&Metric, String> {
        self.metrics.iter().find(|metric| metric.name == name).ok_or_else(|| {
            let nearest = nearest(name, self.metrics.iter().map(|metric| metric.name.as_str()));
            format!(
                "there is no metric `{name}`; the nearest is `{nearest}` (`millrace metrics list` shows all)"
            )
        })
    }
}

impl Metric {
    /// The definition with this name, or the default one. The error lists the definitions.
    pub(crate) fn definition(&self, name: Option<&str>) -> Result<&Definition, String> {
        let Some(name) = name else { return Ok(&self.definitions[0]) };
        self.definitions.iter().find(|definition| definition.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.definitions.iter().map(|known| known.name.as_str()).collect();
            format!("metric `{}` has no definition `{name}`; it has {}", self.name, known.join(", "))
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    metric: Vec<MetricEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricEntry {
    name: String,
    version: u32,
    title: Bilingual,
    unit: MetricUnit,
    kind: MetricKind,
    #[serde(default)]
    interval: bool,
    definition: Vec<DefinitionEntry>,
    cube: Option<String>,
    clock: Option<PeriodColumn>,
    steps: Option<Vec<TimeStep>>,
    each: Option<Vec<String>>,
    without: Option<Vec<String>>,
    computed: Option<BTreeMap<String, String>>,
    last: Option<LookBack>,
    sql: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DefinitionEntry {
    name: String,
    words: Bilingual,
    cube: Option<String>,
    clock: Option<PeriodColumn>,
    steps: Option<Vec<TimeStep>>,
    each: Option<Vec<String>>,
    without: Option<Vec<String>>,
    computed: Option<BTreeMap<String, String>>,
    last: Option<LookBack>,
    sql: Option<String>,
}

fn resolve(metric: MetricEntry) -> Result<Metric, String> {
    if metric.definition.is_empty() {
        return Err("it has no definitions".into());
    }
    if metric.version == 0 {
        return Err("the first version is 1".into());
    }
    let mut definitions: Vec<Definition> = Vec::with_capacity(metric.definition.len());
    for own in metric.definition {
        let missing = |key: &str| format!("definition `{}` has no {key}, and the metric has none", own.name);
        if definitions.iter().any(|definition| definition.name == own.name) {
            return Err(format!("definition `{}` is defined twice", own.name));
        }
        let clock = own.clock.or(metric.clock).unwrap_or_default();
        let steps = own.steps.or(metric.steps.clone()).unwrap_or_else(|| TimeStep::of(clock).to_vec());
        if steps.is_empty() {
            return Err(format!("definition `{}` has an empty list of steps", own.name));
        }
        definitions.push(Definition {
            cube: own.cube.or(metric.cube.clone()).ok_or_else(|| missing("cube"))?,
            sql: own.sql.or(metric.sql.clone()).ok_or_else(|| missing("sql"))?.trim().to_owned(),
            each: own.each.or(metric.each.clone()).unwrap_or_default(),
            without: own.without.or(metric.without.clone()).unwrap_or_default(),
            computed: own.computed.or(metric.computed.clone()).unwrap_or_default(),
            last: own.last.or(metric.last).unwrap_or(DEFAULT_RANGE),
            name: own.name,
            words: own.words,
            clock,
            steps,
        });
    }
    Ok(Metric {
        name: metric.name,
        version: metric.version,
        title: metric.title,
        unit: metric.unit,
        kind: metric.kind,
        interval: metric.interval,
        definitions,
    })
}
