//! `millrace access check`: the mistakes in a file, where the server differs from it, and what the version of the server means
//! for row policies.
use std::time::Duration;

use aggregate::server;
use clap::Args;
use clickhouse::Client;
use runtime::config::Settings;
use serde_json::json;

use super::{FileArgument, server_facts};
use crate::{
    access::{drift, plan::AccessPlan, version},
    context::Context,
    error::Error,
    output::note,
};

const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Print all mistakes in a file of roles and users, and where the server differs from it
///
/// The server is compared if the user may see its roles and users (SHOW ACCESS). Passwords are not compared, because the server
/// does not show them. `millrace access show` reads the file without a server. Also warns of a ClickHouse version that has known ways around row policies.
#[derive(Debug, Args)]
#[command(after_help = "\
Exits with 2 if FILE has a mistake, and with 1 if the server differs from it or returns an error. A warning does not change
the exit code, nor does a server that does not reply or whose roles the user may not see: then `compared` is false in --json.

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
        let client = server::client(settings);
        let version = tokio.block_on(async {
            let query = client.query("SELECT version()");
            tokio::time::timeout(REPLY_TIMEOUT, query.fetch_one::<String>()).await
        });
        let (warnings, comparison): (Vec<String>, _) = match version {
            Ok(Ok(version)) => (
                version::advice(&version).into_iter().collect(),
                tokio.block_on(compare(&client, settings, &plan))?,
            ),
            Ok(Err(error)) => return Err(server::failed(settings, "", &error).into()),
            Err(_) => (Vec::new(), Comparison::NotDone(format!("no reply at {}", settings.clickhouse.url))),
        };
        for warning in &warnings {
            output.line(format!("warning: {warning}"))?;
        }
        let (roles, users) = (plan.roles.len(), plan.users.len());
        output.line(format!("{roles} roles (4 of them built in) and {users} users are valid"))?;
        let is_compared = matches!(comparison, Comparison::Done(_));
        let differences = match comparison {
            Comparison::Done(differences) => differences,
            Comparison::NotDone(reason) => {
                note(format!("note: clickhouse is not compared with the file: {reason}"));
                Vec::new()
            }
        };
        for difference in &differences {
            output.line(difference)?;
        }
        output.json(&json!({
            "roles": roles, "users": users, "warnings": warnings, "compared": is_compared, "differences": differences,
        }))?;
        if differences.is_empty() {
            return Ok(());
        }
        let count = match differences.len() {
            1 => "1 difference".to_owned(),
            count => format!("{count} differences"),
        };
        let file = self.file.file.display();
        Err(Error::Failed(format!(
            "{count} between {file} and clickhouse: run millrace access apply, or render the file of users.d again"
        )))
    }
}

enum Comparison {
    /// One line for each difference.
    Done(Vec<String>),
    /// With the reason.
    NotDone(String),
}

async fn compare(client: &Client, settings: &Settings, plan: &AccessPlan) -> Result<Comparison, Error> {
    let failed = |error| server::failed(settings, "", &error);
    if !server_facts::may_read(client).await.map_err(failed)? {
        let user = &settings.clickhouse.user;
        return Ok(Comparison::NotDone(format!("user `{user}` may not see roles and users (SHOW ACCESS)")));
    }
    let (storage, found) = server_facts::read(client, plan).await.map_err(failed)?;
    let expected = drift::expected(plan, storage);
    let missing = expected.difference(&found).map(|fact| format!("missing: {fact}"));
    let unexpected = found.difference(&expected).map(|fact| format!("not in the file: {fact}"));
    Ok(Comparison::Done(missing.chain(unexpected).collect()))
}
