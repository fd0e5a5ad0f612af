//! A cube as its author writes it, checked against the field catalogue. Everything that can be wrong with
//! `cubes.toml` is said here, before anything is started.
use std::collections::{BTreeMap, BTreeSet};

use event::{
    Field, FieldKind,
    predicate::{self, Condition, Where, described},
};
use serde::Deserialize;

/// The cubes the program was built with.
pub const BUILT_IN: &str = include_str!("../../../schemas/cubes.toml");
/// Columns every lane table has for itself.
pub const RESERVED: &[&str] = &[
    "cube",
    "pane",
    "bucket",
    "keep_days",
    "received_max",
    "src",
    "src_end",
    "code",
    "ledger_events",
    "ledger_duplicates",
];

/// What is wrong with a file of cubes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CubeError {
    /// It is not TOML, or has a key that cubes do not have.
    #[error("cubes: {0}")]
    Toml(String),
    /// One cube makes no sense.
    #[error("cube `{cube}`: {problem}")]
    Cube {
        /// The cube's name.
        cube: String,
        /// What is wrong and the way out.
        problem: String,
    },
}

/// A width of time buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pane {
    /// `10s`
    TenSeconds,
    /// `60s`
    Minute,
    /// `1h`
    Hour,
}

impl Pane {
    /// Every pane, the smallest first.
    pub const ALL: &[Self] = &[Self::TenSeconds, Self::Minute, Self::Hour];

    /// The pane as it stands in the column `pane`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TenSeconds => "10s",
            Self::Minute => "60s",
            Self::Hour => "1h",
        }
    }

    /// Its width in seconds.
    pub fn seconds(self) -> u32 {
        match self {
            Self::TenSeconds => 10,
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }
}

/// What a measure adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// The number of events.
    Count,
    /// The sum of a number field.
    Sum(Field),
    /// A sketch of the different values of a key or text field that are not empty.
    Uniq(Field),
}

/// One measure of a cube.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// The column.
    pub name: String,
    /// What it adds up.
    pub fold: Fold,
    /// Which of the cube's events it looks at.
    pub conditions: Vec<Condition>,
}

impl Measure {
    /// Whether the column holds a sketch.
    pub fn is_uniq(&self) -> bool {
        matches!(self.fold, Fold::Uniq(_))
    }
}

/// One cube, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Cube {
    /// Its name, and that of its view.
    pub name: String,
    /// What it shows, in words.
    pub meaning: String,
    /// The lane whose table holds it.
    pub lane: String,
    /// Its panes, the smallest first.
    pub panes: Vec<Pane>,
    /// The field that decides the bucket: `event_time` or `received_at`.
    pub time: Field,
    /// Which events count.
    pub conditions: Vec<Condition>,
    /// What it is counted by.
    pub dimensions: Vec<Field>,
    /// What is counted.
    pub measures: Vec<Measure>,
    /// How long a bucket is kept, in days.
    pub retention_days: u16,
}

/// All cubes of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Cubes {
    /// In the order of the file.
    pub cubes: Vec<Cube>,
}

impl Cubes {
    /// Reads and checks a file of cubes.
    ///
    /// # Errors
    /// [`CubeError`] that names the cube, the value and the way out.
    pub fn parse(text: &str) -> Result<Self, CubeError> {
        let file: File = toml::from_str(text).map_err(|error| CubeError::Toml(error.to_string()))?;
        let mut cubes = Vec::with_capacity(file.cube.len());
        for written in file.cube {
            let name = written.name.clone();
            cubes.push(resolve(written).map_err(|problem| CubeError::Cube { cube: name, problem })?);
        }
        check_together(&cubes)?;
        Ok(Self { cubes })
    }

