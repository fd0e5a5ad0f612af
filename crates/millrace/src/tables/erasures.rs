//! Who erased how many rows, when and why: table `erasures`, kept for ever. It names no erased person.
use aggregate::migrate::create_missing_table;
use aggregate::table::quoted;
use aggregate::{Error, server};
use clickhouse::{Client, Row};
use runtime::config::Settings;
use serde::{Deserialize, Serialize};

/// The table.
const TABLE: &str = "erasures";

/// The rows of one table that one run of `millrace forget` erased.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub(crate) struct ErasureRow {
    pub(crate) who: String,
    pub(crate) app_id: String,
    pub(crate) erased_from: String,
    pub(crate) erased_rows: u64,
    pub(crate) reason: String,
}

impl ErasureRow {
    pub(crate) fn new(who: &str, app_id: &str, erased_from: &str, erased_rows: u64, reason: &str) -> Self {
        Self {
            who: who.to_owned(),
            app_id: app_id.to_owned(),
            erased_from: erased_from.to_owned(),
            erased_rows,
            reason: reason.to_owned(),
        }
    }
}

fn create(database: &str, engine: &str) -> String {
    let engine = if server::is_replicated(engine) { "ReplicatedMergeTree" } else { "MergeTree" };
    format!(
        "CREATE TABLE {}.{TABLE} (
    at DateTime64(3, 'UTC') DEFAULT now64(3),
    who String,
    app_id LowCardinality(String),
    erased_from LowCardinality(String),
    erased_rows UInt64,
    reason String
) ENGINE = {engine} ORDER BY at
COMMENT 'Who erased how many rows, when and why.'",
        quoted(database)
    )
}

/// Creates the table when it is missing and returns one line per change.
///
/// # Errors
/// ClickHouse returned an error or did not reply.
pub(crate) async fn migrate(client: &Client, settings: &Settings) -> Result<Vec<String>, Error> {
    let database = &settings.clickhouse.database;
    let create = create(database, &settings.clickhouse.engine);
    let created = create_missing_table(client, settings, TABLE, &create).await?;
    Ok(if created { vec![format!("created table {database}.{TABLE}")] } else { Vec::new() })
}

/// Adds rows.
///
/// # Errors
/// ClickHouse returned an error or did not reply.
pub(crate) async fn write(client: &Client, settings: &Settings, rows: &[ErasureRow]) -> Result<(), Error> {
    let failed = |error| server::failed(settings, TABLE, &error);
    let client = client.clone().with_setting("async_insert", "0");
    let mut insert = client.insert::<ErasureRow>(TABLE).await.map_err(failed)?;
    for row in rows {
        insert.write(row).await.map_err(failed)?;
    }
    insert.end().await.map_err(failed)
}
