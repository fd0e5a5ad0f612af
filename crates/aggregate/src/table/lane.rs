//! The wide table of a lane of cubes: one column per dimension and measure of all its cubes.
use super::spec::{ColumnSpec, TableSpec, quoted};
use super::types::{SKETCH_STATE, TEXT};
use crate::block::{ColumnKind, Layout, TablePartitioning};
use crate::cube::{CubeLane, Cubes};

/// Indexes of the columns that every lane has, in [`LaneTable::layout`].
pub mod lane_column {
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

/// The columns of a lane's table.
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

    /// How it is partitioned. Every insert writes one data part per table partition, so rows that are kept for years
    /// have wide partitions.
    pub fn partitioning(&self) -> TablePartitioning {
        match self.lane {
            CubeLane::Live => TablePartitioning::ByWeek,
            CubeLane::Report => TablePartitioning::ByMonth,
        }
    }

    /// The columns that an insert may send: those of [`lane_column`], then dimensions, sums and the IDs of sketches.
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
        Layout::new(own.chain(dimensions).chain(sums).chain(uniqs).collect(), self.partitioning())
    }
}

/// The table of a lane.
pub fn lane_table(table: &LaneTable) -> TableSpec {
    let mut columns = vec![
        ColumnSpec::new("cube", TEXT),
        ColumnSpec::new("pane", TEXT),
        ColumnSpec::new("bucket", "DateTime('UTC')"),
    ];
    // No explicit default: only columns without one may be added to the sorting key later.
    columns.extend(table.dimensions.iter().map(|name| ColumnSpec::new(name, TEXT)));
    columns
        .extend(table.sums.iter().map(|name| ColumnSpec::new(name, "SimpleAggregateFunction(sum, Int64)")));
    for name in &table.uniqs {
        let mut ids = ColumnSpec::new(format!("{name}_ids"), "Array(UInt64)");
        ids.default = "EPHEMERAL".into();
        let mut sketch = ColumnSpec::new(name, "AggregateFunction(uniqCombined64(14), UInt64)");
        sketch.default = format!("DEFAULT arrayReduce('{SKETCH_STATE}', {})", quoted(&ids.name));
        columns.extend([ids, sketch]);
    }
    columns.extend([
        ColumnSpec::new("keep_days", "SimpleAggregateFunction(max, UInt16)"),
        ColumnSpec::new("received_max", "SimpleAggregateFunction(max, DateTime64(3, 'UTC'))"),
        ColumnSpec::new("src", TEXT),
        ColumnSpec::new("src_end", "SimpleAggregateFunction(max, UInt64)"),
        ColumnSpec::new("ledger_events", "SimpleAggregateFunction(sum, Int64)"),
        ColumnSpec::new("ledger_duplicates", "SimpleAggregateFunction(sum, Int64)"),
    ]);
    let dimensions = table.dimensions.iter().map(String::as_str);
    let order = ["cube", "pane", "bucket"].into_iter().chain(dimensions).chain(["src"]);
    TableSpec {
        name: table.name(),
        time: "bucket".into(),
        partitioning: table.partitioning(),
        columns,
        indexes: Vec::new(),
        merges: true,
        order: order.map(str::to_owned).collect(),
        primary: 3,
        markers: "cube = '' AND pane = '' AND src != ''".into(),
    }
}
