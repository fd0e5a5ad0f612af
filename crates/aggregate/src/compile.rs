//! The cubes of a lane turned into places: which column of the wide table, which of the distinct conditions.
//! Accumulating then deals in indexes only, and a condition that several cubes share is looked at once.
use event::{
    Field,
    predicate::{Condition, PropertyPath, PropertyReader},
};
use jiff::tz::TimeZone;

use crate::block::{ColumnKind, Layout, Slices};
use crate::cube::{Cube, CubeLane, Cubes, EntryCondition, Filter, Fold, Half, Pane, Source};
use crate::days::Days;

/// How long marker rows are kept, in days: ten years. They must be there for as long as their records could be read
/// again, and they carry the ledger, which is the sum over all of them. They cost a row per slice and partition.
pub const MARKER_DAYS: u16 = 3653;

/// Places of the columns every lane has, in [`LaneTable::layout`].
pub mod place {
    /// `cube`
    pub const CUBE: usize = 0;
    /// `pane`
    pub const PANE: usize = 1;
    /// `bucket`
    pub const BUCKET: usize = 2;
    /// `keep_days`
    pub const KEEP_DAYS: usize = 3;
    /// `received_max`
    pub const RECEIVED_MAX: usize = 4;
    /// `src`
    pub const SRC: usize = 5;
    /// `src_end`
    pub const SRC_END: usize = 6;
    /// `ledger_events`
    pub const LEDGER_EVENTS: usize = 7;
    /// `ledger_duplicates`
    pub const LEDGER_DUPLICATES: usize = 8;
    /// The first dimension.
    pub const DIMENSIONS: usize = 9;
}

/// The wide table of a lane: what the DDL is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneTable {
    /// The lane; the table is `{lane}_local`.
    pub lane: CubeLane,
    /// Every dimension of its cubes, in the order in which cubes first name them.
    pub dimensions: Vec<String>,
    /// Every count and sum.
    pub sums: Vec<String>,
    /// Every sketch.
    pub uniqs: Vec<String>,
}

impl LaneTable {
    /// The table that holds all cubes of a lane.
    pub fn new(cubes: &Cubes, lane: CubeLane) -> Self {
        let mut table = Self { lane, dimensions: Vec::new(), sums: Vec::new(), uniqs: Vec::new() };
        let add = |names: &mut Vec<String>, name: &String| {
            if !names.contains(name) {
                names.push(name.clone());
            }
        };
        for cube in cubes.of_lane(lane) {
            for dimension in &cube.dimensions {
                add(&mut table.dimensions, &dimension.name);
            }
            for measure in &cube.measures {
                let names = if measure.is_uniq() { &mut table.uniqs } else { &mut table.sums };
                add(names, &measure.name);
            }
        }
        table
    }

    /// The table's name, without the database.
    pub fn name(&self) -> String {
        format!("{}_local", self.lane.as_str())
    }

    /// How it is partitioned: each slice is a part of its own in every insert, so wide ones for what is kept long.
    pub fn slices(&self) -> Slices {
        match self.lane {
            CubeLane::Live => Slices::Weeks,
            CubeLane::Report => Slices::Months,
        }
    }

    /// The columns an insert may send, in the order of [`place`], then dimensions, sums and the IDs of sketches.
    pub fn layout(&self) -> Layout {
        let own = [
            ("cube", ColumnKind::Text),
            ("pane", ColumnKind::Text),
            ("bucket", ColumnKind::Seconds),
            ("keep_days", ColumnKind::Small),
            ("received_max", ColumnKind::Millis),
            ("src", ColumnKind::Text),
            ("src_end", ColumnKind::Offset),
            ("ledger_events", ColumnKind::Number),
            ("ledger_duplicates", ColumnKind::Number),
        ];
        let own = own.into_iter().map(|(name, kind)| (name.to_owned(), kind));
        let dimensions = self.dimensions.iter().map(|name| (name.clone(), ColumnKind::Text));
        let sums = self.sums.iter().map(|name| (name.clone(), ColumnKind::Number));
        let uniqs = self.uniqs.iter().map(|name| (format!("{name}_ids"), ColumnKind::Ids));
        Layout::sliced(own.chain(dimensions).chain(sums).chain(uniqs).collect(), self.slices())
    }
}

