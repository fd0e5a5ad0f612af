//! The tables in ClickHouse that only the operator's command writes.
//!
//! | file | what it holds |
//! |---|---|
//! | [`activity_history`] | who changed which activity, when and how |
//! | [`erasures`] | who erased how many rows, when and why |
//! | [`metric_definitions`] | what each metric means |
use clickhouse::Client;
use runtime::config::Settings;

pub(crate) mod activity_history;
pub(crate) mod erasures;
pub(crate) mod metric_definitions;

/// Creates what is missing and returns one line per change; nothing when all is there. The database exists.
///
/// # Errors
/// ClickHouse returned an error or did not reply.
pub(crate) async fn migrate(client: &Client, settings: &Settings) -> Result<Vec<String>, aggregate::Error> {
    let mut done = activity_history::migrate(client, settings).await?;
    done.extend(erasures::migrate(client, settings).await?);
    done.extend(metric_definitions::migrate(client, settings).await?);
    Ok(done)
}
