//! `millrace migrate`: database, tables and views in ClickHouse.
use clap::Args;
use serde_json::json;

use crate::{context::Context, error::Error};

/// Bring database, tables and views in ClickHouse to what the cubes say.
///
/// Only ever adds, and prints what it did. Waits for ClickHouse as long as startup_timeout says. May be run again at
/// any time; run it after every change of the cubes and before a new version.
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
        let changes = tokio.block_on(aggregate::migrate(&client, settings, &cubes))?;
        for change in &changes {
            output.line(change)?;
        }
        if changes.is_empty() {
            output.line(format!("nothing to do: {} is up to date", settings.clickhouse.database))?;
        }
        Ok(output.json(&json!({ "changes": changes }))?)
    }
}