/// A lane's cubes, ready to be accumulated.
#[derive(Debug, Clone)]
pub struct CompiledLane {
    /// The table the rows are for.
    pub table: LaneTable,
    /// Its columns as an insert sends them.
    pub layout: Layout,
    /// Every distinct condition of the cubes and their measures on an event.
    pub conditions: Vec<CompiledCondition>,
    /// Every distinct way to tell the cell of an event by its time.
    pub clocks: Vec<Clock>,
    /// Reads every value inside `properties` that a cube needs.
    pub properties: PropertyReader,
    /// What each of those values is needed as.
    pub property_uses: Vec<PropertyUse>,
    /// The cubes, by name: the order of their rows in a block.
    pub cubes: Vec<CompiledCube>,
    /// `keep_days` of marker rows.
    pub marker_keep_days: u16,
    /// Panes of a day begin at its midnights.
    pub zone: TimeZone,
}

/// A condition, and the slot of the property it asks.
#[derive(Debug, Clone)]
pub struct CompiledCondition {
    /// The condition.
    pub condition: Condition,
    /// Where [`CompiledLane::properties`] puts the value.
    pub slot: Option<usize>,
}

/// What a value inside `properties` is needed as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PropertyUse {
    /// A dimension.
    pub text: bool,
    /// A sum.
    pub number: bool,
    /// A sketch.
    pub id: bool,
}

/// How events of a time field fall into the panes of a cube. Cells are the intersections of all its panes, so that
/// every pane is made of whole cells, also where a day begins in mid-hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// The field that decides.
    pub time: Field,
    width: Option<u32>,
    by_day: bool,
}

impl Clock {
    /// The first second of the cell of a time in epoch milliseconds.
    #[inline]
    pub fn cell(&self, millis: i64, days: &mut Days) -> u32 {
        let seconds = millis.div_euclid(1000).clamp(0, i64::from(u32::MAX)) as u32;
        let fixed = self.width.map_or(0, |width| seconds - seconds % width);
        if self.by_day { fixed.max(days.start(seconds)) } else { fixed }
    }
}

/// The first second of the pane that a cell belongs to.
pub(crate) fn pane_of(pane: Pane, cell: u32, days: &mut Days) -> u32 {
    match pane.seconds() {
        Some(width) => cell - cell % width,
        None => days.start(cell),
    }
}

/// One cube, in places.
#[derive(Debug, Clone)]
pub struct CompiledCube {
    /// Its name.
    pub name: String,
    /// Its panes in this lane, the smallest first.
    pub panes: Vec<Pane>,
    /// Index into [`CompiledLane::clocks`].
    pub clock: usize,
    /// Conditions on fields, indexes into [`CompiledLane::conditions`].
    pub conditions: Vec<usize>,
    /// As before, conditions on values inside `properties`.
    pub property_conditions: Vec<usize>,
    /// Whether anything of it needs the properties of its events.
    pub needs_properties: bool,
    /// The list or map whose entries count one by one.
    pub explode: Option<Field>,
    /// Conditions on the entry.
    pub entry_conditions: Vec<EntryCondition>,
    /// Its dimensions: where each comes from, and the column it is sent as.
    pub dimensions: Vec<(Input, usize)>,
    /// Its counts and sums.
    pub sums: Vec<CompiledMeasure>,
    /// Its sketches.
    pub uniqs: Vec<CompiledMeasure>,
    /// How long its buckets are kept.
    pub keep_days: u16,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A field of the event.
    Field(Field),
    /// A slot of [`CompiledLane::properties`].
    Property(usize),
    /// The entry of the exploded field.
    Entry(Half),
}

/// One measure, in places.
#[derive(Debug, Clone)]
pub struct CompiledMeasure {
    /// What it adds up; none to count.
    pub input: Option<Input>,
    /// Conditions that must all hold, beside the cube's.
    pub conditions: Vec<usize>,
    /// Conditions on the entry, beside the cube's.
    pub entry_conditions: Vec<EntryCondition>,
    /// The column it is sent as.
    pub column: usize,
}

