//! Brings database, tables and views to what the cubes say: only ever adds, and says what it did.
use clickhouse::Client;
use runtime::config::Settings;
use xxhash_rust::xxh3::xxh3_64;

use crate::Error;
use crate::audit;
use crate::cube::Cubes;
use crate::ddl::{self, TableSpec, ViewSpec, quoted};
use crate::events;
use crate::metric_definitions;
use crate::server;

/// Makes what is missing and returns one line for each thing done; nothing when all is as it should be. Waits for a
/// server that is not there yet.
///
/// # Errors
/// The server refuses, or a column is there with another type than the cubes need.
pub async fn migrate(client: &Client, settings: &Settings, cubes: &Cubes) -> Result<Vec<String>, Error> {
    server::wait_until_up(client, settings, || false).await?;
    let database = &settings.clickhouse.database;
    let mut done = Vec::new();
    let there: u64 = client
        .query("SELECT count() FROM system.databases WHERE name = ?")
        .bind(database)
        .fetch_one()
        .await
        .map_err(|answer| server::stop(settings, "", &answer))?;
    if there == 0 {
        execute(client, settings, "", &format!("CREATE DATABASE IF NOT EXISTS {}", quoted(database))).await?;
        done.push(format!("created database {database}"));
    }
    for table in ddl::tables(cubes) {
        bring_table(client, settings, &table, &mut done).await?;
    }
    for view in ddl::views(cubes, database) {
        bring_view(client, settings, &view, &mut done).await?;
    }
    if settings.aggregate.lanes.iter().any(|lane| lane == events::table::LANE) {
        bring_table(client, settings, &events::table::events_table(), &mut done).await?;
        bring_view(client, settings, &events::table::events_view(database), &mut done).await?;
    }
    audit::bring(client, settings, &mut done).await?;
    bring_view(client, settings, &audit::view(database), &mut done).await?;
    metric_definitions::bring(client, settings, &mut done).await?;
    Ok(done)
}

/// Makes a table whose columns never change, when it is missing, and says whether it did.
pub(crate) async fn create_missing(
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

async fn bring_table(
    client: &Client,
    settings: &Settings,
    table: &TableSpec,
    done: &mut Vec<String>,
) -> Result<(), Error> {
    let database = &settings.clickhouse.database;
    let name = format!("{database}.{}", table.name);
    let Some(found) = server::table(client, settings, &table.name).await? else {
        let create = table.create(database, &settings.clickhouse.engine);
        execute(client, settings, &table.name, &create).await?;
        done.push(format!("created table {name} with {} columns", table.columns.len()));
        return Ok(());
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
        let add = table.add(database, &missing, &found.sorting_key);
        execute(client, settings, &table.name, &add).await?;
        done.extend(missing.iter().map(|column| format!("added column {} to table {name}", column.name)));
    }
    Ok(())
}

/// A view's comment ends in a fingerprint of its SELECT: the server prints a SELECT in words of its own.
async fn bring_view(
    client: &Client,
    settings: &Settings,
    view: &ViewSpec,
    done: &mut Vec<String>,
) -> Result<(), Error> {
    let database = &settings.clickhouse.database;
    let name = format!("{database}.{}", view.name);
    let comment = format!("{} [{:016x}]", view.meaning, xxh3_64(view.select.as_bytes())).trim().to_owned();
    let found = server::table(client, settings, &view.name).await?;
    if found.as_ref().is_some_and(|found| found.comment == comment) {
        return Ok(());
    }
    let create = format!(
        "CREATE OR REPLACE VIEW {}.{} AS {} COMMENT '{}'",
        quoted(database),
        quoted(&view.name),
        view.select,
        comment.replace('\\', "\\\\").replace('\'', "\\'")
    );
    execute(client, settings, &view.name, &create).await?;
    done.push(format!("{} view {name}", if found.is_some() { "replaced" } else { "created" }));
    Ok(())
}

async fn execute(client: &Client, settings: &Settings, table: &str, statement: &str) -> Result<(), Error> {
    // `query_raw`: a `?` in a comment is no parameter.
    client.query_raw(statement).execute().await.map_err(|answer| server::stop(settings, table, &answer))
}
