//! The tables and views in ClickHouse, as SQL. Pure text; [`migrate`](crate::migrate) compares it with the server.
//!
//! A table `x_local` also holds marker rows (`src` is not ''); everyone reads its views, which leave them out. They say
//! how far each partition of the topic was written, and their `ledger_…` columns how much that was:
//! `SELECT src, sum(ledger_events) … WHERE src LIKE '1/%' GROUP BY src` is exact, because each count stands in the same
//! part as the rows it counts. Marker rows are kept for ten years, longer than any row; after that the ledger of an
//! epoch shrinks, and a new epoch begins a new one.
use crate::block::{ColumnKind, Layout, Slices};
use crate::compile::LaneTable;
use crate::cube::{Cube, CubeLane, Cubes, Filter, Fold, Pane};

/// How long dead letters are kept, in days.
pub const DEAD_LETTER_DAYS: u16 = 30;
/// The table of dead letters; its view is `dead_letters`.
pub const DEAD_LETTERS: &str = "dead_letters_local";

const TEXT: &str = "LowCardinality(String)";
/// Columns outside the sorting key. No two letters agree in it, so there is always one value to take; newer servers
/// want it said.
const ANY_TEXT: &str = "SimpleAggregateFunction(any, LowCardinality(String))";
const ANY_STRING: &str = "SimpleAggregateFunction(any, String)";
const SKETCH: &str = "uniqCombined64State(14)";

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Its name.
    pub name: String,
    /// Its type as ClickHouse prints it.
    pub kind: String,
    /// What stands behind the type, such as `EPHEMERAL`.
    pub default: String,
}

impl ColumnSpec {
    pub(crate) fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { name: name.into(), kind: kind.into(), default: String::new() }
    }

    /// The column as it stands in CREATE and ALTER.
    pub fn definition(&self) -> String {
        let Self { name, kind, default } = self;
        format!("{} {kind} {default}", quoted(name)).trim_end().to_owned()
    }
}

/// A table that inserts go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSpec {
    /// Its name, without the database.
    pub name: String,
    /// The time column behind partitions and TTL.
    pub time: String,
    /// What one of its partitions holds.
    pub slices: Slices,
    /// Its columns.
    pub columns: Vec<ColumnSpec>,
    /// Skipping indexes as they stand in CREATE.
    pub indexes: Vec<String>,
    /// Whether rows that agree in the whole sorting key become one; else each row stays as it is.
    pub merges: bool,
    /// Columns of the sorting key.
    pub order: Vec<String>,
    /// How many of them are in the index.
    pub primary: usize,
    /// Condition of its marker rows, by which the index finds them.
    pub markers: String,
}

impl TableSpec {
    /// The statement that makes it.
    pub fn create(&self, database: &str, engine: &str) -> String {
        let columns = self.columns.iter().map(ColumnSpec::definition).chain(self.indexes.iter().cloned());
        let columns: Vec<String> = columns.map(|line| format!("    {line}")).collect();
        let engine =
            if self.merges { engine.to_owned() } else { engine.replace("AggregatingMergeTree", "MergeTree") };
        format!(
            "CREATE TABLE {database}.{table} (\n{columns}\n) ENGINE = {engine}\nPARTITION BY {slice}({time})\n\
             PRIMARY KEY ({primary})\nORDER BY ({order})\nTTL toDateTime({time}) + toIntervalDay(keep_days)\n\
             SETTINGS non_replicated_deduplication_window = 100000, replicated_deduplication_window = 100000, \
             replicated_deduplication_window_seconds = 86400",
            database = quoted(database),
            table = quoted(&self.name),
            columns = columns.join(",\n"),
            slice = self.slices.function(),
            time = self.time,
            primary = quoted_all(&self.order[..self.primary]),
            order = quoted_all(&self.order),
        )
    }

