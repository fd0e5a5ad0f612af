//! The cubes of a lane turned into places: which column of the wide table, which of the distinct conditions.
//! Accumulating then deals in indexes only, and a condition that several cubes share is looked at once.
use event::{Field, predicate::Condition};

use crate::block::{ColumnKind, Layout};
use crate::cube::{Cube, Cubes, Fold, Pane};

/// How long marker rows are kept, in days: ten years. They must be there for as long as their records could be read
/// again, and they carry the ledger, which is the sum over all of them. They cost a row per week and partition.
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
    pub lane: String,
    /// Every dimension of its cubes, in the order in which cubes first name them.
    pub dimensions: Vec<Field>,
    /// Every count and sum.
    pub sums: Vec<String>,
    /// Every sketch.
    pub uniqs: Vec<String>,
}

impl LaneTable {
    /// The table that holds all cubes of a lane.
    pub fn new(cubes: &Cubes, lane: &str) -> Self {
        let mut table =
            Self { lane: lane.to_owned(), dimensions: Vec::new(), sums: Vec::new(), uniqs: Vec::new() };
        for cube in cubes.of_lane(lane) {
            for &field in &cube.dimensions {
                if !table.dimensions.contains(&field) {
                    table.dimensions.push(field);
                }
            }
            for measure in &cube.measures {
                let columns = if measure.is_uniq() { &mut table.uniqs } else { &mut table.sums };
                if !columns.contains(&measure.name) {
                    columns.push(measure.name.clone());
                }
            }
        }
        table
    }

    /// The table's name, without the database.
    pub fn name(&self) -> String {
        format!("{}_local", self.lane)
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
        let dimensions = self.dimensions.iter().map(|field| (field.name().to_owned(), ColumnKind::Text));
        let sums = self.sums.iter().map(|name| (name.clone(), ColumnKind::Number));
        let uniqs = self.uniqs.iter().map(|name| (format!("{name}_ids"), ColumnKind::Ids));
        Layout::new(own.chain(dimensions).chain(sums).chain(uniqs).collect())
    }
}

/// A lane's cubes, ready to be accumulated.
#[derive(Debug, Clone)]
pub struct CompiledLane {
    /// The table the rows are for.
    pub table: LaneTable,
    /// Its columns as an insert sends them.
    pub layout: Layout,
    /// Every distinct condition of the cubes and their measures.
    pub conditions: Vec<Condition>,
    /// The cubes, by name: the order of their rows in a block.
    pub cubes: Vec<CompiledCube>,
    /// `keep_days` of marker rows.
    pub marker_keep_days: u16,
}

/// One cube, in places. Conditions are indexes into [`CompiledLane::conditions`], dimensions into
/// [`LaneTable::dimensions`], columns into the layout.
#[derive(Debug, Clone)]
pub struct CompiledCube {
    /// Its name.
    pub name: String,
    /// Its panes, the smallest first.
    pub panes: Vec<Pane>,
    /// The field that decides the bucket.
    pub time: Field,
    /// Conditions that must all hold.
    pub conditions: Vec<usize>,
    /// Its dimensions.
    pub dimensions: Vec<usize>,
    /// Its counts and sums.
    pub sums: Vec<CompiledMeasure>,
    /// Its sketches.
    pub uniqs: Vec<CompiledMeasure>,
    /// How long its buckets are kept.
    pub keep_days: u16,
}

/// One measure, in places.
#[derive(Debug, Clone)]
pub struct CompiledMeasure {
    /// What it adds up.
    pub fold: Fold,
    /// Conditions that must all hold, beside the cube's.
    pub conditions: Vec<usize>,
    /// The column it is sent as.
    pub column: usize,
}

impl CompiledLane {
    /// Compiles the cubes of a lane. No bucket is kept for fewer than `min_keep_days`: late events that are still
    /// accepted must find their bucket.
    pub fn new(cubes: &Cubes, lane: &str, min_keep_days: u16) -> Self {
        let table = LaneTable::new(cubes, lane);
        let mut conditions = Vec::new();
        let mut compiled: Vec<CompiledCube> =
            cubes.of_lane(lane).map(|cube| compile(cube, &table, &mut conditions, min_keep_days)).collect();
        compiled.sort_by(|a, b| a.name.cmp(&b.name));
        let longest = compiled.iter().map(|cube| cube.keep_days).max().unwrap_or(0);
        Self {
            layout: table.layout(),
            table,
            conditions,
            cubes: compiled,
            marker_keep_days: longest.max(MARKER_DAYS),
        }
    }
}

fn compile(cube: &Cube, table: &LaneTable, all: &mut Vec<Condition>, min_keep_days: u16) -> CompiledCube {
    let first_sum = place::DIMENSIONS + table.dimensions.len();
    let first_uniq = first_sum + table.sums.len();
    let mut sums = Vec::new();
    let mut uniqs = Vec::new();
    for measure in &cube.measures {
        let (first, names, places) = if measure.is_uniq() {
            (first_uniq, &table.uniqs, &mut uniqs)
        } else {
            (first_sum, &table.sums, &mut sums)
        };
        let column = first + place_of(names, &measure.name);
        places.push(CompiledMeasure {
            fold: measure.fold,
            conditions: shared(&measure.conditions, all),
            column,
        });
    }
    CompiledCube {
        name: cube.name.clone(),
        panes: cube.panes.clone(),
        time: cube.time,
        conditions: shared(&cube.conditions, all),
        dimensions: cube.dimensions.iter().map(|field| place_of(&table.dimensions, field)).collect(),
        sums,
        uniqs,
        keep_days: cube.retention_days.max(min_keep_days),
    }
}

/// Where the conditions stand among all of the lane, adding those that are new.
fn shared(conditions: &[Condition], all: &mut Vec<Condition>) -> Vec<usize> {
    let mut places = Vec::with_capacity(conditions.len());
    for condition in conditions {
        if !all.contains(condition) {
            all.push(condition.clone());
        }
        places.push(place_of(all, condition));
    }
    places
}

fn place_of<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter().position(|other| other == one).unwrap_or(all.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cube::BUILT_IN;

    #[test]
    fn cubes_share_columns_and_conditions() {
        let lane = CompiledLane::new(&Cubes::parse(BUILT_IN).unwrap(), "live", 8);
        assert_eq!(lane.table.sums, ["events", "sessions", "new_devices", "late_events"]);
        assert_eq!(lane.table.uniqs, ["devices", "users"]);
        // kind = "event" of three places, activity_id exists, lateness_ms > 600000.
        assert_eq!(lane.conditions.len(), 3);
        let by_name: Vec<_> = lane.cubes.iter().map(|cube| (cube.name.as_str(), cube.keep_days)).collect();
        assert_eq!(by_name, [("activity", 8), ("quality", 90), ("traffic", 8)]);
        for cube in &lane.cubes {
            let column = |measure: &CompiledMeasure| lane.layout.name(measure.column).to_owned();
            assert_eq!(column(&cube.sums[0]), "events");
        }
        assert_eq!(lane.layout.name(lane.cubes[0].uniqs[1].column), "users_ids");
    }
}
