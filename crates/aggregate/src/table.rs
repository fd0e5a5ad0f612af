//! The tables and views in ClickHouse, as values and SQL text, and the columns an insert into them may send. Pure;
//! [`migrate`](crate::migrate()) compares it with the server.
//!
//! A table `x_local` also holds marker rows (`src` is not ''); readers use its views, which leave them out. Markers say
//! up to which offset each Kafka partition is written, and their `ledger_…` columns how many events that were:
//! `SELECT src, sum(ledger_events) … WHERE src LIKE '1/%' GROUP BY src` is exact, because each count is in the same data
//! part as the rows it counts. Marker rows are kept for ten years, longer than any row; after that the ledger of an
//! epoch shrinks, and a new epoch starts a new ledger.
//!
//! | file | what it holds |
//! |---|---|
//! | `spec` | a table, column or view, and the statements that create it |
//! | `lane` | the wide tables `live_local` and `report_local` |
//! | `views` | one view per cube |
//! | `dead_letters` | `dead_letters_local` and its view |
//! | `events` | `events_local` and its view |
mod dead_letters;
mod events;
mod lane;
mod spec;
mod types;
mod views;

use crate::cube::{CubeLane, Cubes};

pub use self::dead_letters::{
    DEAD_LETTER_COLUMNS, DEAD_LETTER_DAYS, dead_letters_column, dead_letters_layout, dead_letters_table,
    dead_letters_view,
};
pub(crate) use self::events::{EVENT_OWN_COLUMNS, EventColumns, MAP_VALUES_OFFSET};
pub use self::events::{EVENTS_LANE, events_table, events_view, is_time};
pub use self::lane::{LaneTable, lane_column, lane_table};
pub use self::spec::{ColumnSpec, TableSpec, ViewSpec, quoted};
pub use self::views::cube_view;

/// The tables of all lanes but `events`, which is optional.
pub fn tables(cubes: &Cubes) -> Vec<TableSpec> {
    let lanes = CubeLane::ALL.iter().map(|&lane| lane_table(&LaneTable::new(cubes, lane)));
    lanes.chain([dead_letters_table()]).collect()
}

/// Their views: one per cube, and the dead letters.
pub fn views(cubes: &Cubes, database: &str) -> Vec<ViewSpec> {
    let cubes = cubes.cubes.iter().map(|cube| cube_view(cube, database));
    cubes.chain([dead_letters_view(database)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cube::{BUILT_IN, CubeLane};

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
    fn a_table_kept_for_years_is_partitioned_by_month() {
        let tables = tables(&Cubes::parse(BUILT_IN).unwrap());
        let partitioned = tables.iter().map(|table| {
            let create = table.create("db", "AggregatingMergeTree");
            (table.name.as_str(), create.contains("PARTITION BY toStartOfMonth(bucket)"))
        });
        let expected = [("live_local", false), ("report_local", true), ("dead_letters_local", false)];
        assert_eq!(partitioned.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_new_dimension_joins_the_sorting_key_and_a_new_measure_does_not() {
        let spec = lane_table(&LaneTable::new(&Cubes::parse(BUILT_IN).unwrap(), CubeLane::Live));
        let column = |name: &str| spec.columns.iter().find(|column| column.name == name).unwrap();
        assert_eq!(
            spec.add_columns("db", &[column("library"), column("late_events")], "cube, src"),
            "ALTER TABLE `db`.`live_local` ADD COLUMN `library` LowCardinality(String), ADD COLUMN `late_events` \
             SimpleAggregateFunction(sum, Int64), MODIFY ORDER BY (cube, src, `library`)"
        );
        assert!(!spec.add_columns("db", &[column("late_events")], "cube").contains("ORDER BY"));
    }
}
