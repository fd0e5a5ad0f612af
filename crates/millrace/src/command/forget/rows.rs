//! The rows of a person in ClickHouse: found, masked, and gone from disk.
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

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
    /// Payload, key, message and pointer of its rows are blanked: the cube `quality` counts the rows.
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

/// Fails if events have an ID of the person and not its key: the secret is another one than that of enrich, and nothing would
/// be found by the keys.
pub(super) async fn check_secret(
    client: &Client,
    settings: &Settings,
    person: &Person,
    keys: &PersonKeys,
) -> Result<(), Error> {
    let table = ErasedTable::Events.name();
    let query = format!(
        "SELECT count() FROM {table} WHERE src = '' AND app_id = {{app:String}} AND \
         (has({{devices:Array(String)}}, anonymous_id) OR has({{users:Array(String)}}, user_id)) AND NOT ({})",
        of_keys(keys)
    );
    let with_other_keys: u64 = client
        .query_raw(&query)
        .param("app", &person.app)
        .param("devices", person.devices.iter().collect::<Vec<_>>())
        .param("users", person.users.iter().collect::<Vec<_>>())
        .with_setting("log_queries", "0")
        .fetch_one()
        .await
        .map_err(|error| server::failed(settings, table, &error))?;
    if with_other_keys == 0 {
        return Ok(());
    }
    Err(Error::Failed(format!(
        "{with_other_keys} events of the person have other keys than this command makes: the identity secret is not the one \
         of enrich; set enrich.identity_secret_file as for enrich. Nothing has been erased"
    )))
}

/// The condition for the events of the person. It holds hashes and no ID, because ClickHouse keeps the text of a mutation.
fn of_keys(keys: &PersonKeys) -> String {
    let conditions: Vec<String> = [("device_key", &keys.devices), ("user_key", &keys.users)]
        .iter()
        .filter(|(_, keys)| !keys.is_empty())
        .map(|(column, keys)| format!("{column} IN ({})", list(keys)))
        .collect();
    conditions.join(" OR ")
}

async fn count_events(client: &Client, settings: &Settings, keys: &PersonKeys) -> Result<u64, Error> {
    let table = ErasedTable::Events.name();
    let count = format!("SELECT count() FROM {table} WHERE src = '' AND ({})", of_keys(keys));
    let rows = client.query_raw(&count).fetch_one().await;
    Ok(rows.map_err(|error| server::failed(settings, table, &error))?)
}

/// Deletes the events of the person and returns how many there were.
pub(super) async fn erase_events(
    client: &Client,
    settings: &Settings,
    keys: &PersonKeys,
) -> Result<u64, Error> {
    let table = ErasedTable::Events.name();
    let rows = count_events(client, settings, keys).await?;
    if rows > 0 {
        let alter = format!("ALTER TABLE {table} DELETE WHERE src = '' AND ({})", of_keys(keys));
        let altered = client.query_raw(&alter).execute().await;
        altered.map_err(|error| server::failed(settings, table, &error))?;
    }
    Ok(rows)
}

/// Where a dead letter is: origin topic, partition, offset and index, and partition and offset in the topic of dead letters.
type LetterPosition = (String, i64, i64, i64, i64, i64);

/// The dead letters of the person, found by the IDs themselves in queries that ClickHouse does not log.
pub(super) async fn letters_of(
    client: &Client,
    settings: &Settings,
    person: &Person,
) -> Result<BTreeSet<LetterPosition>, Error> {
    let table = ErasedTable::DeadLetters.name();
    let query = format!(
        "SELECT toString(origin_topic), origin_partition, origin_offset, origin_index, letter_partition, letter_offset \
         FROM {table} WHERE src = '' AND payload_encoding != 'erased' \
         AND (app_id IN ({{app:String}}, '') OR {{everywhere:Bool}}) AND (has({{ids:Array(String)}}, key) OR multiSearchAny(\
         if(payload_encoding = 'base64', tryBase64Decode(payload), payload), {{traces:Array(String)}}))"
    );
    let mut letters = BTreeSet::new();
    for search in person.searches() {
        let found = client
            .query_raw(&query)
            .param("app", &person.app)
            .param("everywhere", search.everywhere)
            .param("ids", search.ids)
            .param("traces", search.traces)
            .with_setting("log_queries", "0")
            .fetch_all::<LetterPosition>()
            .await;
        letters.extend(found.map_err(|error| server::failed(settings, table, &error))?);
    }
    Ok(letters)
}

/// Blanks dead letters by their positions.
pub(super) async fn blank_dead_letters(
    client: &Client,
    settings: &Settings,
    letters: &BTreeSet<LetterPosition>,
) -> Result<(), Error> {
    let table = ErasedTable::DeadLetters.name();
    let positions: Vec<String> = letters.iter().map(position_text).collect();
    for positions in positions.chunks(POSITIONS_PER_MUTATION) {
        let alter = format!(
            "ALTER TABLE {table} UPDATE payload = '', key = '', message = '', pointer = '', payload_encoding = 'erased' WHERE \
             (origin_topic, origin_partition, origin_offset, origin_index, letter_partition, letter_offset) IN ({})",
            positions.join(", ")
        );
        let altered = client.query_raw(&alter).execute().await;
        altered.map_err(|error| server::failed(settings, table, &error))?;
    }
    Ok(())
}

/// The rows of the person that queries still return.
pub(super) async fn still_found(
    client: &Client,
    settings: &Settings,
    table: ErasedTable,
    person: &Person,
    keys: &PersonKeys,
) -> Result<u64, Error> {
    match table {
        ErasedTable::Events => count_events(client, settings, keys).await,
        ErasedTable::DeadLetters => Ok(letters_of(client, settings, person).await?.len() as u64),
    }
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
