//! `millrace migrate`: creates and updates the database, tables and views in ClickHouse.
use clap::Args;
use serde_json::json;

use crate::{context::Context, error::Error, metrics, tables};

/// Create or update the database, tables, views and metric definitions in ClickHouse
///
/// Adds what is missing, removes nothing, and prints each change. Waits up to startup_timeout for ClickHouse. Safe to run
/// again at any time. Run it after every change of the cubes and before starting a new version.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace migrate
  MILLRACE__CLICKHOUSE__URL=http://clickhouse:8123 MILLRACE__CLICKHOUSE__PASSWORD_FILE=/run/secrets/clickhouse \\
    millrace migrate --json")]
pub(crate) struct Migrate {}

impl Migrate {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let Context { settings, output, tokio } = context;
        let cubes = aggregate::cubes(settings)?;
        let client = aggregate::server::client(settings);
        let definitions = metrics::rows::built_in(&cubes).map_err(Error::Failed)?;
        let changes = tokio.block_on(async {
            let mut changes = aggregate::migrate(&client, settings, &cubes).await?;
            changes.extend(tables::migrate(&client, settings).await?);
            changes.extend(tables::metric_definitions::load(&client, settings, &definitions).await?);
            Ok::<_, aggregate::Error>(changes)
        })?;
        for change in &changes {
            output.line(change)?;
        }
        if changes.is_empty() {
            output.line(format!("nothing to do: database {} is up to date", settings.clickhouse.database))?;
        }
        Ok(output.json(&json!({ "changes": changes }))?)
    }
}
