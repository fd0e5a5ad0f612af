//! What aggregate has written to ClickHouse: its ledgers in the marker rows.
use std::collections::BTreeMap;

use clickhouse::Row;
use event::{Lane, RejectCode, Topic};
use runtime::config::Settings;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How many batches are listed.
const MAX_UNDECODABLE: usize = 100;

/// What a lane has written of a Kafka partition.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WrittenEvents {
    pub(super) events: u64,
    pub(super) duplicates: u64,
    /// The offset after the last record written.
    pub(super) end: Option<i64>,
}

/// The ledgers in ClickHouse, by Kafka partition.
pub(super) struct StoredLedgers {
    pub(super) live: BTreeMap<i32, WrittenEvents>,
    /// Other lanes that read the same topic, each with the name of its check.
    pub(super) other_lanes: Vec<(&'static str, BTreeMap<i32, WrittenEvents>)>,
    pub(super) dead_letters: BTreeMap<i32, WrittenEvents>,
    /// The newest dead letters of Kafka batches that cannot be decoded.
    pub(super) undecodable: Vec<UndecodableBatch>,
}

/// Records that were never read, because their batches cannot be decoded. They are one event and one dead letter.
#[derive(Debug, Clone, Row, Serialize, Deserialize)]
pub(super) struct UndecodableBatch {
    pub(super) topic: String,
    pub(super) partition: i64,
    /// The first offset.
    pub(super) offset: i64,
    /// The offsets and the reason.
    pub(super) message: String,
}

#[derive(Debug, Row, Deserialize)]
struct LedgerRow {
    src: String,
    events: i64,
    duplicates: i64,
    src_end: u64,
}

impl StoredLedgers {
    pub(super) async fn read(settings: &Settings) -> Result<Self, Error> {
        const DUPLICATES: &str = "sum(ledger_duplicates)";
        // In these tables a duplicate is a row of its own kind.
        const NONE: &str = "toInt64(0)";
        let live = written(settings, "live_local", Topic::EnrichedEvents, DUPLICATES).await?;
        let mut other_lanes = Vec::new();
        for (lane, table, duplicates, what) in [
            (Lane::Report, "report_local", DUPLICATES, "enrich sent = lane report has + in flight"),
            (Lane::Events, "events_local", NONE, "enrich sent = lane events has + in flight"),
        ] {
            if settings.aggregate.lanes.contains(&lane) {
                other_lanes.push((what, written(settings, table, Topic::EnrichedEvents, duplicates).await?));
            }
        }
        let dead_letters = written(settings, "dead_letters_local", Topic::DeadLetters, NONE).await?;
        Ok(Self { live, other_lanes, dead_letters, undecodable: undecodable(settings).await? })
    }
}

async fn undecodable(settings: &Settings) -> Result<Vec<UndecodableBatch>, Error> {
    const TABLE: &str = "dead_letters_local";
    let client = aggregate::server::client(settings).with_database(&settings.clickhouse.database);
    let query = client.query(&format!(
        "SELECT toString(origin_topic) AS topic, toInt64(origin_partition) AS partition, \
         toInt64(origin_offset) AS offset, toString(message) AS message \
         FROM {TABLE} WHERE code = ? AND stage != 'aggregate' ORDER BY received_at DESC LIMIT {MAX_UNDECODABLE}"
    ));
    let rows = query.bind(RejectCode::Undecodable.as_str()).fetch_all::<UndecodableBatch>().await;
    Ok(rows.map_err(|error| aggregate::server::failed(settings, TABLE, &error))?)
}

async fn written(
    settings: &Settings,
    table: &str,
    topic: Topic,
    duplicates: &str,
) -> Result<BTreeMap<i32, WrittenEvents>, Error> {
    let prefix = format!("{}/{}/", settings.aggregate.epoch, settings.kafka.topic(topic));
    let client = aggregate::server::client(settings).with_database(&settings.clickhouse.database);
    let rows = client
        .query(&format!(
            "SELECT toString(src) AS src, sum(ledger_events) AS events, {duplicates} AS duplicates, \
             max(src_end) AS src_end FROM {table} WHERE startsWith(src, ?) GROUP BY src"
        ))
        .bind(&prefix)
        .fetch_all::<LedgerRow>()
        .await
        .map_err(|error| aggregate::server::failed(settings, table, &error))?;
    let positive = |number: i64| u64::try_from(number).unwrap_or(0);
    // The later blocks of a large flush have markers without a ledger.
    let by_partition = rows.into_iter().filter_map(|row| {
        let partition = row.src.strip_prefix(&prefix)?.parse().ok()?;
        let end = i64::try_from(row.src_end).ok();
        let written =
            WrittenEvents { events: positive(row.events), duplicates: positive(row.duplicates), end };
        Some((partition, written))
    });
    Ok(by_partition.collect())
}
