//! What is counted: cubes as they are after their file was read and checked against the field catalogue.
//!
//! The rule this module keeps: everything that can be wrong with a file of cubes is said here, all of it at once, before
//! anything is started.
mod check;
mod read;

use std::fmt;

use event::{
    Field,
    predicate::{Condition, PropertyPath, Test},
};

/// The cubes the program was built with.
pub const BUILT_IN: &str = include_str!("../../../schemas/cubes.toml");
/// What the name of a cube begins with that is not built in.
pub const CUSTOM: &str = "custom_";

/// What is wrong with a file of cubes, one entry for each mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CubeError {
    /// Never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for CubeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if nth == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The cube's name; '' when the file itself cannot be read.
    pub cube: String,
    /// What is wrong and the way out.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cube.as_str() {
            "" => write!(f, "cubes: {}", self.problem),
            cube => write!(f, "cube `{cube}`: {}", self.problem),
        }
    }
}

/// A lane that writes cubes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CubeLane {
    /// `live`: fresh within a second, narrow panes, kept for days.
    Live,
    /// `report`: some seconds behind, wide panes, kept for years.
    Report,
}

impl CubeLane {
    /// Every lane of cubes.
    pub const ALL: &[Self] = &[Self::Live, Self::Report];

    /// Its name; its table is `{name}_local`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Report => "report",
        }
    }

    /// How long its buckets are kept where the cube does not say, in days.
    pub fn retention_days(self) -> u16 {
        match self {
            Self::Live => 7,
            Self::Report => 3 * 365 + 1,
        }
    }
}

/// A width of time buckets. Each belongs to one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pane {
    /// `10s`
    TenSeconds,
    /// `60s`
    Minute,
    /// `1h`
    Hour,
    /// `1d`: from one midnight of the business time zone to the next.
    Day,
}

impl Pane {
    /// Every pane, the smallest first.
    pub const ALL: &[Self] = &[Self::TenSeconds, Self::Minute, Self::Hour, Self::Day];

    /// The pane as it stands in the column `pane`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TenSeconds => "10s",
            Self::Minute => "60s",
            Self::Hour => "1h",
            Self::Day => "1d",
        }
    }

    /// The lane whose table holds it.
    pub fn lane(self) -> CubeLane {
        match self {
            Self::TenSeconds | Self::Minute => CubeLane::Live,
            Self::Hour | Self::Day => CubeLane::Report,
        }
    }

    /// Its width in seconds; none for a day, which may have 23 or 25 hours.
    pub fn seconds(self) -> Option<u32> {
        match self {
            Self::TenSeconds => Some(10),
            Self::Minute => Some(60),
            Self::Hour => Some(3600),
            Self::Day => None,
        }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A field of the catalogue.
    Field(Field),
    /// A value inside `properties`.
    Property(PropertyPath),
    /// The entry of the exploded field.
    Entry(Half),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => f.write_str(field.name()),
            Self::Property(path) => write!(f, "{path}"),
            Self::Entry(_) => f.write_str("the exploded field"),
        }
    }
}

/// Which part of an exploded field's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// The entry of a list; the name in a map.
    First,
    /// The value in a map.
    Second,
}

/// What a cube is counted by: a text column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimension {
    /// The column.
    pub name: String,
    /// Where its text comes from.
    pub source: Source,
}

/// A list or map field each of whose entries is counted as a row of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explode {
    /// The field.
    pub field: Field,
    /// What the entry of a list, or name and value of a map, are called in this cube.
    pub names: Vec<String>,
}

impl Explode {
    /// The half that is called so.
    pub fn half(&self, name: &str) -> Option<Half> {
        let place = self.names.iter().position(|known| known == name)?;
        Some(if place == 0 { Half::First } else { Half::Second })
    }
}

/// Which events count; everything must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// Conditions on the event.
    pub event: Vec<Condition>,
    /// Conditions on the entry of the exploded field.
    pub entry: Vec<EntryCondition>,
}

/// A condition on the entry of the exploded field.
#[derive(Debug, Clone, PartialEq)]
pub enum EntryCondition {
    /// Its text passes.
    Is(Half, Test),
    /// Its text stands in this list of the same event.
    IsIn(Half, Field),
}

/// What a measure adds up. Nothing else can be told from partial sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fold {
    /// The number of events, or of entries of the exploded field.
    Count,
    /// The sum of a number.
    Sum(Source),
    /// A sketch of the different values of a key or text that are not empty.
    Uniq(Source),
}