    /// The cubes of a lane, in the order of the file.
    pub fn of_lane<'a>(&'a self, lane: &'a str) -> impl Iterator<Item = &'a Cube> {
        self.cubes.iter().filter(move |cube| cube.lane == lane)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cube: Vec<WrittenCube>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCube {
    name: String,
    #[serde(default)]
    meaning: String,
    lane: String,
    panes: Vec<String>,
    #[serde(default)]
    time: Option<String>,
    #[serde(default, rename = "where")]
    conditions: Where,
    dimensions: Vec<String>,
    measures: Vec<WrittenMeasure>,
    retention_days: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMeasure {
    name: Option<String>,
    count: Option<bool>,
    sum: Option<String>,
    uniq: Option<String>,
    #[serde(default, rename = "where")]
    conditions: Where,
}

fn resolve(written: WrittenCube) -> Result<Cube, String> {
    check_name("the name", &written.name)?;
    if written.lane != "live" {
        return Err(format!("there is no lane `{}` for cubes; known: live", written.lane));
    }
    if written.retention_days == 0 {
        return Err("retention_days is 0, so nothing would be kept".into());
    }
    let time = match written.time.as_deref() {
        None | Some("event_time") => Field::EventTime,
        Some("received_at") => Field::ReceivedAt,
        Some(other) => return Err(format!("time is event_time or received_at, not `{other}`")),
    };
    let dimensions = dimensions(&written.dimensions)?;
    let measures = written.measures.into_iter().map(measure).collect::<Result<Vec<_>, _>>()?;
    if measures.is_empty() {
        return Err("it has no measures".into());
    }
    let mut columns: BTreeSet<&str> = dimensions.iter().map(|field| field.name()).collect();
    for measure in &measures {
        if !columns.insert(&measure.name) {
            return Err(format!(
                "two columns are called `{}`: give the measure another `name`",
                measure.name
            ));
        }
    }
    Ok(Cube {
        panes: panes(&written.panes)?,
        conditions: predicate::parse(&written.conditions)?,
        name: written.name,
        meaning: written.meaning,
        lane: written.lane,
        time,
        dimensions,
        measures,
        retention_days: written.retention_days,
    })
}

fn panes(names: &[String]) -> Result<Vec<Pane>, String> {
    let mut panes = Vec::with_capacity(names.len());
    for name in names {
        let pane = Pane::ALL.iter().copied().find(|pane| pane.as_str() == name);
        let pane = pane.ok_or_else(|| format!("there is no pane `{name}`; known: 10s, 60s, 1h"))?;
        if panes.last().is_some_and(|&before| before >= pane) {
            return Err(format!("pane `{name}` stands twice, or after a wider one"));
        }
        panes.push(pane);
    }
    if panes.is_empty() { Err("it has no panes".into()) } else { Ok(panes) }
}

fn dimensions(names: &[String]) -> Result<Vec<Field>, String> {
    let mut dimensions = Vec::with_capacity(names.len());
    for name in names {
        let field = predicate::field_called(name)?;
        if field.kind() != FieldKind::Text {
            return Err(format!("dimension `{name}` is {}, dimensions are texts", described(field.kind())));
        }
        if dimensions.contains(&field) {
            return Err(format!("dimension `{name}` stands twice"));
        }
        dimensions.push(field);
    }
    Ok(dimensions)
}

fn measure(written: WrittenMeasure) -> Result<Measure, String> {
    let shown = written.name.clone().or(written.sum.clone()).or(written.uniq.clone()).unwrap_or_default();
    let say = |problem: String| format!("measure `{shown}`: {problem}");
    let fold = match (written.count, &written.sum, &written.uniq) {
        (Some(true), None, None) => Fold::Count,
        (None, Some(name), None) => Fold::Sum(of_kind(name, &[FieldKind::Number], "sum").map_err(say)?),
        (None, None, Some(name)) => {
            Fold::Uniq(of_kind(name, &[FieldKind::Key, FieldKind::Text], "uniq").map_err(say)?)
        }
        _ => {
            return Err(
                say("it takes exactly one of count = true, sum = \"field\", uniq = \"field\"".into()),
            );
        }
    };
    let Some(name) = written.name.or(written.sum) else {
        return Err(say("it needs a `name`".into()));
    };
    check_name("the measure", &name)?;
    let conditions =
        predicate::parse(&written.conditions).map_err(|problem| format!("measure `{name}`: {problem}"))?;
    Ok(Measure { name, fold, conditions })
}

fn of_kind(name: &str, kinds: &[FieldKind], verb: &str) -> Result<Field, String> {
    let field = predicate::field_called(name)?;
    if kinds.contains(&field.kind()) {
        return Ok(field);
    }
    let wanted: Vec<&str> = kinds.iter().map(|&kind| described(kind)).collect();
    Err(format!("`{name}` is {}, `{verb}` takes {}", described(field.kind()), wanted.join(" or ")))
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && name.len() <= 64;
    if !plain {
        return Err(format!("{what} `{name}` is not of a-z, 0-9 and _, at most 64, a letter first"));
    }
    if RESERVED.contains(&name) || name.ends_with("_ids") || name.ends_with("_local") {
        return Err(format!("{what} `{name}` is taken by the tables themselves"));
    }
    Ok(())
}

/// Cubes of a lane share one table: a column name means one thing in it.
fn check_together(cubes: &[Cube]) -> Result<(), CubeError> {
    let mut names = BTreeSet::new();
    let mut columns: BTreeMap<(&str, &str), (ColumnUse, &str)> = BTreeMap::new();
    for cube in cubes {
        let fail = |problem: String| CubeError::Cube { cube: cube.name.clone(), problem };
        if !names.insert(cube.name.as_str()) || ["dead_letters", "events"].contains(&cube.name.as_str()) {
            return Err(fail("there is another view of this name".into()));
        }
        let dimensions = cube.dimensions.iter().map(|field| (field.name(), ColumnUse::Dimension));
        let measures = cube.measures.iter().map(|measure| {
            (measure.name.as_str(), if measure.is_uniq() { ColumnUse::Uniq } else { ColumnUse::Sum })
        });
        for (column, used) in dimensions.chain(measures) {
            let (before, other) = *columns.entry((&cube.lane, column)).or_insert((used, &cube.name));
            if before != used {
                return Err(fail(format!(
                    "`{column}` is {} here and {} in cube `{other}`: one of them needs another name",
                    used.described(),
                    before.described()
                )));
            }
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnUse {
    Dimension,
    Sum,
    Uniq,
}

impl ColumnUse {
    fn described(self) -> &'static str {
        match self {
            Self::Dimension => "a dimension",
            Self::Sum => "a sum",
            Self::Uniq => "a uniq",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [[cube]]
        name = "traffic"
        lane = "live"
        panes = ["10s", "60s"]
        dimensions = ["app_id", "platform"]
        measures = [{ name = "events", count = true }, { sum = "revenue_minor" }, { name = "devices", uniq = "device_key" }]
        retention_days = 7
    "#;

    #[test]
    fn the_built_in_cubes_are_sound() {
        let cubes = Cubes::parse(BUILT_IN).unwrap();
        let names: Vec<&str> = cubes.of_lane("live").map(|cube| cube.name.as_str()).collect();
        assert_eq!(names, ["traffic", "activity", "quality"]);
        assert!(cubes.cubes.iter().all(|cube| !cube.meaning.is_empty()));
    }

    #[test]
    fn a_measure_takes_its_fields_name() {
        let cubes = Cubes::parse(GOOD).unwrap();
        let names: Vec<&str> = cubes.cubes[0].measures.iter().map(|measure| measure.name.as_str()).collect();
        assert_eq!(names, ["events", "revenue_minor", "devices"]);
        assert_eq!(cubes.cubes[0].time, Field::EventTime);
    }

    #[test]
    fn mistakes_are_explained() {
        for (from, to, expected) in [
            (r#""platform""#, r#""plattform""#, "the nearest is `platform`"),
            (r#""platform""#, r#""app_id""#, "dimension `app_id` stands twice"),
            (r#""platform""#, r#""event_time""#, "dimension `event_time` is a number, dimensions are texts"),
            (r#"sum = "revenue_minor""#, r#"sum = "currency""#, "`currency` is a text, `sum` takes a number"),
            (r#"uniq = "device_key""#, r#"uniq = "quantity""#, "`uniq` takes a key or a text"),
            (r#"name = "devices", uniq"#, "uniq", "it needs a `name`"),
            (r#"name = "devices""#, r#"name = "events""#, "two columns are called `events`"),
            (r#"name = "devices""#, r#"name = "src""#, "is taken by the tables themselves"),
            (r#"name = "devices""#, r#"name = "Devices""#, "is not of a-z"),
            ("count = true", "count = false", "exactly one of"),
            (r#""60s""#, r#""5s""#, "there is no pane `5s`"),
            (r#""10s", "60s""#, r#""60s", "10s""#, "after a wider one"),
            (r#""live""#, r#""life""#, "there is no lane `life`"),
            ("retention_days = 7", "retention_days = 0", "nothing would be kept"),
            ("retention_days = 7", "retention = 7", "unknown field `retention`"),
            (r#"name = "traffic""#, r#"name = "dead_letters""#, "another view of this name"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let problem = Cubes::parse(&text).unwrap_err().to_string();
            assert!(problem.contains(expected), "{from} -> {to}: {problem}");
        }
    }

    #[test]
    fn cubes_of_one_lane_agree_about_a_column() {
        let other = GOOD
            .replace("traffic", "other")
            .replace(r#"name = "events", count = true"#, r#"name = "events", uniq = "user_key""#);
        let problem = Cubes::parse(&format!("{GOOD}{other}")).unwrap_err().to_string();
        assert_eq!(
            problem,
            "cube `other`: `events` is a uniq here and a sum in cube `traffic`: one of them needs another name"
        );
        let problem = Cubes::parse(&format!("{GOOD}{GOOD}")).unwrap_err().to_string();
        assert!(problem.contains("another view of this name"), "{problem}");
    }
}
