//! Who changed the activity registry, when and how: table `activity_history_local`, read through its view
//! `activity_history`, kept for ever.
//!
//! Kafka and ClickHouse share no transaction, so a change is written twice: unconfirmed before the registry is
//! written, and confirmed after it. Both rows have the same key and become one. Whoever dies in between leaves an
//! unconfirmed change, which says so; a change that was never announced cannot happen.
use std::time::Duration;

use clickhouse::{Client, Row};
use runtime::config::Settings;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::ddl::{ColumnSpec, ViewSpec, quoted};
use crate::{migrate, server};

/// The view that people read.
pub const VIEW: &str = "activity_history";
const TABLE: &str = "activity_history_local";
/// Somebody waits in front of a terminal.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Columns, their types, and whether they are part of the key. Rows of one key agree in all but `confirmed`.
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
pub struct Change {
    /// The activity.
    pub activity_id: String,
    /// When it was made, epoch milliseconds.
    pub at: i64,
    /// A UUID of its own, as text.
    pub change_id: String,
    /// Who made it.
    pub who: String,
    /// The command that made it: create, end or import.
    pub action: String,
    /// Why, if somebody said so.
    pub reason: String,
    /// The fields that changed, by their names in JSON.
    pub changed: Vec<String>,
    /// The entry before it, as JSON; '' when there was none.
    pub before: String,
    /// The entry after it, as JSON.
    pub after: String,
    /// 1 when the registry is known to have taken it, else 0.
    pub confirmed: u8,
}

/// The statement that makes the table.
pub(crate) fn create(database: &str, engine: &str) -> String {
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

/// The view: one row per change, also while the server has not yet put the two rows of a change together.
pub(crate) fn view(database: &str) -> ViewSpec {
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

/// Makes what is missing and adds a line for each thing done. The columns of a table that is there are left alone.
pub(crate) async fn bring(client: &Client, settings: &Settings, done: &mut Vec<String>) -> Result<(), Error> {
    let database = &settings.clickhouse.database;
    let create = create(database, &settings.clickhouse.engine);
    if migrate::create_missing(client, settings, TABLE, &create).await? {
        done.push(format!("created table {database}.{TABLE} with {} columns", COLUMNS.len()));
    }
    Ok(())
}

/// Writes changes in one insert. To write the same ones again does no harm.
///
/// # Errors
/// The server refused, or did not answer within ten seconds.
pub async fn write(client: &Client, settings: &Settings, changes: &[Change]) -> Result<(), Error> {
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
        // A decimal number is what the server reads as seconds with milliseconds behind the point.
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
    answered(settings, sent).await
}

/// The changes of one activity, or of all, the latest `limit` of them, oldest first.
///
/// # Errors
/// As [`write`].
pub async fn read(
    client: &Client,
    settings: &Settings,
    activity_id: Option<&str>,
    limit: u64,
) -> Result<Vec<Change>, Error> {
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
    let mut changes: Vec<Change> = answered(settings, query.bind(limit).fetch_all::<Change>()).await?;
    changes.reverse();
    Ok(changes)
}

async fn answered<T>(
    settings: &Settings,
    answer: impl Future<Output = Result<T, clickhouse::error::Error>>,
) -> Result<T, Error> {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
    let answer = answer.unwrap_or(Err(clickhouse::error::Error::TimedOut));
    answer.map_err(|answer| server::stop(settings, VIEW, &answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_rows_of_a_change_share_their_key_and_become_confirmed() {
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
    fn every_part_of_a_change_is_a_column() {
        let change = Change {
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
