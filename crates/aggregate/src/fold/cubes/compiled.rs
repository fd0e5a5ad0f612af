//! The cubes of a lane as indexes: of columns of the wide table, of distinct conditions, clocks and properties. So
//! accumulating works with indexes only, and a condition that several cubes share is evaluated once.
use event::Field;
use event::predicate::{Condition, PropertyReader};
use jiff::tz::TimeZone;

use super::clock::Clock;
use crate::block::Layout;
use crate::cube::{EntryCondition, Half, Pane};

/// A lane's cubes, ready to be accumulated.
#[derive(Debug, Clone)]
pub struct CompiledLane {
    /// The columns of the rows.
    pub(super) layout: Layout,
    /// Every distinct condition of the cubes and their measures on an event.
    pub(super) conditions: Vec<CompiledCondition>,
    /// Every distinct clock of the cubes.
    pub(super) clocks: Vec<Clock>,
    /// Reads every value inside `properties` that a cube needs.
    pub(super) properties: PropertyReader,
    /// What each of these values is used as.
    pub(super) property_uses: Vec<PropertyUse>,
    /// The cubes, by name: the order of their rows in a block.
    pub(super) cubes: Vec<CompiledCube>,
    /// `keep_days` of marker rows.
    pub(super) marker_keep_days: u16,
    /// The business time zone: a pane of a day begins at its midnight.
    pub(super) zone: TimeZone,
}

/// A condition, and the slot of the property it tests.
#[derive(Debug, Clone)]
pub(super) struct CompiledCondition {
    /// The condition.
    pub(super) condition: Condition,
    /// The slot of [`CompiledLane::properties`] with the value; none for a condition on a field.
    pub(super) slot: Option<usize>,
}

/// What a value inside `properties` is used as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PropertyUse {
    /// A dimension.
    pub(super) text: bool,
    /// A sum.
    pub(super) number: bool,
    /// A sketch.
    pub(super) id: bool,
}

/// One cube as indexes.
#[derive(Debug, Clone)]
pub(super) struct CompiledCube {
    /// Its name.
    pub(super) name: String,
    /// Its panes in this lane, the smallest first.
    pub(super) panes: Vec<Pane>,
    /// Index into [`CompiledLane::clocks`].
    pub(super) clock: usize,
    /// Conditions on fields, indexes into [`CompiledLane::conditions`].
    pub(super) conditions: Vec<usize>,
    /// Conditions on values inside `properties`, indexes into [`CompiledLane::conditions`].
    pub(super) property_conditions: Vec<usize>,
    /// Whether any dimension, measure or condition reads `properties`.
    pub(super) needs_properties: bool,
    /// The list or map whose entries are counted one by one.
    pub(super) explode: Option<Field>,
    /// Conditions on the entry.
    pub(super) entry_conditions: Vec<EntryCondition>,
    /// Its dimensions: the source of each, and its column.
    pub(super) dimensions: Vec<(CompiledSource, usize)>,
    /// Its counts and sums.
    pub(super) sums: Vec<CompiledMeasure>,
    /// Its sketches.
    pub(super) uniqs: Vec<CompiledMeasure>,
    /// Every column that its rows set.
    pub(super) columns: Vec<usize>,
    /// How long its buckets are kept.
    pub(super) keep_days: u16,
}

/// Where the value of a dimension or measure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompiledSource {
    /// A field of the event.
    Field(Field),
    /// A slot of [`CompiledLane::properties`].
    Property(usize),
    /// The entry of the exploded field.
    Entry(Half),
}

/// One measure as indexes.
#[derive(Debug, Clone)]
pub(super) struct CompiledMeasure {
    /// What it adds up; none for a count.
    pub(super) source: Option<CompiledSource>,
    /// Conditions that must hold in addition to those of the cube.
    pub(super) conditions: Vec<usize>,
    /// Conditions on the entry in addition to those of the cube.
    pub(super) entry_conditions: Vec<EntryCondition>,
    /// Its column.
    pub(super) column: usize,
}
