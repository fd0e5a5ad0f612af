//! The layout of a block: names and kinds of the columns it may have, and how their table is partitioned.
use std::sync::Arc;

use super::column::ColumnKind;
use super::table_partition::TablePartitioning;

/// Columns that a block may have. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Layout {
    columns: Arc<[(String, ColumnKind)]>,
    partitioning: TablePartitioning,
}

impl Layout {
    /// A layout of these columns for a table that is partitioned in this way.
    pub fn new(columns: Vec<(String, ColumnKind)>, partitioning: TablePartitioning) -> Self {
        Self { columns: columns.into(), partitioning }
    }

    /// Name of the column at an index.
    pub fn name(&self, index: usize) -> &str {
        self.columns.get(index).map_or("", |(name, _)| name)
    }

    /// All columns.
    pub fn columns(&self) -> &[(String, ColumnKind)] {
        &self.columns
    }

    /// How the table is partitioned.
    pub fn partitioning(&self) -> TablePartitioning {
        self.partitioning
    }
}