impl CompiledLane {
    /// Compiles the cubes of a lane. No bucket is kept for fewer than `min_keep_days`: late events that are still
    /// accepted must find their bucket. Days are those of `zone`.
    pub fn new(cubes: &Cubes, lane: CubeLane, min_keep_days: u16, zone: TimeZone) -> Self {
        let table = LaneTable::new(cubes, lane);
        let mut compiler = Compiler::new(&table);
        let mut compiled: Vec<CompiledCube> =
            cubes.of_lane(lane).map(|cube| compiler.cube(cube, min_keep_days)).collect();
        compiled.sort_by(|a, b| a.name.cmp(&b.name));
        let longest = compiled.iter().map(|cube| cube.keep_days).max().unwrap_or(0);
        Self {
            layout: table.layout(),
            properties: compiler.properties,
            property_uses: compiler.property_uses,
            conditions: compiler.conditions,
            clocks: compiler.clocks,
            cubes: compiled,
            marker_keep_days: longest.max(MARKER_DAYS),
            zone,
            table,
        }
    }
}

/// What the cubes compiled so far share.
struct Compiler<'a> {
    table: &'a LaneTable,
    conditions: Vec<CompiledCondition>,
    clocks: Vec<Clock>,
    properties: PropertyReader,
    property_uses: Vec<PropertyUse>,
}

impl<'a> Compiler<'a> {
    fn new(table: &'a LaneTable) -> Self {
        let (conditions, clocks) = (Vec::new(), Vec::new());
        let (properties, property_uses) = (PropertyReader::default(), Vec::new());
        Self { table, conditions, clocks, properties, property_uses }
    }

    fn cube(&mut self, cube: &Cube, min_keep_days: u16) -> CompiledCube {
        let lane = self.table.lane;
        let panes: Vec<Pane> = cube.panes_of(lane).collect();
        let width = panes.iter().find_map(|pane| pane.seconds());
        let clock = Clock { time: cube.time, width, by_day: panes.contains(&Pane::Day) };
        let clock = place_or_push(&mut self.clocks, clock);
        let dimensions: Vec<(Input, usize)> = cube
            .dimensions
            .iter()
            .map(|dimension| {
                let input = self.input(&dimension.source, |uses| uses.text = true);
                (input, place::DIMENSIONS + place_of(&self.table.dimensions, &dimension.name))
            })
            .collect();
        let (property_conditions, conditions): (Vec<usize>, Vec<usize>) = self
            .conditions(&cube.filter)
            .into_iter()
            .partition(|&place| self.conditions[place].slot.is_some());
        let (mut sums, mut uniqs) = (Vec::new(), Vec::new());
        let first_sum = place::DIMENSIONS + self.table.dimensions.len();
        let first_uniq = first_sum + self.table.sums.len();
        for measure in &cube.measures {
            let (input, column) = match &measure.fold {
                Fold::Count => (None, first_sum + place_of(&self.table.sums, &measure.name)),
                Fold::Sum(source) => {
                    let input = self.input(source, |uses| uses.number = true);
                    (Some(input), first_sum + place_of(&self.table.sums, &measure.name))
                }
                Fold::Uniq(source) => {
                    let input = self.input(source, |uses| uses.id = true);
                    (Some(input), first_uniq + place_of(&self.table.uniqs, &measure.name))
                }
            };
            let conditions = self.conditions(&measure.filter);
            let entry_conditions = measure.filter.entry.clone();
            let compiled = CompiledMeasure { input, conditions, entry_conditions, column };
            if measure.is_uniq() { uniqs.push(compiled) } else { sums.push(compiled) }
        }
        let asks = |input: &Input| matches!(input, Input::Property(_));
        let mut measures = sums.iter().chain(&uniqs);
        let needs_properties = !property_conditions.is_empty()
            || dimensions.iter().any(|(input, _)| asks(input))
            || measures.any(|measure| {
                let mut conditions = measure.conditions.iter();
                measure.input.as_ref().is_some_and(asks)
                    || conditions.any(|&place| self.conditions[place].slot.is_some())
            });
        CompiledCube {
            name: cube.name.clone(),
            panes,
            clock,
            conditions,
            property_conditions,
            needs_properties,
            explode: cube.explode.as_ref().map(|explode| explode.field),
            entry_conditions: cube.filter.entry.clone(),
            dimensions,
            sums,
            uniqs,
            keep_days: cube.retention_of(lane).max(min_keep_days),
        }
    }

