//! The rows of a person in ClickHouse: found, masked, and gone from disk.
use std::time::{Duration, Instant};

use aggregate::server;
use clickhouse::Client;
use runtime::config::Settings;

use super::person::{Person, PersonKeys};
use crate::error::Error;

const POLL: Duration = Duration::from_millis(500);
/// Keeps a statement below `max_query_size`, 256 KiB.
const POSITIONS_PER_MUTATION: usize = 1_000;

/// A table with IDs of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErasedTable {
    /// Its rows are deleted.
    Events,
    /// Payload, key and message of its rows are blanked: the cube `quality` counts the rows.
    DeadLetters,
}

impl ErasedTable {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Events => "events_local",
            Self::DeadLetters => "dead_letters_local",
        }
    }
}

/// Whether the lane `events` has a table.
pub(super) async fn has_events(client: &Client, settings: &Settings) -> Result<bool, Error> {
    Ok(server::table(client, settings, ErasedTable::Events.name()).await?.is_some())
}

/// The devices that sent the user IDs of the person.
pub(super) async fn devices_of(
    client: &Client,
    settings: &Settings,
    keys: &PersonKeys,
) -> Result<Vec<String>, Error> {
    if keys.users.is_empty() {
        return Ok(Vec::new());
    }
    let users = list(&keys.users);
    let query =
        format!("SELECT DISTINCT anonymous_id FROM events_local WHERE src = '' AND user_key IN ({users})");
    let devices = client.query_raw(&query).fetch_all::<String>().await;
    Ok(devices.map_err(|error| server::failed(settings, ErasedTable::Events.name(), &error))?)
}

/// Deletes the events of the person and returns how many there were. The statement holds hashes and no ID, because ClickHouse
/// keeps the text of a mutation.
pub(super) async fn erase_events(
    client: &Client,
    settings: &Settings,
    keys: &PersonKeys,
) -> Result<u64, Error> {
    let table = ErasedTable::Events.name();
    let failed = |error| server::failed(settings, table, &error);
    let of_person = [("device_key", &keys.devices), ("user_key", &keys.users)];
    let conditions: Vec<String> = of_person
        .iter()
        .filter(|(_, keys)| !keys.is_empty())
        .map(|(column, keys)| format!("{column} IN ({})", list(keys)))
        .collect();
    let condition = format!("src = '' AND ({})", conditions.join(" OR "));
    let count = format!("SELECT count() FROM {table} WHERE {condition}");
    let rows: u64 = client.query_raw(&count).fetch_one().await.map_err(failed)?;
    if rows > 0 {
        let alter = format!("ALTER TABLE {table} DELETE WHERE {condition}");
        client.query_raw(&alter).execute().await.map_err(failed)?;
    }
    Ok(rows)
}

/// Where a dead letter is: origin topic, partition, offset and index, and partition and offset in the topic of dead letters.
type LetterPosition = (String, i64, i64, i64, i64, i64);

/// Blanks the dead letters of the person and returns how many there were. They are found by the IDs themselves, in a query
/// that ClickHouse does not log, and changed by their positions.
pub(super) async fn blank_dead_letters(
    client: &Client,
    settings: &Settings,
    person: &Person,
) -> Result<u64, Error> {
    let table = ErasedTable::DeadLetters.name();
    let failed = |error| server::failed(settings, table, &error);
    let positions: Vec<LetterPosition> = client
        .query_raw(&format!(
            "SELECT toString(origin_topic), origin_partition, origin_offset, origin_index, letter_partition, letter_offset \
             FROM {table} WHERE src = '' AND payload_encoding != 'erased' \
             AND app_id IN ({{app:String}}, '') AND (has({{ids:Array(String)}}, key) OR multiSearchAny(\
             if(payload_encoding = 'base64', tryBase64Decode(payload), payload), {{traces:Array(String)}}))"
        ))
        .param("app", &person.app)
        .param("ids", person.ids())
        .param("traces", person.traces())
        .with_setting("log_queries", "0")
        .fetch_all()
        .await
        .map_err(failed)?;
    for positions in positions.chunks(POSITIONS_PER_MUTATION) {
        let positions: Vec<String> = positions.iter().map(position_text).collect();
        let alter = format!(
            "ALTER TABLE {table} UPDATE payload = '', key = '', message = '', payload_encoding = 'erased' WHERE \
             (origin_topic, origin_partition, origin_offset, origin_index, letter_partition, letter_offset) IN ({})",
            positions.join(", ")
        );
        client.query_raw(&alter).execute().await.map_err(failed)?;
    }
    Ok(positions.len() as u64)
}

fn position_text(position: &LetterPosition) -> String {
    let (topic, partition, offset, index, letter_partition, letter_offset) = position;
    let topic = topic.replace('\\', "\\\\").replace('\'', "\\'");
    format!("('{topic}', {partition}, {offset}, {index}, {letter_partition}, {letter_offset})")
}

fn list(keys: &[u64]) -> String {
    keys.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// Waits until the mutations of a table have ended, and returns the data parts on disk that they replaced.
pub(super) async fn wait_until_masked(
    client: &Client,
    settings: &Settings,
    table: ErasedTable,
    timeout: Duration,
) -> Result<Vec<String>, Error> {
    let failed = |error| server::failed(settings, "system.mutations", &error);
    let started = Instant::now();
    loop {
        let query = "SELECT count(), max(latest_fail_reason) FROM system.mutations \
                     WHERE database = ? AND table = ? AND NOT is_done";
        let (open, reason): (u64, String) = client
            .query(query)
            .bind(&settings.clickhouse.database)
            .bind(table.name())
            .fetch_one()
            .await
            .map_err(failed)?;
        if open == 0 {
            break;
        }
        if started.elapsed() > timeout {
            return Err(Error::Failed(format!(
                "the rows of {} are not masked yet: {open} mutations are open {reason}; see system.mutations, and run this \
                 command again",
                table.name()
            )));
        }
        tokio::time::sleep(POLL).await;
    }
    let parts = client
        .query("SELECT name FROM system.parts WHERE database = ? AND table = ? AND NOT active")
        .bind(&settings.clickhouse.database)
        .bind(table.name())
        .fetch_all::<String>()
        .await;
    Ok(parts.map_err(|error| server::failed(settings, "system.parts", &error))?)
}

/// How many of these data parts are still on disk. With `wait`, waits until there is none: the server removes them
/// `old_parts_lifetime` (8 minutes) after they were replaced.
pub(super) async fn parts_on_disk(
    client: &Client,
    settings: &Settings,
    table: ErasedTable,
    parts: &[String],
    wait: bool,
) -> Result<u64, Error> {
    loop {
        let left: u64 = client
            .query("SELECT count() FROM system.parts WHERE database = ? AND table = ? AND NOT active AND has(?, name)")
            .bind(&settings.clickhouse.database)
            .bind(table.name())
            .bind(parts)
            .fetch_one()
            .await
            .map_err(|error| server::failed(settings, "system.parts", &error))?;
        if left == 0 || !wait {
            return Ok(left);
        }
        tokio::time::sleep(POLL).await;
    }
}
