//! One INSERT of one block, repeated with the same rows and the same token until ClickHouse says OK.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clickhouse::Client;
use clickhouse::native::DataTypeNode;
use clickhouse::native::builder::{BlockBuilder, ColumnBuilder};
use clickhouse::native::encode::{Encode, ValueWriter};
use runtime::config::Settings;

use crate::Error;
use crate::block::{Block, Column};
use crate::ddl::quoted;
use crate::server::{self, Verdict};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A connection that takes no bytes for so long is dead.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// After this a running INSERT is asked about again, with its token; it is not cancelled on the server.
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
    table: String,
    lane: &'static str,
    in_trouble: AtomicBool,
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
        table: &str,
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
            table: table.to_owned(),
            lane,
            in_trouble: AtomicBool::new(false),
            newest_received: Mutex::new(0),
        })
    }

    /// Inserts a block and returns when it is in the table. Trouble that passes is waited out, however long.
    ///
    /// # Errors
    /// Trouble that does not pass, in one line with the way out.
    pub async fn insert(&self, block: &Block, token: &str) -> Result<(), Error> {
        let native = native(block).map_err(|problem| {
            Error::ClickHouse(format!("block {token} for table {} cannot be built: {problem}", self.table))
        })?;
        let names: Vec<String> = block.columns().map(|(name, _)| quoted(name)).collect();
        let database = quoted(&self.settings.clickhouse.database);
        let target = format!("{database}.{} ({})", quoted(&self.table), names.join(", "));
        let mut pause = FIRST_PAUSE;
        loop {
            let started = Instant::now();
            let answer = self.attempt(&target, &native, token).await;
            metrics::histogram!("millrace_aggregate_insert_seconds", "lane" => self.lane)
                .record(started.elapsed().as_secs_f64());
            let Err(answer) = answer else { break };
            match server::judge(&self.settings, &self.table, &answer) {
                Verdict::Stop(advice) => return Err(Error::ClickHouse(advice)),
                Verdict::Retry(cause) => {
                    metrics::counter!("millrace_aggregate_insert_retries_total", "lane" => self.lane)
                        .increment(1);
                    if !self.in_trouble.swap(true, Ordering::Relaxed) {
                        tracing::error!(
                            lane = self.lane,
                            table = self.table,
                            token,
                            cause,
                            "clickhouse does not take the insert, repeating it until it does"
                        );
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if self.in_trouble.swap(false, Ordering::Relaxed) {
            tracing::info!(lane = self.lane, table = self.table, "clickhouse takes inserts again");
        }
        metrics::counter!("millrace_aggregate_inserts_total", "lane" => self.lane).increment(1);
        metrics::counter!("millrace_aggregate_rows_total", "lane" => self.lane)
            .increment(block.data_rows() as u64);
        Ok(())
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

    async fn attempt(
        &self,
        target: &str,
        block: &clickhouse::native::Block,
        token: &str,
    ) -> Result<(), clickhouse::error::Error> {
        let mut insert = self
            .client
            .insert_native_unescaped(target)
            .with_timeouts(Some(SEND_TIMEOUT), Some(ANSWER_TIMEOUT))
            .with_setting("insert_deduplication_token", token)
            .with_setting("log_comment", token);
        insert.write(block).await?;
        insert.end().await
    }
}

/// Milliseconds since 1970. As a plain `Int64` the server would take them for seconds.
struct Millis(i64);

impl Encode for Millis {
    fn produces() -> DataTypeNode {
        DataTypeNode::new("DateTime64(3, 'UTC')").unwrap_or(DataTypeNode::Int64)
    }

    fn encode(&self, writer: &mut ValueWriter<'_>) -> Result<(), Problem> {
        Ok(writer.write_fixed(&self.0.to_le_bytes())?)
    }
}

type Problem = Box<dyn std::error::Error + Send + Sync>;

fn native(block: &Block) -> Result<clickhouse::native::Block, Problem> {
    let mut builder = BlockBuilder::new();
    for (name, column) in block.columns() {
        match column {
            Column::Text { text, ends } => {
                let texts = spans(ends).map(|(start, end)| text.get(start..end).unwrap_or(""));
                add(builder.upsert_column::<&str>(name)?, texts)?;
            }
            Column::Ids { ids, ends } => {
                let mut lists: ColumnBuilder<'_, &[u64]> = builder.upsert_column(name)?;
                for (start, end) in spans(ends) {
                    lists.add(ids.get(start..end).unwrap_or(&[]))?;
                }
            }
            Column::Small(values) => add(builder.upsert_column::<u16>(name)?, values.iter().copied())?,
            Column::Seconds(values) => add(builder.upsert_column::<u32>(name)?, values.iter().copied())?,
            Column::Offset(values) => add(builder.upsert_column::<u64>(name)?, values.iter().copied())?,
            Column::Number(values) => add(builder.upsert_column::<i64>(name)?, values.iter().copied())?,
            Column::Millis(values) => {
                add(builder.upsert_column::<Millis>(name)?, values.iter().map(|&value| Millis(value)))?;
            }
        }
    }
    Ok(builder.build()?)
}

fn add<T: Encode>(mut column: ColumnBuilder<'_, T>, values: impl Iterator<Item = T>) -> Result<(), Problem> {
    column.add_all(values)?;
    Ok(())
}

fn spans(ends: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends.iter().copied())
}
