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
    output::note,
};

/// Bring the roles and users of ClickHouse to a file
///
/// Creates, changes and removes roles, users, row policies, quotas and settings profiles, and prints each change as SHOW
/// ACCESS has it: - before, + after. Objects that this command did not create stay as they are: if a user of the file or a row
/// policy on a view is among them, the command names it and changes nothing. Passwords are set again and not printed. It needs
/// a user that may manage access and is not in the file.
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
        let conflicts = sql::conflicts(&plan, &found);
        if !conflicts.is_empty() {
            conflicts.iter().for_each(note);
            return Err(Error::Failed("nothing has been changed: see above".into()));
        }
        let statements = sql::statements(&plan, &found);
        if self.dry_run {
            let statements: Vec<String> = statements.iter().map(|one| sql::without_hashes(one)).collect();
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

/// Row policies in the database for the pipeline's roles and users that are not of the pipeline.
const FOREIGN_POLICIES: &str = "\
SELECT short_name, table FROM system.row_policies WHERE database = ? AND NOT startsWith(short_name, ?) AND storage != 'users_xml' \
AND (apply_to_all OR hasAny(apply_to_list, ?) OR arrayExists(name -> startsWith(name, ?), apply_to_list)) ORDER BY ALL";

/// Whoever has a role of the pipeline, and what the pipeline's roles and users have.
const GRANTED: &str = "\
SELECT coalesce(user_name, role_name, ''), granted_role_name FROM system.role_grants WHERE startsWith(granted_role_name, ?) \
OR has(?, ifNull(user_name, '')) OR startsWith(ifNull(role_name, ''), ?) ORDER BY ALL";

/// What the server has of this pipeline.
async fn found(client: &Client, settings: &Settings, database: &str) -> Result<FoundAccess, Error> {
    let (roles, of_users) = (role_prefix(database), user_prefix(database));
    let failed = |error| server::failed(settings, "", &error);
    let names = async |table: &str, prefix: &str| {
        let query = format!("SELECT name FROM system.{table} WHERE startsWith(name, ?) ORDER BY name");
        client.query(&query).bind(prefix).fetch_all::<String>().await.map_err(failed)
    };
    let profiles = names("settings_profiles", &of_users).await?;
    let all_users = "SELECT name, storage FROM system.users ORDER BY name";
    let all_users = client.query(all_users).fetch_all::<(String, String)>().await.map_err(failed)?;
    let (users, foreign): (Vec<_>, Vec<_>) =
        all_users.into_iter().partition(|(user, _)| profiles.contains(&format!("{of_users}{user}")));
    let users: Vec<String> = users.into_iter().map(|(user, _)| user).collect();
    let foreign = foreign.into_iter().filter(|(_, storage)| storage != "users_xml");
    let own_rights =
        "SELECT DISTINCT assumeNotNull(user_name) FROM system.grants WHERE has(?, user_name) ORDER BY 1";
    let policies = "SELECT short_name, table FROM system.row_policies WHERE database = ? AND startsWith(short_name, ?) ORDER BY ALL";
    Ok(FoundAccess {
        roles: names("roles", &roles).await?,
        foreign_users: foreign.map(|(user, _)| user).collect(),
        with_own_rights: client.query(own_rights).bind(&users).fetch_all().await.map_err(failed)?,
        quotas: names("quotas", &of_users).await?,
        profiles,
        policies: client.query(policies).bind(database).bind(&roles).fetch_all().await.map_err(failed)?,
        foreign_policies: {
            let query = client.query(FOREIGN_POLICIES).bind(database).bind(&roles).bind(&users).bind(&roles);
            query.fetch_all().await.map_err(failed)?
        },
        granted: {
            let query = client.query(GRANTED).bind(&roles).bind(&users).bind(&roles);
            query.fetch_all().await.map_err(failed)?
        },
        current_user: client.query("SELECT currentUser()").fetch_one().await.map_err(failed)?,
        users,
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
