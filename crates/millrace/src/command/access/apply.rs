//! `millrace access apply`: brings the roles and users of a server to a file, and prints what has changed there.
use std::collections::BTreeSet;

use aggregate::server;
use clap::Args;
use clickhouse::Client;
use runtime::config::Settings;
use serde_json::json;

use super::FileArgument;
use crate::{
    access::{
        plan::{AccessPlan, role_prefix, user_prefix},
        sql::{self, FoundAccess},
    },
    command::author::Author,
    context::Context,
    error::Error,
};

/// Bring the roles and users of ClickHouse to a file
///
/// Creates, changes and removes roles, users, row policies, quotas and settings profiles, and prints each change as SHOW
/// ACCESS has it: - before, + after. Objects that this command did not create stay as they are. Passwords are set again and
/// not printed. It needs a user that may manage access.
///
/// Run it before `millrace migrate`: on a new server it creates the user that migrates, with whose rights the views read the
/// tables, and after a change of the cubes it gives this user and the readers their rights on the new views.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace access apply access.toml
  millrace access apply access.toml --dry-run      print the statements and change nothing

  A new server, or other cubes:
  millrace access apply access.toml
  MILLRACE__CLICKHOUSE__USER=millrace_migrate MILLRACE__CLICKHOUSE__PASSWORD_FILE=secrets/migrate millrace migrate")]
pub(crate) struct ApplyAccess {
    #[command(flatten)]
    file: FileArgument,
    /// Print the statements and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    author: Author,
}

impl ApplyAccess {
    pub(super) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let plan = super::plan(context, &self.file.file)?;
        let Context { settings, output, tokio } = context;
        let comment = format!("millrace access apply by {}", self.author.name());
        let client = server::client(settings).with_setting("log_comment", &comment);
        let found = tokio.block_on(found(&client, settings, &plan.database))?;
        let statements = sql::statements(&plan, &found);
        if self.dry_run {
            for statement in &statements {
                output.line(format!("{statement};"))?;
            }
            return Ok(output.json(&json!({ "statements": statements }))?);
        }
        let before = tokio.block_on(access_lines(&client, settings, &plan, &found))?;
        for statement in &statements {
            let executed = tokio.block_on(client.query_raw(statement).execute());
            executed.map_err(|error| server::failed(settings, "", &error))?;
        }
        let after = tokio.block_on(access_lines(&client, settings, &plan, &found))?;
        let removed: Vec<String> = before.difference(&after).map(|line| format!("- {line}")).collect();
        let added: Vec<String> = after.difference(&before).map(|line| format!("+ {line}")).collect();
        let changes: Vec<String> = removed.into_iter().chain(added).collect();
        for change in &changes {
            output.line(change)?;
        }
        if changes.is_empty() {
            output.line("nothing has changed")?;
        }
        Ok(output.json(&json!({ "changes": changes }))?)
    }
}

/// What the server has of this pipeline.
async fn found(client: &Client, settings: &Settings, database: &str) -> Result<FoundAccess, Error> {
    let (roles, of_users) = (role_prefix(database), user_prefix(database));
    let names = async |table: &str, prefix: &str| {
        let query = format!("SELECT name FROM system.{table} WHERE startsWith(name, ?) ORDER BY name");
        let rows = client.query(&query).bind(prefix).fetch_all::<String>().await;
        rows.map_err(|error| server::failed(settings, table, &error))
    };
    let pairs = async |query: &str, prefix: &str| {
        let rows = client.query(query).bind(prefix).fetch_all::<(String, String)>().await;
        rows.map_err(|error| server::failed(settings, "", &error))
    };
    let profiles = names("settings_profiles", &of_users).await?;
    let all_users = names("users", "").await?;
    let has_profile = |user: &String| profiles.contains(&format!("{of_users}{user}"));
    let users: Vec<String> = all_users.into_iter().filter(has_profile).collect();
    let with_own_rights = client
        .query(
            "SELECT DISTINCT assumeNotNull(user_name) FROM system.grants WHERE has(?, user_name) ORDER BY 1",
        )
        .bind(&users)
        .fetch_all::<String>()
        .await
        .map_err(|error| server::failed(settings, "grants", &error))?;
    Ok(FoundAccess {
        roles: names("roles", &roles).await?,
        users,
        with_own_rights,
        quotas: names("quotas", &of_users).await?,
        profiles,
        policies: pairs(
            "SELECT short_name, table FROM system.row_policies WHERE startsWith(short_name, ?) ORDER BY short_name, table",
            &roles,
        )
        .await?,
        granted: pairs(
            "SELECT assumeNotNull(user_name), granted_role_name FROM system.role_grants \
             WHERE startsWith(granted_role_name, ?) AND user_name IS NOT NULL ORDER BY user_name, granted_role_name",
            &roles,
        )
        .await?,
    })
}

/// The lines of SHOW ACCESS that concern this pipeline.
async fn access_lines(
    client: &Client,
    settings: &Settings,
    plan: &AccessPlan,
    found: &FoundAccess,
) -> Result<BTreeSet<String>, Error> {
    let failed = |error| server::failed(settings, "", &error);
    let mut cursor = client.query_raw("SHOW ACCESS").fetch_bytes("TSVRaw").map_err(failed)?;
    let bytes = cursor.collect().await.map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter(|line| sql::concerns(plan, found, line)).map(str::to_owned).collect())
}
