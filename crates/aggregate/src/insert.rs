//! What is asked of a lane's table: one INSERT of one block under one token, and the markers that say what landed.
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
use crate::protocol::Landed;
use crate::server::{self, Verdict};
use crate::table::{TableSpec, quoted};
use crate::time::now_ms;

/// A connection that takes no bytes for so long is dead.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// After this the markers are asked what became of a running INSERT; it is not cancelled on the server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// What every INSERT is sent with. Anything that could cut a block differently on a retry is off, and the limits
/// stand above our largest block.
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
pub struct Writer {
    client: Client,
    settings: Settings,
    table: TableSpec,
    lane: &'static str,
    /// Since when the server takes nothing.
    trouble: Mutex<Option<Instant>>,
    /// Epoch milliseconds of the newest receipt in the table.
    newest_received: Mutex<i64>,
}

impl Writer {
    /// A writer for a table, after asking the server which settings it knows.
    ///
    /// # Errors
    /// The server refuses or is too old to drop repeated inserts.
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
            trouble: Mutex::new(None),
            newest_received: Mutex::new(0),
        })
    }

    /// Inserts a block, once.
    ///
    /// # Errors
    /// Any other answer than OK, or none: the rows may be in the table all the same, wholly or in part.
    pub async fn insert(&self, block: &Block, token: &str) -> Result<(), Verdict> {
        let started = Instant::now();
        let answer = self.attempt(block, token).await;
        metrics::histogram!("millrace_aggregate_insert_seconds", "lane" => self.lane)
            .record(started.elapsed().as_secs_f64());
        answer?;
        metrics::counter!("millrace_aggregate_inserts_total", "lane" => self.lane).increment(1);
        metrics::counter!("millrace_aggregate_rows_total", "lane" => self.lane)
            .increment(block.data_rows() as u64);
        Ok(())
    }

    /// The markers of a source's first chunks that say `end` or more.
    ///
    /// # Errors
    /// The server refused or did not answer.
    pub async fn landed(&self, source: &str, chunks: usize, end: u64) -> Result<Landed, Verdict> {
        #[derive(Row, Deserialize)]
        struct Found {
            source: String,
            week: u32,
        }
        let sources: Vec<String> = (0..chunks).map(|chunk| Mark::source_of(source, chunk)).collect();
        let query = format!(
            "SELECT toString(src) AS source, toUnixTimestamp({time}) AS week FROM {table} \
             WHERE {markers} AND has(?, toString(src)) GROUP BY src, week HAVING max(src_end) >= ?",
            time = quoted(&self.table.time),
            table = self.target(),
            markers = self.table.markers,
        );
        let found =
            self.asked(self.client.query(&query).bind(&sources).bind(end).fetch_all::<Found>()).await?;
        let chunk_of = |source: &str| sources.iter().position(|other| other == source);
        Ok(found.iter().filter_map(|found| Some((chunk_of(&found.source)?, found.week))).collect())
    }

    /// The newest end that the markers of each source say, whichever chunk; none where there is no marker.
    ///
    /// # Errors
    /// The server refused or did not answer.
    pub async fn newest(&self, sources: &BTreeSet<String>) -> Result<BTreeMap<String, u64>, Verdict> {
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
        let found = self.asked(self.client.query(&query).bind(&sources).fetch_all::<Found>()).await?;
        Ok(found.into_iter().map(|found| (found.source, found.end)).collect())
    }

    /// Proves that the server drops a repeated insert, by inserting a marker row of nobody twice. Asked again after a
    /// lost answer it repeats the same inserts.
    ///
    /// # Errors
    /// It does not, or it refused.
    pub async fn check_deduplication(&self, nonce: &str) -> Result<(), Error> {
        const TRIES: u32 = 3;
        for nth in 0..TRIES {
            let source = format!("probe/{nonce}/{nth}");
            let block = self.probe(&source);
            for _ in 0..2 {
                let inserted = self.attempt(&block, &source).await;
                inserted.map_err(|verdict| server::failed(&self.settings, verdict))?;
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
                .map_err(|answer| server::stop(&self.settings, &self.table.name, &answer))?;
            if seen == 1 {
                return Ok(());
            }
            // Between the two, others may have pushed the token out of a short memory: that is no proof.
        }
        Err(Error::ClickHouse(format!(
            "clickhouse at {} counted the same insert into {}.{} twice although it carried the same \
             insert_deduplication_token: totals would be wrong after any lost answer; check \
             non_replicated_deduplication_window and replicated_deduplication_window of the table (SHOW CREATE TABLE), \
             and that the user's profile does not switch insert_deduplicate off",
            self.settings.clickhouse.url, self.settings.clickhouse.database, self.table.name
        )))
    }

    /// One marker row of this source that counts one event, and is forgotten soon.
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

    /// Says that the server refuses or does not answer; the first time loudly.
    pub fn report_trouble(&self, what: &str, cause: &str) {
        metrics::counter!("millrace_aggregate_insert_retries_total", "lane" => self.lane).increment(1);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.is_none() {
            *trouble = Some(Instant::now());
            tracing::error!(
                lane = self.lane,
                table = self.table.name,
                token = what,
                cause,
                "clickhouse does not take the insert, repeating it until it does"
            );
        }
    }

    /// Says that it took something.
    pub fn report_success(&self) {
        if self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            tracing::info!(lane = self.lane, table = self.table.name, "clickhouse takes inserts again");
        }
    }

    /// For how long it has taken nothing.
    pub fn trouble(&self) -> Option<Duration> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).map(|since| since.elapsed())
    }

    /// Reports that what was received until then (epoch milliseconds) is in the table. Flushes of different
    /// partitions end in any order; the reported time never goes back.
    pub fn inserted_up_to(&self, received_max: i64) {
        let mut newest = self.newest_received.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = received_max.max(*newest);
        // Set under the lock, or an older value could overtake.
        metrics::gauge!("millrace_aggregate_newest_received_timestamp_seconds", "lane" => self.lane)
            .set(*newest as f64 / 1000.0);
    }

    async fn attempt(&self, block: &Block, token: &str) -> Result<(), Verdict> {
        let names: Vec<String> = block.columns().map(|(name, _)| quoted(name)).collect();
        let statement = format!("INSERT INTO {} ({}) FORMAT Native", self.target(), names.join(", "));
        let mut insert = self
            .client
            .insert_formatted_with(statement)
            .with_timeouts(Some(SEND_TIMEOUT), Some(ANSWER_TIMEOUT))
            .with_setting("insert_deduplication_token", token)
            .with_setting("log_comment", token);
        for buffer in NativeBuffers::of(block) {
            insert.send(buffer.into()).await.map_err(|answer| self.judge(&answer))?;
        }
        insert.end().await.map_err(|answer| self.judge(&answer))
    }

    async fn asked<T>(
        &self,
        answer: impl Future<Output = Result<T, clickhouse::error::Error>>,
    ) -> Result<T, Verdict> {
        match tokio::time::timeout(SEND_TIMEOUT, answer).await {
            Ok(answer) => answer.map_err(|answer| self.judge(&answer)),
            Err(_) => Err(Verdict::Retry("no answer in time".into())),
        }
    }

    fn judge(&self, answer: &clickhouse::error::Error) -> Verdict {
        server::judge(&self.settings, &self.table.name, answer)
    }

    fn target(&self) -> String {
        format!("{}.{}", quoted(&self.settings.clickhouse.database), quoted(&self.table.name))
    }
}
