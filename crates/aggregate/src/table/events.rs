//! The table `events_local` and its view `events`, derived from the field catalogue: the next `millrace migrate` adds a
//! column for a new field.
use event::{FIELDS, Field, FieldKind};

use super::spec::{ColumnSpec, TableSpec, ViewSpec, quoted};
use super::types::TEXT;
use crate::block::{ColumnKind, Layout, TablePartitioning};

/// The table of events; its view is `events`.
const EVENTS: &str = "events_local";
/// Name of the lane and of the view.
pub const EVENTS_LANE: &str = "events";

const PARTITIONING: TablePartitioning = TablePartitioning::ByWeek;

/// Columns that every row has beside the fields of its event; the view leaves out the first four.
const OWN: &[(&str, ColumnKind, &str)] = &[
    ("keep_days", ColumnKind::Small, "UInt16"),
    ("src", ColumnKind::Text, TEXT),
    ("src_end", ColumnKind::Offset, "UInt64"),
    ("ledger_events", ColumnKind::Number, "Int64"),
    ("enriched_partition", ColumnKind::Number, "Int32"),
    ("enriched_offset", ColumnKind::Number, "Int64"),
    ("enriched_row", ColumnKind::Number, "UInt16"),
];
const HIDDEN: usize = 4;
/// Number of these columns.
pub(crate) const EVENT_OWN_COLUMNS: usize = OWN.len();

/// Fields by which single events are looked up. The sorting key serves all other queries.
const LOOKED_UP: &[Field] = &[
    Field::EventId,
    Field::DeviceKey,
    Field::UserKey,
    Field::UserId,
    Field::AnonymousId,
    Field::SessionId,
    Field::ContentId,
    Field::AuthorId,
    Field::PlaybackId,
    Field::OrderId,
    Field::ActivityId,
];

/// A map is sent as two lists; the column of its values follows that of its names by so many columns.
pub(crate) const MAP_VALUES_OFFSET: usize = 1;

/// Indexes of the columns in the layout.
#[derive(Debug, Clone)]
pub(crate) struct EventColumns {
    pub(crate) layout: Layout,
    pub(crate) keep_days: usize,
    pub(crate) src: usize,
    pub(crate) src_end: usize,
    pub(crate) ledger_events: usize,
    pub(crate) enriched_partition: usize,
    pub(crate) enriched_offset: usize,
    pub(crate) enriched_row: usize,
    /// By the field's index in the catalogue.
    fields: Vec<usize>,
}

impl Default for EventColumns {
    fn default() -> Self {
        let mut columns: Vec<(String, ColumnKind)> =
            OWN.iter().map(|&(name, kind, _)| (name.to_owned(), kind)).collect();
        let mut fields = Vec::with_capacity(FIELDS.len());
        for &field in FIELDS {
            fields.push(columns.len());
            columns.extend(sent_as(field));
        }
        let own = |name| OWN.iter().position(|&(own, ..)| own == name).unwrap_or(usize::MAX);
        Self {
            keep_days: own("keep_days"),
            src: own("src"),
            src_end: own("src_end"),
            ledger_events: own("ledger_events"),
            enriched_partition: own("enriched_partition"),
            enriched_offset: own("enriched_offset"),
            enriched_row: own("enriched_row"),
            layout: Layout::new(columns, PARTITIONING),
            fields,
        }
    }
}

impl EventColumns {
    /// The first column of a field.
    pub(crate) fn field(&self, field: Field) -> usize {
        self.fields.get(field.index()).copied().unwrap_or(usize::MAX)
    }
}

/// Whether the field is a moment in epoch milliseconds.
pub fn is_time(field: Field) -> bool {
    matches!(field, Field::EventTime | Field::ReceivedAt | Field::PublishedAt)
}

/// Whether the field is a flag: 1 or 0.
fn is_flag(field: Field) -> bool {
    matches!(
        field,
        Field::IsNewDevice
            | Field::SessionStart
            | Field::ActivityFirstTouch
            | Field::PlayStart
            | Field::EffectivePlay
            | Field::CompletedPlay
            | Field::Replay
            | Field::RepeatedOrder
    )
}

/// Whether nearly every event, device or item has its own value: then LowCardinality costs more than it saves.
fn has_many_values(field: Field) -> bool {
    matches!(
        field,
        Field::AnonymousId
            | Field::UserId
            | Field::SessionId
            | Field::DeviceId
            | Field::UserAgent
            | Field::PageUrl
            | Field::PagePath
            | Field::PageTitle
            | Field::PageReferrer
            | Field::CampaignTerm
            | Field::CampaignContent
            | Field::CampaignId
            | Field::ClickId
            | Field::ContentId
            | Field::AuthorId
            | Field::PlaybackId
            | Field::UploadId
            | Field::OrderId
            | Field::ReceiverId
            | Field::CreatorId
            | Field::Properties
    )
}

