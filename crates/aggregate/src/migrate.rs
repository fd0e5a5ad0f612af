//! Brings database, tables and views of aggregate to what the cubes define. It only adds; existing data stays.
use clickhouse::Client;
use runtime::config::Settings;
use xxhash_rust::xxh3::xxh3_64;

use crate::cube::Cubes;
use crate::error::Error;
use crate::server;
use crate::table::{self, TableSpec, ViewSpec, quoted};

/// Whose rights a view reads with.
const VIEW_SECURITY: &str = "DEFINER = CURRENT_USER SQL SECURITY DEFINER";

/// Creates what is missing and returns one line per change; nothing when all is there. Waits for a server that does not
/// answer yet.
///
/// # Errors
/// ClickHouse returned an error, or a column exists with another type than the cubes need.
pub async fn migrate(client: &Client, settings: &Settings, cubes: &Cubes) -> Result<Vec<String>, Error> {
    server::wait_until_up(client, settings, || false).await?;
    let database = &settings.clickhouse.database;
    let mut done = create_database(client, settings).await?;
    for spec in table::tables(cubes) {
        done.extend(migrate_table(client, settings, &spec).await?);
    }
    for spec in table::views(cubes, database) {
        done.extend(create_or_replace_view(client, settings, &spec).await?);
    }
    if settings.aggregate.lanes.contains(&event::Lane::Events) {
        done.extend(migrate_table(client, settings, &table::events_table()).await?);
        done.extend(create_or_replace_view(client, settings, &table::events_view(database)).await?);
    }
    Ok(done)
}

/// Creates a table whose columns never change, if it is missing, and returns whether it did.
///
/// # Errors
/// ClickHouse returned an error or did not answer.
pub async fn create_missing_table(
    client: &Client,
    settings: &Settings,
    table: &str,
    create: &str,
) -> Result<bool, Error> {
    let is_missing = server::table(client, settings, table).await?.is_none();
    if is_missing {
        execute(client, settings, table, create).await?;
    }
    Ok(is_missing)
}

/// Creates or replaces a view whose SELECT is not the present one, and returns what it did. The comment of a view ends
/// in a hash of its definition, because the server does not keep the SELECT as it was written.
///
/// A view reads the tables with the rights of the user that created it. So its readers need no right on a table: a row
/// policy on the view is then the only way to the rows, and table functions that read the parts of a table find no table
/// that they may read.
///
/// # Errors
/// ClickHouse returned an error or did not answer.
pub async fn create_or_replace_view(
    client: &Client,
    settings: &Settings,
    view: &ViewSpec,
) -> Result<Option<String>, Error> {
    let database = &settings.clickhouse.database;
    let name = format!("{database}.{}", view.name);
    let definition = format!("{VIEW_SECURITY} AS {}", view.select);
    let comment = format!("{} [{:016x}]", view.meaning, xxh3_64(definition.as_bytes())).trim().to_owned();
    let found = server::table(client, settings, &view.name).await?;
    if found.as_ref().is_some_and(|found| found.comment == comment) {
        return Ok(None);
    }
    let create = format!(
        "CREATE OR REPLACE VIEW {}.{} {definition} COMMENT '{}'",
        quoted(database),
        quoted(&view.name),
        comment.replace('\\', "\\\\").replace('\'', "\\'")
    );
    execute(client, settings, &view.name, &create).await?;
    Ok(Some(format!("{} view {name}", if found.is_some() { "replaced" } else { "created" })))
}

async fn create_database(client: &Client, settings: &Settings) -> Result<Vec<String>, Error> {
    let database = &settings.clickhouse.database;
    let count: u64 = client
        .query("SELECT count() FROM system.databases WHERE name = ?")
        .bind(database)
        .fetch_one()
        .await
        .map_err(|answer| server::failed(settings, "", &answer))?;
    if count > 0 {
        return Ok(Vec::new());
    }
    execute(client, settings, "", &format!("CREATE DATABASE IF NOT EXISTS {}", quoted(database))).await?;
    Ok(vec![format!("created database {database}")])
}

async fn migrate_table(
    client: &Client,
    settings: &Settings,
    table: &TableSpec,
) -> Result<Vec<String>, Error> {
    let database = &settings.clickhouse.database;
    let name = format!("{database}.{}", table.name);
    let Some(found) = server::table(client, settings, &table.name).await? else {
        let create = table.create(database, &settings.clickhouse.engine);
        execute(client, settings, &table.name, &create).await?;
        return Ok(vec![format!("created table {name} with {} columns", table.columns.len())]);
    };
    let present = server::columns(client, settings, &table.name).await?;
    let mut missing = Vec::new();
    for column in &table.columns {
        match present.iter().find(|found| found.name == column.name) {
            None => missing.push(column),
            Some(found) if found.r#type != column.kind => {
                return Err(Error::ClickHouse(format!(
                    "column `{}` of table {name} is {}, the cubes need {}: give the measure another name",
                    column.name, found.r#type, column.kind
                )));
            }
            Some(_) => (),
        }
    }
    if !missing.is_empty() {
        let add = table.add_columns(database, &missing, &found.sorting_key);
        execute(client, settings, &table.name, &add).await?;
    }
    Ok(missing.iter().map(|column| format!("added column {} to table {name}", column.name)).collect())
}

async fn execute(client: &Client, settings: &Settings, table: &str, statement: &str) -> Result<(), Error> {
    // `query_raw`: a `?` in a comment is not a parameter.
    client.query_raw(statement).execute().await.map_err(|answer| server::failed(settings, table, &answer))
}