/// One measure of a cube.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// The column.
    pub name: String,
    /// What it adds up.
    pub fold: Fold,
    /// Which of the cube's events it looks at.
    pub filter: Filter,
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
    /// Its panes, the smallest first.
    pub panes: Vec<Pane>,
    /// The field that decides the bucket: `event_time` or `received_at`.
    pub time: Field,
    /// Which events count.
    pub filter: Filter,
    /// The field whose entries are counted one by one.
    pub explode: Option<Explode>,
    /// What it is counted by.
    pub dimensions: Vec<Dimension>,
    /// What is counted.
    pub measures: Vec<Measure>,
    /// How long a bucket is kept, in days, by lane.
    pub retention_days: Vec<(CubeLane, u16)>,
}

impl Cube {
    /// The lanes that write it.
    pub fn lanes(&self) -> impl Iterator<Item = CubeLane> {
        CubeLane::ALL.iter().copied().filter(|&lane| self.panes_of(lane).next().is_some())
    }

    /// Its panes in a lane, the smallest first.
    pub fn panes_of(&self, lane: CubeLane) -> impl Iterator<Item = Pane> {
        self.panes.iter().copied().filter(move |pane| pane.lane() == lane)
    }

    /// A filter of this cube as its author would write it, one text for each condition.
    pub fn shown(&self, filter: &Filter) -> Vec<String> {
        let name = |half: &Half| match &self.explode {
            Some(explode) => explode.names.get(usize::from(*half == Half::Second)).map_or("", String::as_str),
            None => "",
        };
        let entry = filter.entry.iter().map(|condition| match condition {
            EntryCondition::Is(half, test) => format!("{} = {test}", name(half)),
            EntryCondition::IsIn(half, list) => format!("{} = {{ in = {:?} }}", name(half), list.name()),
        });
        filter.event.iter().map(Condition::to_string).chain(entry).collect()
    }

    /// How long a lane keeps its buckets, in days.
    pub fn retention_of(&self, lane: CubeLane) -> u16 {
        let written = self.retention_days.iter().find(|(of, _)| *of == lane);
        written.map_or(lane.retention_days(), |&(_, days)| days)
    }
}

/// All cubes of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Cubes {
    /// In the order of their files.
    pub cubes: Vec<Cube>,
}

impl Cubes {
    /// Reads and checks a file of cubes that stands for itself.
    ///
    /// # Errors
    /// [`CubeError`] names every mistake and the way out.
    pub fn parse(text: &str) -> Result<Self, CubeError> {
        let (cubes, problems) = read::file(text);
        Self::checked(cubes, problems)
    }

    /// The built-in cubes and those of a file beside them: a cube of a built-in's name takes its place, any other is
    /// called `custom_…`.
    ///
    /// # Errors
    /// [`CubeError`] names every mistake and the way out.
    pub fn built_in_with(text: &str) -> Result<Self, CubeError> {
        let (mut cubes, mut problems) = read::file(BUILT_IN);
        let (more, more_problems) = read::file(text);
        problems.extend(more_problems);
        let mut replaced = Vec::new();
        for cube in more {
            let known = cubes.iter().position(|built_in| built_in.name == cube.name);
            match known.filter(|place| !replaced.contains(place)) {
                Some(place) => {
                    replaced.push(place);
                    cubes[place] = cube;
                }
                None => {
                    if known.is_none() && !cube.name.starts_with(CUSTOM) {
                        let problem = format!(
                            "there is no built-in cube of this name: call your own `{CUSTOM}{}`",
                            cube.name
                        );
                        problems.push(Problem { cube: cube.name.clone(), problem });
                    }
                    cubes.push(cube);
                }
            }
        }
        Self::checked(cubes, problems)
    }

    fn checked(cubes: Vec<Cube>, mut problems: Vec<Problem>) -> Result<Self, CubeError> {
        problems.extend(check::together(&cubes));
        if problems.is_empty() { Ok(Self { cubes }) } else { Err(CubeError { problems }) }
    }

    /// The cubes that a lane writes.
    pub fn of_lane(&self, lane: CubeLane) -> impl Iterator<Item = &Cube> {
        self.cubes.iter().filter(move |cube| cube.panes_of(lane).next().is_some())
    }

    /// The cube of this name.
    pub fn get(&self, name: &str) -> Option<&Cube> {
        self.cubes.iter().find(|cube| cube.name == name)
    }
}

#[cfg(test)]
mod tests;
