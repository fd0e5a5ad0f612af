//! What ClickHouse has stored, and how old the newest of it is.
use std::time::Duration;

use console::style;
use runtime::config::Settings;
use serde::{Deserialize, Serialize};

use crate::output::{
    table::{
        Column::{Number, Text},
        Table, table,
    },
    text::{count, duration},
};

/// Timeout of the queries to ClickHouse.
const CLICKHOUSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Data older than this is shown in red.
const OLD_MS: i64 = 30_000;

#[derive(Debug, Default, Serialize)]
pub(super) struct ClickHouseStatus {
    pub(super) url: String,
    pub(super) version: Option<String>,
    /// Why the numbers are missing.
    pub(super) problem: Option<String>,
    /// When the broker received the newest stored event, epoch milliseconds.
    pub(super) newest_received_at: Option<i64>,
    pub(super) data_age_ms: Option<i64>,
    /// Stored events by kind.
    pub(super) stored: Vec<StoredCount>,
}

#[derive(Debug, Serialize, Deserialize, clickhouse::Row)]
pub(super) struct StoredCount {
    kind: String,
    events: i64,
    newest_received_at: i64,
}

pub(super) async fn read(settings: &Settings, now_ms: i64) -> ClickHouseStatus {
    let mut found = ClickHouseStatus { url: settings.clickhouse.url.clone(), ..ClickHouseStatus::default() };
    let reply = tokio::time::timeout(CLICKHOUSE_TIMEOUT, async {
        let client = aggregate::server::client(settings).with_database(&settings.clickhouse.database);
        let version = client.query("SELECT version()").fetch_one::<String>().await?;
        // The smallest pane holds every event once.
        let stored = client
            .query(
                "SELECT toString(kind) AS kind, toInt64(sum(events)) AS events, \
                 toUnixTimestamp64Milli(max(received_max)) AS newest_received_at \
                 FROM quality WHERE pane = '10s' GROUP BY kind ORDER BY kind",
            )
            .fetch_all::<StoredCount>()
            .await;
        Ok::<_, clickhouse::error::Error>((version, stored))
    });
    let problem = |error: &clickhouse::error::Error| {
        Some(aggregate::server::failed(settings, "quality", error).to_string())
    };
    match reply.await {
        Err(_) => found.problem = Some(format!("no reply within {} s", CLICKHOUSE_TIMEOUT.as_secs())),
        Ok(Err(error)) => found.problem = problem(&error),
        Ok(Ok((version, stored))) => {
            found.version = Some(version);
            match stored {
                Err(error) => found.problem = problem(&error),
                Ok(stored) => found.stored = stored,
            }
        }
    }
    found.newest_received_at = found.stored.iter().map(|stored| stored.newest_received_at).max();
    found.data_age_ms = found.newest_received_at.map(|newest| (now_ms - newest).max(0));
    found
}

impl ClickHouseStatus {
    /// One line: the version, and the age of the newest data or what is wrong.
    pub(super) fn headline(&self) -> String {
        match (&self.problem, &self.version, self.data_age_ms) {
            (Some(problem), _, _) => format!("clickhouse: {}", style(problem).red()),
            (None, Some(version), Some(age)) => {
                let text = style(duration(age));
                let text = if age > OLD_MS { text.red() } else { text.green() };
                format!("clickhouse {version} at {}, newest data {text} old", self.url)
            }
            (None, version, _) => {
                format!("clickhouse {} at {}, no data yet", version.as_deref().unwrap_or(""), self.url)
            }
        }
    }

    /// The stored events by kind.
    pub(super) fn table(&self) -> Table {
        let mut table = table(&[Text("stored as"), Number("events")]);
        for stored in &self.stored {
            table.add_row([stored.kind.clone(), count(stored.events)]);
        }
        table
    }
}
