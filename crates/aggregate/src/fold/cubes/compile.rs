//! Compiles the cubes of a lane.
use event::predicate::{PropertyPath, PropertyReader};
use jiff::tz::TimeZone;

use super::clock::Clock;
use super::compiled::{
    CompiledCondition, CompiledCube, CompiledLane, CompiledMeasure, CompiledSource, PropertyUse,
};
use crate::block::MARKER_DAYS;
use crate::cube::{AggregateFunction, Cube, CubeLane, Cubes, Filter, Pane, ValueSource};
use crate::table::{LaneTable, lane_column};

impl CompiledLane {
    /// Compiles the cubes of a lane. Every bucket is kept for at least `min_keep_days`, so that accepted late events
    /// find their bucket. Days are those of `zone`.
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
        }
    }
}

/// What the cubes compiled so far have in common.
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
        let clock = Clock::new(cube.time, width, panes.contains(&Pane::Day));
        let clock = index_or_push(&mut self.clocks, clock);
        let dimensions: Vec<(CompiledSource, usize)> = cube
            .dimensions
            .iter()
            .map(|dimension| {
                let source = self.source(&dimension.source, |uses| uses.text = true);
                (source, lane_column::DIMENSIONS + index_of(&self.table.dimensions, &dimension.name))
            })
            .collect();
        let (property_conditions, conditions): (Vec<usize>, Vec<usize>) = self
            .conditions(&cube.filter)
            .into_iter()
            .partition(|&index| self.conditions[index].slot.is_some());
        let (mut sums, mut uniqs) = (Vec::new(), Vec::new());
        let first_sum = lane_column::DIMENSIONS + self.table.dimensions.len();
        let first_uniq = first_sum + self.table.sums.len();
        for measure in &cube.measures {
            let (source, column) = match &measure.function {
                AggregateFunction::Count => (None, first_sum + index_of(&self.table.sums, &measure.name)),
                AggregateFunction::Sum(source) => {
                    let source = self.source(source, |uses| uses.number = true);
                    (Some(source), first_sum + index_of(&self.table.sums, &measure.name))
                }
                AggregateFunction::Uniq(source) => {
                    let source = self.source(source, |uses| uses.id = true);
                    (Some(source), first_uniq + index_of(&self.table.uniqs, &measure.name))
                }
            };
            let conditions = self.conditions(&measure.filter);
            let entry_conditions = measure.filter.entry.clone();
            let compiled = CompiledMeasure { source, conditions, entry_conditions, column };
            if measure.is_uniq() { uniqs.push(compiled) } else { sums.push(compiled) }
        }
        let is_property = |source: &CompiledSource| matches!(source, CompiledSource::Property(_));
        let mut measures = sums.iter().chain(&uniqs);
        let needs_properties = !property_conditions.is_empty()
            || dimensions.iter().any(|(source, _)| is_property(source))
            || measures.any(|measure| {
                let mut conditions = measure.conditions.iter();
                measure.source.as_ref().is_some_and(is_property)
                    || conditions.any(|&index| self.conditions[index].slot.is_some())
            });
        let set_by_every_row = [
            lane_column::CUBE,
            lane_column::PANE,
            lane_column::BUCKET,
            lane_column::KEEP_DAYS,
            lane_column::RECEIVED_MAX,
        ];
        let dimension_columns = dimensions.iter().map(|&(_, column)| column);
        let measure_columns = sums.iter().chain(&uniqs).map(|measure| measure.column);
        let columns = set_by_every_row.into_iter().chain(dimension_columns).chain(measure_columns).collect();
        CompiledCube {
            columns,
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

    fn source(&mut self, source: &ValueSource, note: impl FnOnce(&mut PropertyUse)) -> CompiledSource {
        match source {
            ValueSource::Field(field) => CompiledSource::Field(*field),
            ValueSource::Entry(half) => CompiledSource::Entry(*half),
            ValueSource::Property(path) => {
                let slot = self.slot(path);
                note(&mut self.property_uses[slot]);
                CompiledSource::Property(slot)
            }
        }
    }

    fn slot(&mut self, path: &PropertyPath) -> usize {
        let slot = self.properties.add(path);
        self.property_uses.resize(self.properties.slots(), PropertyUse::default());
        slot
    }

    /// The indexes of the conditions among all of the lane; adds the new ones.
    fn conditions(&mut self, filter: &Filter) -> Vec<usize> {
        let mut indexes = Vec::with_capacity(filter.event.len());
        for condition in &filter.event {
            let known = self.conditions.iter().position(|known| known.condition == *condition);
            indexes.push(known.unwrap_or_else(|| {
                let slot = condition.path.as_ref().map(|path| self.slot(path));
                self.conditions.push(CompiledCondition { condition: condition.clone(), slot });
                self.conditions.len() - 1
            }));
        }
        indexes
    }
}

fn index_of<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter().position(|other| other == one).unwrap_or(all.len())
}

fn index_or_push<T: PartialEq>(all: &mut Vec<T>, one: T) -> usize {
    let index = index_of(all, &one);
    if index == all.len() {
        all.push(one);
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::Field;

    use crate::cube::BUILT_IN;

    fn compiled(text: &str, lane: CubeLane) -> CompiledLane {
        CompiledLane::new(&Cubes::parse(text).unwrap(), lane, 8, TimeZone::UTC)
    }

    #[test]
    fn cubes_share_columns_conditions_and_clocks() {
        let lane = compiled(BUILT_IN, CubeLane::Live);
        let table = LaneTable::new(&Cubes::parse(BUILT_IN).unwrap(), CubeLane::Live);
        assert_eq!(table.sums[..4], ["events", "sessions", "new_devices", "participants"]);
        assert_eq!(table.uniqs, ["devices", "users", "viewers", "payers", "uploads"]);
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
    fn a_property_has_one_slot_for_all_its_uses() {
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
