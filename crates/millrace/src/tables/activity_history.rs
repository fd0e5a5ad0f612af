//! Who changed the activity registry, when and how: table `activity_history_local`, read through its view
//! `activity_history`, kept for ever.
//!
//! Kafka and ClickHouse share no transaction, so a change is written twice: unconfirmed before it is written to the
//! registry, and confirmed after it. Both rows have the same key and are merged into one. A process that is killed in
//! between leaves an unconfirmed change; a change without any row here has not happened.
use std::time::Duration;

use aggregate::Error;
use aggregate::migrate::{create_missing_table, create_or_replace_view};
use aggregate::server;
use aggregate::table::{ColumnSpec, ViewSpec, quoted};
use clickhouse::{Client, Row};
use runtime::config::Settings;
use serde::{Deserialize, Serialize};

/// The view for readers.
const VIEW: &str = "activity_history";
const TABLE: &str = "activity_history_local";
/// Short, because an operator waits for it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Columns, their types, and whether they are part of the key. Rows of one key differ in `confirmed` only.
const COLUMNS: &[(&str, &str, bool)] = &[
    ("activity_id", "String", true),
    ("at", "DateTime64(3, 'UTC')", true),
    ("change_id", "UUID", true),
    ("who", "SimpleAggregateFunction(any, String)", false),
    ("action", "SimpleAggregateFunction(any, LowCardinality(String))", false),
    ("reason", "SimpleAggregateFunction(any, String)", false),
    ("changed", "SimpleAggregateFunction(any, Array(String))", false),
    ("before", "SimpleAggregateFunction(any, String)", false),
    ("after", "SimpleAggregateFunction(any, String)", false),
    ("confirmed", "SimpleAggregateFunction(max, UInt8)", false),
];

/// One change of one activity.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub(crate) struct ActivityChangeRow {
    /// The activity.
    pub(crate) activity_id: String,
    /// When it was made, epoch milliseconds.
    pub(crate) at: i64,
    /// A UUID of its own, as text.
    pub(crate) change_id: String,
    /// Who made it.
    pub(crate) who: String,
    /// The command that made it: create, end or import.
    pub(crate) action: String,
    /// Why; may be ''.
    pub(crate) reason: String,
    /// The fields that changed, by their names in JSON.
    pub(crate) changed: Vec<String>,
    /// The entry before it, as JSON; '' when there was none.
    pub(crate) before: String,
    /// The entry after it, as JSON.
    pub(crate) after: String,
    /// 1 when Kafka has acknowledged the write to the registry, else 0.
    pub(crate) confirmed: u8,
}

/// The statement that creates the table.
fn create(database: &str, engine: &str) -> String {
    let columns: Vec<String> = columns().iter().map(ColumnSpec::definition).collect();
    let order: Vec<String> =
        COLUMNS.iter().filter(|column| column.2).map(|column| quoted(column.0)).collect();
    format!(
        "CREATE TABLE {}.{TABLE} ({}) ENGINE = {engine} ORDER BY ({})",
        quoted(database),
        columns.join(", "),
        order.join(", ")
    )
}

fn columns() -> Vec<ColumnSpec> {
    COLUMNS.iter().map(|&(name, kind, _)| ColumnSpec::new(name, kind)).collect()
}

/// The view: one row per change, also before the server has merged the two rows of a change.
fn view(database: &str) -> ViewSpec {
    let shown = COLUMNS.iter().map(|&(name, kind, key)| match key {
        true => quoted(name),
        false if kind.contains("(max") => format!("max(history.{0}) AS {0}", quoted(name)),
        false => format!("any(history.{0}) AS {0}", quoted(name)),
    });
    ViewSpec {
        name: VIEW.into(),
        meaning: "Who changed which activity, when and how; unconfirmed changes may not have happened."
            .into(),
        select: format!(
            "SELECT {} FROM {}.{TABLE} AS history GROUP BY activity_id, at, change_id",
            shown.collect::<Vec<_>>().join(", "),
            quoted(database)
        ),
    }
}

/// Creates table and view when they are missing and returns one line per change. The columns of an existing table stay
/// as they are.
///
/// # Errors
/// ClickHouse returned an error or did not reply.
pub(crate) async fn migrate(client: &Client, settings: &Settings) -> Result<Vec<String>, Error> {
    let database = &settings.clickhouse.database;
    let create = create(database, &settings.clickhouse.engine);
    let mut done = Vec::new();
    if create_missing_table(client, settings, TABLE, &create).await? {
        done.push(format!("created table {database}.{TABLE} with {} columns", COLUMNS.len()));
    }
    done.extend(create_or_replace_view(client, settings, &view(database)).await?);
    Ok(done)
}