    /// The one statement that adds columns to a table that is there, with its present sorting key. A column joins
    /// the sorting key only in the statement that adds it.
    pub fn add(&self, database: &str, missing: &[&ColumnSpec], sorting_key: &str) -> String {
        let mut changes: Vec<String> =
            missing.iter().map(|column| format!("ADD COLUMN {}", column.definition())).collect();
        let keys: Vec<String> = missing
            .iter()
            .filter(|column| self.order.contains(&column.name))
            .map(|column| quoted(&column.name))
            .collect();
        if !keys.is_empty() {
            changes.push(format!("MODIFY ORDER BY ({sorting_key}, {})", keys.join(", ")));
        }
        format!("ALTER TABLE {}.{} {}", quoted(database), quoted(&self.name), changes.join(", "))
    }
}

/// A view that people read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewSpec {
    /// Its name, without the database.
    pub name: String,
    /// What it shows, in words.
    pub meaning: String,
    /// Its SELECT.
    pub select: String,
}

/// All tables of the lanes.
pub fn tables(cubes: &Cubes) -> Vec<TableSpec> {
    let lanes = CubeLane::ALL.iter().map(|&lane| lane_table(&LaneTable::new(cubes, lane)));
    lanes.chain([dead_letters_table()]).collect()
}

/// All views: one per cube, and the dead letters.
pub fn views(cubes: &Cubes, database: &str) -> Vec<ViewSpec> {
    let mut views: Vec<ViewSpec> = cubes.cubes.iter().map(|cube| cube_view(cube, database)).collect();
    let columns: Vec<String> = dead_letters_table()
        .columns
        .iter()
        .filter(|column| !["keep_days", "src", "src_end", "ledger_events"].contains(&column.name.as_str()))
        .map(|column| quoted(&column.name))
        .collect();
    views.push(ViewSpec {
        name: "dead_letters".into(),
        meaning: "Refused records, why, and where they came from.".into(),
        select: format!(
            "SELECT {} FROM {}.{DEAD_LETTERS} WHERE src = ''",
            columns.join(", "),
            quoted(database)
        ),
    });
    views
}

/// The wide table of a lane.
pub fn lane_table(table: &LaneTable) -> TableSpec {
    let mut columns = vec![
        ColumnSpec::new("cube", TEXT),
        ColumnSpec::new("pane", TEXT),
        ColumnSpec::new("bucket", "DateTime('UTC')"),
    ];
    // Without an explicit default: only such columns may join the sorting key later.
    columns.extend(table.dimensions.iter().map(|name| ColumnSpec::new(name, TEXT)));
    columns
        .extend(table.sums.iter().map(|name| ColumnSpec::new(name, "SimpleAggregateFunction(sum, Int64)")));
    for name in &table.uniqs {
        let mut ids = ColumnSpec::new(format!("{name}_ids"), "Array(UInt64)");
        ids.default = "EPHEMERAL".into();
        let mut sketch = ColumnSpec::new(name, "AggregateFunction(uniqCombined64(14), UInt64)");
        sketch.default = format!("DEFAULT arrayReduce('{SKETCH}', {})", quoted(&ids.name));
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
        slices: table.slices(),
        columns,
        indexes: Vec::new(),
        merges: true,
        order: order.map(str::to_owned).collect(),
        primary: 3,
        markers: "cube = '' AND pane = '' AND src != ''".into(),
    }
}

