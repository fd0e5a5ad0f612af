//! A table or view of ClickHouse as values, and as the statements that create and extend it.
use crate::block::TablePartitioning;

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Its name.
    pub name: String,
    /// Its type as ClickHouse prints it.
    pub kind: String,
    /// What follows the type, such as `EPHEMERAL`.
    pub default: String,
}

impl ColumnSpec {
    /// A column without a default.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { name: name.into(), kind: kind.into(), default: String::new() }
    }

    /// The column as it is written in CREATE and ALTER.
    pub fn definition(&self) -> String {
        let Self { name, kind, default } = self;
        format!("{} {kind} {default}", quoted(name)).trim_end().to_owned()
    }
}

/// A table that a lane inserts into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSpec {
    /// Its name, without the database.
    pub name: String,
    /// The time column of PARTITION BY and TTL.
    pub time: String,
    /// How it is partitioned.
    pub partitioning: TablePartitioning,
    /// Its columns.
    pub columns: Vec<ColumnSpec>,
    /// Skipping indexes as they are written in CREATE.
    pub indexes: Vec<String>,
    /// Whether rows with the same sorting key are merged into one (AggregatingMergeTree).
    pub merges: bool,
    /// Columns of the sorting key.
    pub order: Vec<String>,
    /// How many of them are in the primary key.
    pub primary: usize,
    /// Condition of its marker rows; the primary key finds them by it.
    pub markers: String,
}

impl TableSpec {
    /// The statement that creates it.
    pub fn create(&self, database: &str, engine: &str) -> String {
        let columns = self.columns.iter().map(ColumnSpec::definition).chain(self.indexes.iter().cloned());
        let columns: Vec<String> = columns.map(|line| format!("    {line}")).collect();
        let engine =
            if self.merges { engine.to_owned() } else { engine.replace("AggregatingMergeTree", "MergeTree") };
        format!(
            "CREATE TABLE {database}.{table} (\n{columns}\n) ENGINE = {engine}\nPARTITION BY {partition}({time})\n\
             PRIMARY KEY ({primary})\nORDER BY ({order})\nTTL toDateTime({time}) + toIntervalDay(keep_days)\n\
             SETTINGS non_replicated_deduplication_window = 100000, replicated_deduplication_window = 100000, \
             replicated_deduplication_window_seconds = 86400",
            database = quoted(database),
            table = quoted(&self.name),
            columns = columns.join(",\n"),
            partition = self.partitioning.function(),
            time = self.time,
            primary = quoted_all(&self.order[..self.primary]),
            order = quoted_all(&self.order),
        )
    }

    /// The statement that adds columns to an existing table, given its present sorting key. ClickHouse extends the
    /// sorting key by a column only in the statement that adds the column.
    pub fn add_columns(&self, database: &str, missing: &[&ColumnSpec], sorting_key: &str) -> String {
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

/// A view for readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewSpec {
    /// Its name, without the database.
    pub name: String,
    /// What it shows, for people.
    pub meaning: String,
    /// Its SELECT.
    pub select: String,
}

/// An identifier in backquotes.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

fn quoted_all(names: &[String]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}