    fn input(&mut self, source: &Source, note: impl FnOnce(&mut PropertyUse)) -> Input {
        match source {
            Source::Field(field) => Input::Field(*field),
            Source::Entry(half) => Input::Entry(*half),
            Source::Property(path) => {
                let slot = self.slot(path);
                note(&mut self.property_uses[slot]);
                Input::Property(slot)
            }
        }
    }

    fn slot(&mut self, path: &PropertyPath) -> usize {
        let slot = self.properties.add(path);
        self.property_uses.resize(self.properties.slots(), PropertyUse::default());
        slot
    }

    /// Where the conditions stand among all of the lane, adding those that are new.
    fn conditions(&mut self, filter: &Filter) -> Vec<usize> {
        let mut places = Vec::with_capacity(filter.event.len());
        for condition in &filter.event {
            let known = self.conditions.iter().position(|known| known.condition == *condition);
            places.push(known.unwrap_or_else(|| {
                let slot = condition.path.as_ref().map(|path| self.slot(path));
                self.conditions.push(CompiledCondition { condition: condition.clone(), slot });
                self.conditions.len() - 1
            }));
        }
        places
    }
}

fn place_of<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter().position(|other| other == one).unwrap_or(all.len())
}

fn place_or_push<T: PartialEq>(all: &mut Vec<T>, one: T) -> usize {
    let place = place_of(all, &one);
    if place == all.len() {
        all.push(one);
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cube::BUILT_IN;

    fn compiled(text: &str, lane: CubeLane) -> CompiledLane {
        CompiledLane::new(&Cubes::parse(text).unwrap(), lane, 8, TimeZone::UTC)
    }

    #[test]
    fn cubes_share_columns_conditions_and_clocks() {
        let lane = compiled(BUILT_IN, CubeLane::Live);
        assert_eq!(lane.table.sums[..4], ["events", "sessions", "new_devices", "participants"]);
        assert_eq!(lane.table.uniqs, ["devices", "users", "viewers", "payers", "uploads"]);
        let kind = lane.conditions.iter().filter(|one| one.condition.field == Field::Kind).count();
        assert_eq!(kind, 2, "kind = \"event\" of six cubes, and that of quality");
        assert_eq!(lane.clocks.len(), 2, "by event_time and by received_at");
        assert_eq!(compiled(BUILT_IN, CubeLane::Report).clocks.len(), 2, "with and without hours");
        let by_name: Vec<_> = lane.cubes.iter().map(|cube| (cube.name.as_str(), cube.keep_days)).collect();
        assert_eq!(
            by_name,
            [
                ("activity", 8),
                ("conversions", 8),
                ("playback", 8),
                ("quality", 90),
                ("revenue", 8),
                ("traffic", 8),
                ("upload", 8)
            ]
        );
        for cube in lane.cubes.iter().filter(|cube| cube.name != "revenue") {
            assert_eq!(lane.layout.name(cube.sums[0].column), "events", "{}", cube.name);
        }
        assert_eq!(lane.layout.name(lane.cubes[0].uniqs[1].column), "users_ids");
        assert!(lane.cubes.iter().all(|cube| !cube.needs_properties));
    }

    #[test]
    fn a_property_has_one_slot_whatever_it_is_needed_as() {
        let text = r#"
            [[cube]]
            name = "custom_levels"
            panes = ["1h"]
            where = { "properties.level" = { exists = true } }
            dimensions = ["properties.level"]
            measures = [
              { name = "coins", sum = "properties.coins" },
              { name = "levels", uniq = "properties.level" },
            ]
        "#;
        let lane = compiled(text, CubeLane::Report);
        assert_eq!(lane.properties.slots(), 2);
        assert_eq!(
            lane.property_uses,
            [
                PropertyUse { text: true, number: false, id: true },
                PropertyUse { text: false, number: true, id: false }
            ]
        );
        let cube = &lane.cubes[0];
        assert!(cube.needs_properties && cube.property_conditions.len() == 1 && cube.conditions.len() == 1);
        assert_eq!(lane.layout.name(cube.dimensions[0].1), "properties_level");
    }
}