/// Columns of the dead letters as an insert sends them, and their types in the table.
const DEAD_LETTER_COLUMNS: &[(&str, ColumnKind, &str)] = &[
    ("received_at", ColumnKind::Millis, "DateTime64(3, 'UTC')"),
    ("keep_days", ColumnKind::Small, "SimpleAggregateFunction(max, UInt16)"),
    ("src", ColumnKind::Text, TEXT),
    ("src_end", ColumnKind::Offset, "SimpleAggregateFunction(max, UInt64)"),
    ("ledger_events", ColumnKind::Number, "SimpleAggregateFunction(sum, Int64)"),
    ("code", ColumnKind::Text, TEXT),
    ("message", ColumnKind::Text, ANY_STRING),
    ("pointer", ColumnKind::Text, ANY_STRING),
    ("origin_topic", ColumnKind::Text, TEXT),
    ("origin_partition", ColumnKind::Number, "Int64"),
    ("origin_offset", ColumnKind::Number, "Int64"),
    ("origin_index", ColumnKind::Number, "Int64"),
    ("stage", ColumnKind::Text, ANY_TEXT),
    ("version", ColumnKind::Text, ANY_TEXT),
    ("app_id", ColumnKind::Text, ANY_TEXT),
    ("platform", ColumnKind::Text, ANY_TEXT),
    ("library", ColumnKind::Text, ANY_TEXT),
    ("key", ColumnKind::Text, ANY_STRING),
    ("payload", ColumnKind::Text, ANY_STRING),
    ("payload_encoding", ColumnKind::Text, ANY_TEXT),
    ("payload_bytes", ColumnKind::Number, "SimpleAggregateFunction(any, Int64)"),
    ("letter_partition", ColumnKind::Number, "Int64"),
    ("letter_offset", ColumnKind::Number, "Int64"),
];

/// The columns of dead letters as an insert sends them.
pub fn dead_letters_layout() -> Layout {
    Layout::new(DEAD_LETTER_COLUMNS.iter().map(|&(name, kind, _)| (name.to_owned(), kind)).collect())
}

/// Where a dead-letter column stands in its layout.
pub fn dead_letter_place(name: &str) -> usize {
    DEAD_LETTER_COLUMNS.iter().position(|&(column, _, _)| column == name).unwrap_or(DEAD_LETTER_COLUMNS.len())
}

/// The table of dead letters. Its sorting key ends in the letter's own place, so that no two letters become one.
pub fn dead_letters_table() -> TableSpec {
    let order = [
        "received_at",
        "code",
        "origin_topic",
        "origin_partition",
        "origin_offset",
        "origin_index",
        "src",
        "letter_partition",
        "letter_offset",
    ];
    TableSpec {
        name: DEAD_LETTERS.into(),
        time: "received_at".into(),
        slices: Slices::Weeks,
        columns: DEAD_LETTER_COLUMNS.iter().map(|&(name, _, kind)| ColumnSpec::new(name, kind)).collect(),
        indexes: Vec::new(),
        merges: true,
        order: order.map(str::to_owned).to_vec(),
        primary: 2,
        markers: "code = '' AND src != ''".into(),
    }
}

/// All panes of a cube, whichever lanes write them.
fn cube_view(cube: &Cube, database: &str) -> ViewSpec {
    let with_dead_letters = cube.name == "quality";
    let mut columns: Vec<String> = vec!["pane".into(), "bucket".into()];
    columns.extend(cube.dimensions.iter().map(|dimension| quoted(&dimension.name)));
    if with_dead_letters {
        columns.push(format!("{} AS code", text("")));
    }
    columns.extend(cube.measures.iter().map(|measure| quoted(&measure.name)));
    columns.push("received_max".into());
    let columns = columns.join(", ");
    let of_lane = |lane: CubeLane| {
        let (database, table) = (quoted(database), format!("{}_local", lane.as_str()));
        format!("SELECT {columns} FROM {database}.{table} WHERE cube = '{}' AND src = ''", cube.name)
    };
    let mut selects: Vec<String> = cube.lanes().map(of_lane).collect();
    if with_dead_letters {
        selects.extend(cube.panes.iter().map(|&pane| dead_letters_as_quality(cube, pane, database)));
    }
    ViewSpec { name: cube.name.clone(), meaning: cube.meaning.clone(), select: selects.join(" UNION ALL ") }
}

