//! The table and view of dead letters.
use super::spec::{ColumnSpec, TableSpec, ViewSpec, quoted};
use super::types::TEXT;
use crate::block::{ColumnKind, Layout, TablePartitioning};

/// How long dead letters are kept, in days.
pub const DEAD_LETTER_DAYS: u16 = 30;
/// The table of dead letters; its view is `dead_letters`.
pub(super) const DEAD_LETTERS: &str = "dead_letters_local";

/// Columns outside the sorting key. No two dead letters have the same sorting key, so `any` has one value to choose
/// from; newer servers require an aggregate function here.
const ANY_TEXT: &str = "SimpleAggregateFunction(any, LowCardinality(String))";
const ANY_STRING: &str = "SimpleAggregateFunction(any, String)";
const PARTITIONING: TablePartitioning = TablePartitioning::ByWeek;
/// Columns for markers and ledger, which the view leaves out.
const HIDDEN: &[&str] = &["keep_days", "src", "src_end", "ledger_events"];

/// Columns of the dead letters as an insert sends them, and their types in the table.
const COLUMNS: &[(&str, ColumnKind, &str)] = &[
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

/// Number of columns that an insert sends.
pub const DEAD_LETTER_COLUMNS: usize = COLUMNS.len();

/// The columns of dead letters as an insert sends them.
pub fn dead_letters_layout() -> Layout {
    let columns = COLUMNS.iter().map(|&(name, kind, _)| (name.to_owned(), kind));
    Layout::new(columns.collect(), PARTITIONING)
}

/// The index of a column in the layout of dead letters.
pub fn dead_letters_column(name: &str) -> usize {
    COLUMNS.iter().position(|&(column, _, _)| column == name).unwrap_or(COLUMNS.len())
}

/// The table of dead letters. Its sorting key ends in the position of the dead letter in its topic, so that no two are
/// merged.
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
        partitioning: PARTITIONING,
        columns: COLUMNS.iter().map(|&(name, _, kind)| ColumnSpec::new(name, kind)).collect(),
        indexes: Vec::new(),
        merges: true,
        order: order.map(str::to_owned).to_vec(),
        primary: 2,
        markers: "code = '' AND src != ''".into(),
    }
}

/// The view of dead letters, without the markers and the columns that serve only them.
pub fn dead_letters_view(database: &str) -> ViewSpec {
    let columns = COLUMNS.iter().map(|&(name, ..)| name).filter(|name| !HIDDEN.contains(name)).map(quoted);
    ViewSpec {
        name: "dead_letters".into(),
        meaning: "Rejected records, why, and where they came from.".into(),
        select: format!(
            "SELECT {} FROM {}.{DEAD_LETTERS} WHERE src = ''",
            columns.collect::<Vec<_>>().join(", "),
            quoted(database)
        ),
    }
}
