//! `millrace access`: checks `access.toml`, and brings the roles and users of ClickHouse to it.
mod apply;
mod check;
mod render;
mod server_facts;
mod show;

use std::{
    fs,
    path::{Path, PathBuf},
};

use aggregate::Cubes;
use clap::{Args, Subcommand};
use runtime::config::check_permissions;
use sha2::{Digest, Sha256};

use crate::{
    access::{file::AccessFile, plan::AccessPlan},
    context::Context,
    error::Error,
    output,
};

/// Manage who may see which numbers
///
/// The file has roles, with the applications and subjects that each may read, and users with roles. ClickHouse enforces it:
/// with grants on views, row policies by app_id, and limits that a user cannot change. deploy/access.md describes the file,
/// the built-in roles, and what each role may do.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
EXAMPLES
  millrace access check access.toml
  millrace access show access.toml
  millrace access apply access.toml
  millrace access render access.toml --xml > /etc/clickhouse-server/users.d/millrace-access.xml")]
pub(crate) enum AccessCommand {
    Check(check::CheckAccess),
    Show(show::ShowAccess),
    Apply(apply::ApplyAccess),
    Render(render::RenderAccess),
}

impl AccessCommand {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        match self {
            Self::Check(check) => check.run(context),
            Self::Show(show) => show.run(context),
            Self::Apply(apply) => apply.run(context),
            Self::Render(render) => render.run(context),
        }
    }
}

/// The file of every subcommand.
#[derive(Debug, Args)]
struct FileArgument {
    /// File of roles and users
    #[arg(value_name = "FILE", default_value = "access.toml")]
    file: PathBuf,
}

/// Reads the file. Prints every mistake to stderr.
fn read(context: &Context, path: &Path) -> Result<(AccessFile, Cubes), Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::File { path: path.to_path_buf(), source })?;
    let cubes = aggregate::cubes(&context.settings)?;
    match AccessFile::parse(&text, &cubes, &context.settings.ingest.apps) {
        Ok(file) => Ok((file, cubes)),
        Err(problems) => Err(listed(path, &problems)),
    }
}

/// Reads the file and the passwords that it names.
fn plan(context: &Context, path: &Path) -> Result<AccessPlan, Error> {
    let (file, cubes) = read(context, path)?;
    let beside = path.parent().unwrap_or(Path::new(""));
    let sha256_of = |password: &Path| sha256_of_file(&beside.join(password));
    AccessPlan::new(&file, &context.settings.clickhouse.database, &cubes, sha256_of)
        .map_err(|problems| listed(path, &problems))
}

fn listed(path: &Path, problems: &[String]) -> Error {
    for problem in problems {
        output::note(problem);
    }
    let count =
        if problems.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len()) };
    Error::Usage(format!("{count} in {}", path.display()))
}

/// The hash of the password in a file, without the line break at its end.
fn sha256_of_file(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("password_file {shown}: {error}"))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(format!("password_file {shown} is empty: write a password into it"));
    }
    check_permissions("password_file", &shown.to_string()).map_err(|error| error.to_string())?;
    Ok(Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect())
}
