//! `millrace activity export`: the registry as `import` reads it.
use clap::Args;

use super::registered;
use crate::{context::Context, error::Error};

/// Print every activity as a line of JSON, ordered by ID, ready to be imported.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace activity export > activities.jsonl
  millrace activity export | jq -c 'select(.owner == \"growth\")' > growth.jsonl")]
pub(crate) struct Export {}

impl Export {
    pub(super) fn run(&self, context: &mut Context) -> Result<(), Error> {
        for activity in registered(context)?.values() {
            context.output.json_line(activity)?;
        }
        Ok(context.output.flush()?)
    }
}
