//! The requests to a lane's table: one INSERT of one block with one token, and reads of markers.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clickhouse::{Client, Row};
use runtime::config::Settings;
use serde::Deserialize;

use crate::Error;
use crate::block::{
    Block, BlockBuilder, ColumnKind, Layout, Mark, MarkerRows, NativeBuffers, TablePartitioning,
};
use crate::protocol::FoundMarkers;
use crate::server::{self, ErrorClass};
use crate::table::{TableSpec, quoted};
use crate::time::now_ms;

/// A connection that accepts no bytes for this long is closed.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// After this the markers are read to find out how an INSERT ended; it is not cancelled on the server.
const REPLY_TIMEOUT: Duration = Duration::from_secs(300);

/// The settings of every INSERT. What could cut a block differently on a retry is off, and the limits are above our
/// largest block.
const SETTINGS: &[(&str, &str)] = &[
    ("async_insert", "0"),
    ("max_insert_threads", "1"),
    ("input_format_parallel_parsing", "0"),
    ("max_insert_block_size", "2000000"),
    ("min_insert_block_size_rows", "2000000"),
    ("min_insert_block_size_bytes", "1073741824"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    // Newer servers know the first, older ones the second.
    ("deduplicate_insert", "enable"),
    ("insert_deduplicate", "1"),
];

/// Writes blocks into one table.
pub struct BlockWriter {
    client: Client,
    settings: Settings,
    table: TableSpec,
    lane: &'static str,
    /// Since when requests fail with transient errors, and the last of them.
    failing: Mutex<Option<(Instant, String)>>,
    /// Newest `received_at` in the table, epoch milliseconds.
    newest_received: Mutex<i64>,
}

impl BlockWriter {
    /// A writer for a table. Queries which settings the server knows.
    ///
    /// # Errors
    /// The server returned an error, or is too old to drop repeated inserts.
    pub async fn new(
        client: &Client,
        settings: &Settings,
        lane: &'static str,
        table: &TableSpec,
    ) -> Result<Self, Error> {
        let mut names: Vec<&str> = SETTINGS.iter().map(|(name, _)| *name).collect();
        names.push("insert_deduplication_token");
        let known = server::known_settings(client, settings, &names).await?;
        let knows = |name: &str| known.iter().any(|known| known == name);
        if !knows("insert_deduplication_token")
            || !(knows("deduplicate_insert") || knows("insert_deduplicate"))
        {
            return Err(Error::ClickHouse(
                "this clickhouse does not know insert_deduplication_token: version 24.8 or newer is needed"
                    .into(),
            ));
        }
        let mut client = client.clone();
        for &(name, value) in SETTINGS.iter().filter(|(name, _)| knows(name)) {
            client = client.with_setting(name, value);
        }
        Ok(Self {
            client,
            settings: settings.clone(),
            table: table.clone(),
            lane,
            failing: Mutex::new(None),
            newest_received: Mutex::new(0),
        })
    }

    /// Inserts a block, once.
    ///
    /// # Errors
    /// The server returned an error or no reply: the rows may be in the table, wholly or partly.
    pub async fn insert(&self, block: &Block, token: &str) -> Result<(), ErrorClass> {
        let started = Instant::now();
        let inserted = self.attempt(block, token).await;
        metrics::histogram!("millrace_aggregate_insert_seconds", "lane" => self.lane)
            .record(started.elapsed().as_secs_f64());
        inserted?;
        metrics::counter!("millrace_aggregate_inserts_total", "lane" => self.lane).increment(1);
        metrics::counter!("millrace_aggregate_rows_total", "lane" => self.lane)
            .increment(block.data_rows() as u64);
        Ok(())
    }

    /// The markers of a source's first `blocks` blocks that say `end` or more.
    ///
    /// # Errors
    /// The server returned an error or no reply.
    pub async fn markers(&self, source: &str, blocks: usize, end: u64) -> Result<FoundMarkers, ErrorClass> {
        #[derive(Row, Deserialize)]
        struct Found {
            source: String,
            table_partition: u32,
        }
        let sources: Vec<String> = (0..blocks).map(|block| Mark::source_of(source, block)).collect();
        let query = format!(
            "SELECT toString(src) AS source, toUnixTimestamp({time}) AS table_partition FROM {table} \
             WHERE {markers} AND has(?, toString(src)) GROUP BY src, table_partition HAVING max(src_end) >= ?",
            time = quoted(&self.table.time),
            table = self.target(),
            markers = self.table.markers,
        );
        let found =
            self.query(self.client.query(&query).bind(&sources).bind(end).fetch_all::<Found>()).await?;
        let block_of = |source: &str| sources.iter().position(|other| other == source);
        Ok(found.iter().filter_map(|found| Some((block_of(&found.source)?, found.table_partition))).collect())
    }

    /// The newest end that the markers of each source say, in any block; a source without markers is left out.
    ///
    /// # Errors
    /// The server returned an error or no reply.
    pub async fn newest(&self, sources: &BTreeSet<String>) -> Result<BTreeMap<String, u64>, ErrorClass> {
        #[derive(Row, Deserialize)]
        struct Found {
            source: String,
            end: u64,
        }
        let sources: Vec<&String> = sources.iter().collect();
        let query = format!(
            "SELECT splitByChar('#', toString(src))[1] AS source, max(src_end) AS end FROM {table} \
             WHERE {markers} AND has(?, source) GROUP BY source",
            table = self.target(),
            markers = self.table.markers,
        );
        let found = self.query(self.client.query(&query).bind(&sources).fetch_all::<Found>()).await?;
        Ok(found.into_iter().map(|found| (found.source, found.end)).collect())
    }

    /// Proves that the server drops a repeated insert: inserts one marker row twice under the same token. A retry after a
    /// lost reply repeats the same inserts.
    ///
    /// # Errors
    /// It does not drop it, or it returned an error.
    pub async fn check_deduplication(&self, nonce: &str) -> Result<(), Error> {
        const TRIES: u32 = 3;
        for nth in 0..TRIES {
            let source = format!("probe/{nonce}/{nth}");
            let block = self.probe(&source);
            for _ in 0..2 {
                let inserted = self.attempt(&block, &source).await;
                inserted.map_err(|error| server::to_error(&self.settings, &self.table.name, error))?;
            }
            let query = format!(
                "SELECT sum(ledger_events) FROM {} WHERE {} AND src = ?",
                self.target(),
                self.table.markers
            );
            let seen: i64 = self
                .client
                .query(&query)
                .bind(&source)
                .fetch_one()
                .await
                .map_err(|error| server::failed(&self.settings, &self.table.name, &error))?;
            if seen == 1 {
                return Ok(());
            }
            // Other inserts may have pushed the token out of a small deduplication window, so this is no proof yet.
        }
        Err(Error::ClickHouse(format!(
            "clickhouse at {} counted the same insert into {}.{} twice although it carried the same \
             insert_deduplication_token: totals would be wrong after any lost reply; check \
             non_replicated_deduplication_window and replicated_deduplication_window of the table (SHOW CREATE TABLE), \
             and that the user's profile does not switch insert_deduplicate off",
            self.settings.clickhouse.url, self.settings.clickhouse.database, self.table.name
        )))
    }

    /// One marker row of this source that counts one event and is kept for a short time.
    fn probe(&self, source: &str) -> Block {
        const KEEP_DAYS: u16 = 14;
        let time = if self.table.time == "bucket" { ColumnKind::Seconds } else { ColumnKind::Millis };
        let columns = [
            (self.table.time.as_str(), time),
            ("keep_days", ColumnKind::Small),
            ("src", ColumnKind::Text),
            ("src_end", ColumnKind::Offset),
            ("ledger_events", ColumnKind::Number),
        ];
        let columns = columns.map(|(name, kind)| (name.to_owned(), kind)).to_vec();
        let layout = Layout::new(columns, TablePartitioning::ByWeek);
        let markers = MarkerRows {
            mark: Mark::new(source, 0),
            ledger: vec![(4, 1)],
            keep_days: KEEP_DAYS,
            time_column: 0,
            keep_days_column: 1,
            src_column: 2,
            src_end_column: 3,
        };
        let mut builder = BlockBuilder::new(layout, markers);
        builder.keep_ledger(u32::try_from(now_ms() / 1000).unwrap_or(u32::MAX));
        builder.finish().swap_remove(0)
    }

    /// Reports a transient error; the first one as an error log line.
    pub fn report_failure(&self, what: &str, cause: &str) {
        metrics::counter!("millrace_aggregate_insert_retries_total", "lane" => self.lane).increment(1);
        let cause = format!("table {}: {cause}", self.table.name);
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, last)) = failing.as_mut() {
            *last = cause;
        } else {
            *failing = Some((Instant::now(), cause.clone()));
            tracing::error!(
                lane = self.lane,
                table = self.table.name,
                token = what,
                cause,
                "insert failed, retrying until clickhouse accepts it"
            );
        }
    }

    /// Reports that an insert succeeded.
    pub fn report_success(&self) {
        if self.failing.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            tracing::info!(lane = self.lane, table = self.table.name, "clickhouse accepts inserts again");
        }
    }

    /// For how long requests have failed, and the last error.
    pub fn failing_for(&self) -> Option<(Duration, String)> {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.as_ref().map(|(since, cause)| (since.elapsed(), cause.clone()))
    }

    /// Reports that records received up to this time (epoch milliseconds) are in the table. Flushes of different
    /// partitions end in any order; the reported time never decreases.
    pub fn inserted_up_to(&self, received_max: i64) {
        let mut newest = self.newest_received.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = received_max.max(*newest);
        // Set under the lock, so that an older value cannot overwrite a newer one.
        metrics::gauge!("millrace_aggregate_newest_received_timestamp_seconds", "lane" => self.lane)
            .set(*newest as f64 / 1000.0);
    }

    async fn attempt(&self, block: &Block, token: &str) -> Result<(), ErrorClass> {
        let names: Vec<String> = block.columns().map(|(name, _)| quoted(name)).collect();
        let statement = format!("INSERT INTO {} ({}) FORMAT Native", self.target(), names.join(", "));
        let mut insert = self
            .client
            .insert_formatted_with(statement)
            .with_timeouts(Some(SEND_TIMEOUT), Some(REPLY_TIMEOUT))
            .with_setting("insert_deduplication_token", token)
            .with_setting("log_comment", token);
        for buffer in NativeBuffers::of(block) {
            insert.send(buffer.into()).await.map_err(|error| self.classify(&error))?;
        }
        insert.end().await.map_err(|error| self.classify(&error))
    }

    async fn query<T>(
        &self,
        reply: impl Future<Output = Result<T, clickhouse::error::Error>>,
    ) -> Result<T, ErrorClass> {
        match tokio::time::timeout(SEND_TIMEOUT, reply).await {
            Ok(reply) => reply.map_err(|error| self.classify(&error)),
            Err(_) => Err(ErrorClass::Transient("no reply in time".into())),
        }
    }

    fn classify(&self, error: &clickhouse::error::Error) -> ErrorClass {
        server::classify(&self.settings, &self.table.name, error)
    }

    fn target(&self) -> String {
        format!("{}.{}", quoted(&self.settings.clickhouse.database), quoted(&self.table.name))
    }
}