/// The columns by which an insert sends a field.
fn sent_as(field: Field) -> Vec<(String, ColumnKind)> {
    let one = |kind| vec![(field.name().to_owned(), kind)];
    match field.kind() {
        FieldKind::Text => one(ColumnKind::Text),
        FieldKind::Number if is_time(field) => one(ColumnKind::Millis),
        FieldKind::Number => one(ColumnKind::Number),
        FieldKind::Key => one(ColumnKind::Offset),
        FieldKind::Uuid => one(ColumnKind::Uuid),
        FieldKind::List => one(ColumnKind::Texts),
        FieldKind::Map => {
            ["names", "values"].map(|half| (format!("{}_{half}", field.name()), ColumnKind::Texts)).to_vec()
        }
    }
}

/// The columns that the table has for a field.
fn columns_of(field: Field) -> Vec<ColumnSpec> {
    let name = field.name();
    let one = |kind: &str| vec![ColumnSpec::new(name, kind)];
    match field.kind() {
        FieldKind::Text if has_many_values(field) => one("String"),
        FieldKind::Text => one(TEXT),
        FieldKind::Number if is_time(field) => one("DateTime64(3, 'UTC')"),
        FieldKind::Number if is_flag(field) => one("UInt8"),
        FieldKind::Number => one("Int64"),
        FieldKind::Key => one("UInt64"),
        FieldKind::Uuid => one("UUID"),
        FieldKind::List => one("Array(LowCardinality(String))"),
        FieldKind::Map => {
            let halves = sent_as(field);
            let names: Vec<String> = halves.iter().map(|(name, _)| quoted(name)).collect();
            let mut columns: Vec<ColumnSpec> = halves
                .iter()
                .map(|(half, _)| ColumnSpec {
                    default: "EPHEMERAL".into(),
                    ..ColumnSpec::new(half, "Array(String)")
                })
                .collect();
            columns.push(ColumnSpec {
                default: format!("DEFAULT mapFromArrays({})", names.join(", ")),
                ..ColumnSpec::new(name, "Map(String, String)")
            });
            columns
        }
    }
}

/// The table. Its sorting key serves drill-down: one application, one event name, a range of time.
pub fn events_table() -> TableSpec {
    let mut columns: Vec<ColumnSpec> =
        OWN.iter().map(|&(name, _, kind)| ColumnSpec::new(name, kind)).collect();
    columns.extend(FIELDS.iter().flat_map(|&field| columns_of(field)));
    let mut indexes: Vec<String> = LOOKED_UP
        .iter()
        .map(|field| {
            let name = field.name();
            format!("INDEX by_{name} {} TYPE bloom_filter(0.001) GRANULARITY 1", quoted(name))
        })
        .collect();
    indexes.extend([Field::EventTime, Field::ReceivedAt].map(|field| {
        let name = field.name();
        format!("INDEX by_{name} {} TYPE minmax GRANULARITY 1", quoted(name))
    }));
    let order = [Field::AppId, Field::EventName, Field::EventTime, Field::DeviceKey];
    TableSpec {
        name: EVENTS.into(),
        time: Field::EventTime.name().into(),
        partitioning: PARTITIONING,
        columns,
        indexes,
        merges: false,
        order: order.map(|field| field.name().to_owned()).to_vec(),
        primary: order.len(),
        markers: "app_id = '' AND event_name = '' AND src != ''".into(),
    }
}

/// The view: every event without the markers and the columns that serve only them.
pub fn events_view(database: &str) -> ViewSpec {
    let own = OWN.iter().skip(HIDDEN).map(|&(name, ..)| quoted(name));
    let columns: Vec<String> = FIELDS.iter().map(|field| quoted(field.name())).chain(own).collect();
    ViewSpec {
        name: EVENTS_LANE.into(),
        meaning: "Every enriched event, whatever its kind, and its place in enriched-events.".into(),
        select: format!("SELECT {} FROM {}.{EVENTS} WHERE src = ''", columns.join(", "), quoted(database)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_a_column_and_every_column_an_insert_may_send_is_in_the_table() {
        let table = events_table();
        let has = |name: &str| table.columns.iter().any(|column| column.name == name);
        for field in FIELDS {
            assert!(has(field.name()), "{}", field.name());
        }
        for (name, _) in EventColumns::default().layout.columns() {
            assert!(has(name), "{name}");
        }
        for name in &table.order {
            let column = table.columns.iter().find(|column| &column.name == name).unwrap();
            assert!(column.default.is_empty(), "{name}");
        }
    }

    #[test]
    fn the_engine_does_not_merge_rows() {
        let table = events_table();
        for (engine, expected) in [
            ("AggregatingMergeTree", "ENGINE = MergeTree\n"),
            (
                "ReplicatedAggregatingMergeTree('/t/{shard}', '{replica}')",
                "ENGINE = ReplicatedMergeTree('/t/{shard}', '{replica}')\n",
            ),
        ] {
            assert!(table.create("db", engine).contains(expected), "{engine}");
        }
    }

    #[test]
    fn the_view_leaves_out_the_columns_of_markers() {
        let select = events_view("db").select;
        assert!(select.contains("`event_id`") && select.contains("`enriched_offset`"));
        assert!(!select.contains("ledger_events") && !select.contains("keep_days"), "{select}");
    }
}
