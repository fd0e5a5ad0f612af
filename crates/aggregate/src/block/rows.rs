//! The rows of one INSERT, column by column.
use std::collections::BTreeSet;

use xxhash_rust::xxh3::Xxh3;

use super::column::{Column, Value};
use super::layout::Layout;

/// The rows of one INSERT: the data rows first, then the marker rows.
#[derive(Debug, Clone)]
pub struct Block {
    layout: Layout,
    rows: usize,
    data_rows: usize,
    columns: Vec<Column>,
    /// Index of the column by which the table is partitioned.
    time_column: usize,
    table_partitions: BTreeSet<u32>,
}

impl Block {
    pub(super) fn new(layout: Layout, time_column: usize) -> Self {
        let columns = layout.columns().iter().map(|&(_, kind)| Column::new(kind)).collect();
        Self { layout, rows: 0, data_rows: 0, columns, time_column, table_partitions: BTreeSet::new() }
    }

    /// The table partitions it writes to, each as its first second. The server keeps the rows of one of them completely
    /// or not at all.
    pub fn table_partitions(&self) -> &BTreeSet<u32> {
        &self.table_partitions
    }

    /// The block with only the rows and markers of these table partitions.
    pub fn restricted_to(&self, table_partitions: &BTreeSet<u32>) -> Self {
        let partitioning = self.layout.partitioning();
        let is_in = |seconds: u32| table_partitions.contains(&partitioning.of(seconds));
        let keep: Vec<bool> = match self.columns.get(self.time_column) {
            Some(Column::Seconds(times)) => times.iter().map(|&time| is_in(time)).collect(),
            Some(Column::Millis(times)) => {
                let second = |time: i64| u32::try_from(time / 1000).unwrap_or(u32::MAX);
                times.iter().map(|&time| is_in(second(time))).collect()
            }
            _ => vec![true; self.rows],
        };
        let count = |keep: &[bool]| keep.iter().filter(|&&keep| keep).count();
        Self {
            layout: self.layout.clone(),
            rows: count(&keep),
            data_rows: count(keep.get(..self.data_rows).unwrap_or(&keep)),
            columns: self.columns.iter().map(|column| column.filtered(&keep)).collect(),
            time_column: self.time_column,
            table_partitions: self.table_partitions.intersection(table_partitions).copied().collect(),
        }
    }

    /// Number of rows, markers included.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of rows that are not markers.
    pub fn data_rows(&self) -> usize {
        self.data_rows
    }

    /// The columns that are sent, with their names, in the order of the layout.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Column)> {
        self.columns
            .iter()
            .enumerate()
            .filter(|(_, column)| !column.is_empty())
            .map(|(index, column)| (self.layout.name(index), column))
    }

    /// A hash of everything that is sent.
    pub fn digest(&self) -> u128 {
        let mut hasher = Xxh3::new();
        for (name, column) in self.columns() {
            hasher.update(name.as_bytes());
            column.digest(&mut hasher);
        }
        hasher.digest128()
    }

    /// The column at an index of the layout.
    pub(super) fn column(&self, index: usize) -> Option<&Column> {
        self.columns.get(index)
    }

    /// Sets a value of the row that has not ended yet.
    #[inline]
    pub(super) fn set(&mut self, column: usize, value: Value<'_>) {
        let Some(column) = self.columns.get_mut(column) else { return };
        column.pad(self.rows);
        column.push(value);
    }

    #[inline]
    pub(super) fn end_row(&mut self) {
        self.rows += 1;
    }

    /// The rows so far are the data rows; they are in these table partitions. Marker rows follow.
    pub(super) fn end_data(&mut self, table_partitions: BTreeSet<u32>) {
        self.data_rows = self.rows;
        self.table_partitions = table_partitions;
    }

    /// Bytes of memory behind it.
    pub fn heap_bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(Column::heap_bytes).sum();
        columns + self.columns.capacity() * size_of::<Column>()
    }

    /// Gives every column that was set a value for every row, and returns memory that no value needs.
    pub(super) fn finish(&mut self) {
        for column in &mut self.columns {
            if !column.is_empty() {
                column.pad(self.rows);
                column.shrink();
            }
        }
    }
}
