//! The catalogue of metrics as its file says it, every definition made whole: what it does not say for itself it has
//! from its metric.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::period::{Ago, Step};

/// The metrics the program was built with.
pub(crate) const BUILT_IN: &str = include_str!("../../../../schemas/metrics.toml");
const USUAL_RANGE: Ago = Ago::days(7);

/// A text in the two languages people read here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Words {
    pub(crate) zh: String,
    pub(crate) en: String,
}

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
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

impl Unit {
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

/// What may be done with values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Exact; adds up over everything.
    Sum,
    /// Exact; adds up over dimensions, never over periods.
    Distinct,
    /// Estimated by a sketch; never adds up.
    Uniq,
    /// Never adds up; NULL where there is nothing to divide by.
    Ratio,
    /// A state of now.
    Gauge,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Distinct => "distinct",
            Self::Uniq => "uniq",
            Self::Ratio => "ratio",
            Self::Gauge => "gauge",
        }
    }

    /// Whether nothing counted means 0. What is divided or measured is unknown then.
    pub(crate) fn counts(self) -> bool {
        matches!(self, Self::Sum | Self::Distinct | Self::Uniq)
    }
}

/// The column that decides the period of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Clock {
    /// The time of the event.
    #[default]
    Bucket,
    /// The first day of the device.
    CohortDay,
    /// The day the content was published.
    PublishDay,
}

impl Clock {
    pub(crate) fn column(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::CohortDay => "cohort_day",
            Self::PublishDay => "publish_day",
        }
    }
}

/// A number by the name people call it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) title: Words,
    pub(crate) unit: Unit,
    pub(crate) kind: Kind,
    /// Whether answers have `low` and `high`.
    pub(crate) interval: bool,
    /// Never empty; the first is the usual one.
    pub(crate) definitions: Vec<Definition>,
}

/// One meaning of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) words: Words,
    pub(crate) cube: String,
    pub(crate) clock: Clock,
    /// Never empty.
    pub(crate) steps: Vec<Step>,
    pub(crate) each: Vec<String>,
    pub(crate) without: Vec<String>,
    pub(crate) computed: BTreeMap<String, String>,
    pub(crate) last: Ago,
    pub(crate) sql: String,
}

/// All metrics of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Catalogue {
    /// In the order of the file.
    pub(crate) metrics: Vec<Metric>,
}

impl Catalogue {
    /// The metrics the program was built with; one line about what is wrong with them.
    pub(crate) fn built_in() -> Result<Self, String> {
        Self::parse(BUILT_IN)
    }

    /// Reads a file of metrics; one line about what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| format!("metrics: {error}"))?;
        let mut metrics: Vec<Metric> = Vec::with_capacity(file.metric.len());
        for written in file.metric {
            let name = written.name.clone();
            if metrics.iter().any(|metric| metric.name == name) {
                return Err(format!("metric `{name}` stands twice"));
            }
            metrics.push(resolve(written).map_err(|problem| format!("metric `{name}`: {problem}"))?);
        }
        Ok(Self { metrics })
    }

    /// The metric of this name; a sentence with the nearest one when there is none.
    pub(crate) fn metric(&self, name: &str) -> Result<&Metric, String> {
        self.metrics.iter().find(|metric| metric.name == name).ok_or_else(|| {
            let nearest = nearest(name, self.metrics.iter().map(|metric| metric.name.as_str()));
            format!(
                "there is no metric `{name}`, the nearest is `{nearest}` (`millrace metrics list` shows all)"
            )
        })
    }
}

impl Metric {
    /// The definition of this name, or the usual one; a sentence with those there are when there is none.
    pub(crate) fn definition(&self, name: Option<&str>) -> Result<&Definition, String> {
        let Some(name) = name else { return Ok(&self.definitions[0]) };
        self.definitions.iter().find(|definition| definition.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.definitions.iter().map(|known| known.name.as_str()).collect();
            format!("metric `{}` has no definition `{name}`; it has {}", self.name, known.join(", "))
        })
    }
}

/// The known name that looks most like this one.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    let likeness = |known: &str| strsim::jaro_winkler(known, name);
    known.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    metric: Vec<WrittenMetric>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMetric {
    name: String,
    version: u32,
    title: Words,
    unit: Unit,
    kind: Kind,
    #[serde(default)]
    interval: bool,
    definition: Vec<WrittenDefinition>,
    cube: Option<String>,
    clock: Option<Clock>,
    steps: Option<Vec<Step>>,
    each: Option<Vec<String>>,
    without: Option<Vec<String>>,
    computed: Option<BTreeMap<String, String>>,
    last: Option<Ago>,
    sql: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDefinition {
    name: String,
    words: Words,
    cube: Option<String>,
    clock: Option<Clock>,
    steps: Option<Vec<Step>>,
    each: Option<Vec<String>>,
    without: Option<Vec<String>>,
    computed: Option<BTreeMap<String, String>>,
    last: Option<Ago>,
    sql: Option<String>,
}

fn resolve(metric: WrittenMetric) -> Result<Metric, String> {
    if metric.definition.is_empty() {
        return Err("it has no definition".into());
    }
    if metric.version == 0 {
        return Err("versions begin with 1".into());
    }
    let mut definitions: Vec<Definition> = Vec::with_capacity(metric.definition.len());
    for own in metric.definition {
        let missing = |key: &str| format!("definition `{}` has no {key}, nor has the metric", own.name);
        if definitions.iter().any(|definition| definition.name == own.name) {
            return Err(format!("definition `{}` stands twice", own.name));
        }
        let clock = own.clock.or(metric.clock).unwrap_or_default();
        let steps = own.steps.or(metric.steps.clone()).unwrap_or_else(|| Step::of(clock).to_vec());
        if steps.is_empty() {
            return Err(format!("definition `{}` may be asked by no step", own.name));
        }
        definitions.push(Definition {
            cube: own.cube.or(metric.cube.clone()).ok_or_else(|| missing("cube"))?,
            sql: own.sql.or(metric.sql.clone()).ok_or_else(|| missing("sql"))?.trim().to_owned(),
            each: own.each.or(metric.each.clone()).unwrap_or_default(),
            without: own.without.or(metric.without.clone()).unwrap_or_default(),
            computed: own.computed.or(metric.computed.clone()).unwrap_or_default(),
            last: own.last.or(metric.last).unwrap_or(USUAL_RANGE),
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