/// Dead letters in the shape of the cube `quality`: kind `dead_letter`, one each, by received time.
fn dead_letters_as_quality(cube: &Cube, pane: Pane, database: &str) -> String {
    let bucket = match pane.seconds() {
        Some(seconds) => format!("toStartOfInterval(received_at, toIntervalSecond({seconds}))"),
        None => "toStartOfDay(received_at)".to_owned(),
    };
    let mut columns =
        vec![format!("{} AS pane", text(pane.as_str())), format!("toDateTime({bucket}, 'UTC') AS bucket")];
    columns.extend(cube.dimensions.iter().map(|dimension| match dimension.name.as_str() {
        name @ ("app_id" | "platform" | "library") => quoted(name),
        "kind" => format!("{} AS kind", text("dead_letter")),
        name => format!("{} AS {}", text(""), quoted(name)),
    }));
    columns.push("code".into());
    columns.extend(cube.measures.iter().map(|measure| {
        let value = match measure.fold {
            Fold::Uniq(_) => format!("arrayReduce('{SKETCH}', CAST([] AS Array(UInt64)))"),
            Fold::Count if measure.filter == Filter::default() => "toInt64(1)".to_owned(),
            Fold::Count | Fold::Sum(_) => "toInt64(0)".to_owned(),
        };
        format!("{value} AS {}", quoted(&measure.name))
    }));
    columns.push("received_at AS received_max".into());
    format!("SELECT {} FROM {}.{DEAD_LETTERS} WHERE src = ''", columns.join(", "), quoted(database))
}

fn text(value: &str) -> String {
    format!("CAST('{value}' AS {TEXT})")
}

/// An identifier in backquotes.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

fn quoted_all(names: &[String]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cube::BUILT_IN;

    #[test]
    fn every_column_an_insert_may_send_is_in_the_table() {
        let table = LaneTable::new(&Cubes::parse(BUILT_IN).unwrap(), CubeLane::Live);
        let spec = lane_table(&table);
        for (name, _) in table.layout().columns() {
            assert!(spec.columns.iter().any(|column| &column.name == name), "{name}");
        }
        for name in &spec.order {
            assert!(
                spec.columns.iter().any(|column| &column.name == name && column.default.is_empty()),
                "{name}"
            );
        }
    }

    #[test]
    fn a_view_shows_the_panes_of_all_lanes() {
        let cubes = Cubes::parse(BUILT_IN).unwrap();
        let views = views(&cubes, "db");
        let select = |name: &str| &views.iter().find(|view| view.name == name).unwrap().select;
        let columns =
            "pane, bucket, `app_id`, `tag`, `platform`, `event_name`, `uses`, `devices`, received_max";
        assert_eq!(
            *select("tags"),
            format!("SELECT {columns} FROM `db`.report_local WHERE cube = 'tags' AND src = ''")
        );
        for (cube, lanes) in
            [("traffic", [true, true]), ("quality", [true, false]), ("retention", [false, true])]
        {
            let reads = ["`db`.live_local", "`db`.report_local"].map(|table| select(cube).contains(table));
            assert_eq!(reads, lanes, "{cube}");
        }
    }

    #[test]
    fn tables_kept_for_years_are_in_months() {
        let tables = tables(&Cubes::parse(BUILT_IN).unwrap());
        let sliced = tables.iter().map(|table| {
            let create = table.create("db", "AggregatingMergeTree");
            (table.name.as_str(), create.contains("PARTITION BY toStartOfMonth(bucket)"))
        });
        let expected = [("live_local", false), ("report_local", true), ("dead_letters_local", false)];
        assert_eq!(sliced.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_new_dimension_joins_the_sorting_key_and_a_new_measure_does_not() {
        let spec = lane_table(&LaneTable::new(&Cubes::parse(BUILT_IN).unwrap(), CubeLane::Live));
        let column = |name: &str| spec.columns.iter().find(|column| column.name == name).unwrap();
        assert_eq!(
            spec.add("db", &[column("library"), column("late_events")], "cube, src"),
            "ALTER TABLE `db`.`live_local` ADD COLUMN `library` LowCardinality(String), ADD COLUMN `late_events` \
             SimpleAggregateFunction(sum, Int64), MODIFY ORDER BY (cube, src, `library`)"
        );
        assert!(!spec.add("db", &[column("late_events")], "cube").contains("ORDER BY"));
    }
}