/// Writes changes in one insert. Writing the same ones again has no effect.
///
/// # Errors
/// ClickHouse returned an error, or did not reply within ten seconds.
pub(crate) async fn write(
    client: &Client,
    settings: &Settings,
    changes: &[ActivityChangeRow],
) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = COLUMNS.iter().map(|column| quoted(column.0)).collect();
    let target = format!(
        "INSERT INTO {}.{TABLE} ({}) FORMAT JSONEachRow",
        quoted(&settings.clickhouse.database),
        names.join(", ")
    );
    let mut lines = Vec::new();
    for change in changes {
        let unwritable = |error: serde_json::Error| Error::ClickHouse(error.to_string());
        // The server reads a decimal number as seconds.
        let mut row = serde_json::to_value(change).map_err(unwritable)?;
        row["at"] = format!("{}.{:03}", change.at.div_euclid(1000), change.at.rem_euclid(1000)).into();
        serde_json::to_writer(&mut lines, &row).map_err(unwritable)?;
        lines.push(b'\n');
    }
    let sent = async {
        let mut insert = client.insert_formatted_with(target).with_setting("async_insert", "0").buffered();
        insert.write_buffered(&lines);
        insert.end().await
    };
    with_timeout(settings, sent).await
}

/// The changes of one activity, or of all, the latest `limit` of them, oldest first.
///
/// # Errors
/// As [`write`].
pub(crate) async fn read(
    client: &Client,
    settings: &Settings,
    activity_id: Option<&str>,
    limit: u64,
) -> Result<Vec<ActivityChangeRow>, Error> {
    let which = if activity_id.is_some() { "WHERE history.activity_id = ?" } else { "" };
    let select = format!(
        "SELECT activity_id, toUnixTimestamp64Milli(history.at) AS at, toString(history.change_id) AS change_id, who, \
         toString(history.action) AS action, reason, changed, before, after, confirmed FROM {}.{VIEW} AS history \
         {which} ORDER BY history.at DESC, history.change_id DESC LIMIT ?",
        quoted(&settings.clickhouse.database),
    );
    let mut query = client.query(&select);
    if let Some(id) = activity_id {
        query = query.bind(id);
    }
    let mut changes: Vec<ActivityChangeRow> =
        with_timeout(settings, query.bind(limit).fetch_all::<ActivityChangeRow>()).await?;
    changes.reverse();
    Ok(changes)
}

async fn with_timeout<T>(
    settings: &Settings,
    request: impl Future<Output = Result<T, clickhouse::error::Error>>,
) -> Result<T, Error> {
    let reply = tokio::time::timeout(REQUEST_TIMEOUT, request).await;
    let reply = reply.unwrap_or(Err(clickhouse::error::Error::TimedOut));
    reply.map_err(|error| server::failed(settings, VIEW, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_rows_of_a_change_share_their_key_and_merge_into_a_confirmed_one() {
        let create = create("db", "ReplicatedAggregatingMergeTree");
        for part in [
            "`db`.activity_history_local",
            "`confirmed` SimpleAggregateFunction(max, UInt8)",
            "ENGINE = ReplicatedAggregatingMergeTree ORDER BY (`activity_id`, `at`, `change_id`)",
        ] {
            assert!(create.contains(part), "{create}");
        }
        let select = view("db").select;
        assert!(select.contains("max(history.`confirmed`) AS `confirmed`"), "{select}");
        assert!(select.ends_with("GROUP BY activity_id, at, change_id"), "{select}");
    }

    #[test]
    fn every_field_of_a_change_is_a_column() {
        let change = ActivityChangeRow {
            activity_id: "a".into(),
            at: 0,
            change_id: String::new(),
            who: String::new(),
            action: String::new(),
            reason: String::new(),
            changed: Vec::new(),
            before: String::new(),
            after: String::new(),
            confirmed: 0,
        };
        let row = serde_json::to_value(change).unwrap();
        let mut columns: Vec<&str> = COLUMNS.iter().map(|column| column.0).collect();
        columns.sort_unstable();
        assert_eq!(row.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>(), columns);
    }
}
