//! `millrace access show`: what each role and user of a file may read.
use clap::Args;
use serde_json::{Value, json};

use super::FileArgument;
use crate::{
    access::{
        built_in::BuiltInRole,
        file::{AccessFile, Apps, TeamRole},
    },
    context::Context,
    error::Error,
    output::table::{Column::Text, table},
};

/// Print what each role may read, and who has it
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace access show
  millrace access show access.toml --json | jq '.[] | select(.users | index(\"alice\"))'")]
pub(crate) struct ShowAccess {
    #[command(flatten)]
    file: FileArgument,
}

impl ShowAccess {
    pub(super) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let (file, _) = super::read(context, &self.file.file)?;
        let mut table = table(&[
            Text("role"),
            Text("apps"),
            Text("cubes"),
            Text("raw"),
            Text("query limits"),
            Text("users"),
        ]);
        let mut list: Vec<Value> = Vec::new();
        for (name, role) in &file.roles {
            let (apps, cubes) = (apps(role), role.cubes.iter().cloned().collect::<Vec<_>>());
            let users = users(&file, name);
            table.add_row([
                name.clone(),
                apps.join(" "),
                cubes.join(" "),
                if role.raw { "yes" } else { "no" }.to_owned(),
                limits(role),
                users.join(" "),
            ]);
            list.push(
                json!({ "role": name, "apps": apps, "cubes": cubes, "raw": role.raw, "limits": limits(role), "users": users }),
            );
        }
        for role in BuiltInRole::ALL {
            let users = users(&file, role.name());
            let built_in = "built in".to_owned();
            table.add_row([
                role.name().to_owned(),
                built_in,
                String::new(),
                String::new(),
                String::new(),
                users.join(" "),
            ]);
            list.push(json!({ "role": role.name(), "built_in": true, "users": users }));
        }
        context.output.table(&table)?;
        Ok(context.output.json(&list)?)
    }
}

fn apps(role: &TeamRole) -> Vec<String> {
    match &role.apps {
        Apps::All => vec!["*".into()],
        Apps::Only(apps) => apps.iter().cloned().collect(),
    }
}

fn limits(role: &TeamRole) -> String {
    let limits = &role.limits;
    format!("{} s, {}, {} rows", limits.execution_time.as_secs(), limits.memory, limits.result_rows)
}

fn users(file: &AccessFile, role: &str) -> Vec<String> {
    let users = file.users.iter().filter(|(_, user)| user.roles.contains(role));
    users.map(|(name, _)| name.clone()).collect()
}
