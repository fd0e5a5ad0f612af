//! `millrace access render`: what `apply` would tell an empty server, as text.
use clap::Args;

use super::FileArgument;
use crate::{
    access::{
        sql::{self, FoundAccess},
        xml,
    },
    context::Context,
    error::Error,
};
use std::io::Write;

/// Print the roles and users of a file as SQL, or as a file for users.d
///
/// Connects to no server. The passwords are printed as SHA-256.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace access render access.toml
  millrace access render access.toml --xml > /etc/clickhouse-server/users.d/millrace-access.xml")]
pub(crate) struct RenderAccess {
    #[command(flatten)]
    file: FileArgument,
    /// Print a file for the directory users.d of ClickHouse instead of SQL
    #[arg(long)]
    xml: bool,
}

impl RenderAccess {
    pub(super) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let plan = super::plan(context, &self.file.file)?;
        let text = if self.xml {
            xml::render(&plan)?
        } else {
            let statements = sql::statements(&plan, &FoundAccess::default());
            statements.iter().map(|statement| format!("{statement};\n")).collect()
        };
        context.output.raw().write_all(text.as_bytes())?;
        Ok(context.output.flush()?)
    }
}
