//! `millrace access check`: the mistakes in a file, and what the version of the server means for row policies.
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::FileArgument;
use crate::{access::version, context::Context, error::Error, output};

const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Print all mistakes in a file of roles and users
///
/// Also warns of a ClickHouse version that has known ways around row policies, if the server replies.
#[derive(Debug, Args)]
#[command(after_help = "\
Exits with 2 if FILE has a mistake. A warning does not change the exit code.

EXAMPLES
  millrace access check
  millrace access check access.toml --json | jq -r .warnings[]")]
pub(crate) struct CheckAccess {
    #[command(flatten)]
    file: FileArgument,
}

impl CheckAccess {
    pub(super) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let plan = super::plan(context, &self.file.file)?;
        let Context { settings, output, tokio } = context;
        let client = aggregate::server::client(settings);
        let version = tokio.block_on(async {
            let query = client.query("SELECT version()");
            tokio::time::timeout(REPLY_TIMEOUT, query.fetch_one::<String>()).await
        });
        let warnings: Vec<String> = match version {
            Ok(Ok(version)) => version::advice(&version).into_iter().collect(),
            _ => {
                let url = &settings.clickhouse.url;
                output::note(format!("note: the version of clickhouse is not checked: no reply at {url}"));
                Vec::new()
            }
        };
        for warning in &warnings {
            output.line(format!("warning: {warning}"))?;
        }
        let (roles, users) = (plan.roles.len(), plan.users.len());
        output.line(format!("{roles} roles (4 of them built in) and {users} users are valid"))?;
        Ok(output.json(&json!({ "roles": roles, "users": users, "warnings": warnings }))?)
    }
}
