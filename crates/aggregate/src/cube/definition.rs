//! One cube: which events it counts, by which dimensions, and what it adds up.
use std::fmt;

use event::{
    Field,
    predicate::{Condition, PropertyPath, Test},
};

use super::pane::{CubeLane, Pane};

/// Where the value of a dimension or measure comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueSource {
    /// A field of the catalogue.
    Field(Field),
    /// A value inside `properties`.
    Property(PropertyPath),
    /// The entry of the exploded field.
    Entry(Half),
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => f.write_str(field.name()),
            Self::Property(path) => write!(f, "{path}"),
            Self::Entry(_) => f.write_str("the exploded field"),
        }
    }
}

/// One half of an entry of the exploded field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// The entry of a list; the name in a map.
    First,
    /// The value in a map.
    Second,
}

/// A text column by which a cube is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimension {
    /// The column.
    pub name: String,
    /// Where its text comes from.
    pub source: ValueSource,
}

/// A list or map field whose entries are counted one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explode {
    /// The field.
    pub field: Field,
    /// The name in this cube of a list's entry, or of a map's name and value.
    pub names: Vec<String>,
}

impl Explode {
    /// The half with this name.
    pub fn half(&self, name: &str) -> Option<Half> {
        let index = self.names.iter().position(|known| known == name)?;
        Some(if index == 0 { Half::First } else { Half::Second })
    }
}

/// Which events count: all conditions must hold.
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
    /// Its text is in this list of the same event.
    IsIn(Half, Field),
}

/// How a measure is computed. Only functions whose partial results can be merged exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AggregateFunction {
    /// The number of events, or of entries of the exploded field.
    Count,
    /// The sum of a number.
    Sum(ValueSource),
    /// A sketch of the distinct values of a key or text, empty ones left out.
    Uniq(ValueSource),
}

/// One measure of a cube.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// The column.
    pub name: String,
    /// What it computes.
    pub function: AggregateFunction,
    /// Which of the cube's events it uses.
    pub filter: Filter,
}

impl Measure {
    /// Whether the column holds a sketch.
    pub fn is_uniq(&self) -> bool {
        matches!(self.function, AggregateFunction::Uniq(_))
    }
}

/// One cube, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Cube {
    /// Its name, and that of its view.
    pub name: String,
    /// What it shows, for people.
    pub meaning: String,
    /// Its panes, the smallest first.
    pub panes: Vec<Pane>,
    /// The field that decides the bucket: `event_time` or `received_at`.
    pub time: Field,
    /// Which events count.
    pub filter: Filter,
    /// The field whose entries are counted one by one, if any.
    pub explode: Option<Explode>,
    /// The columns by which it is counted.
    pub dimensions: Vec<Dimension>,
    /// The columns that are counted.
    pub measures: Vec<Measure>,
    /// How long a bucket is kept, in days, by lane; only where the file says so.
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

    /// A filter of this cube as it is written in a file, one text per condition.
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
        let configured = self.retention_days.iter().find(|(of, _)| *of == lane);
        configured.map_or(lane.retention_days(), |&(_, days)| days)
    }
}
