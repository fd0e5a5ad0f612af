//! `millrace activity export`: the registry in the format that `import` reads.
use clap::Args;

use crate::{context::Context, error::Error, registry};

/// Print every activity as a line of JSON, ordered by ID, for `millrace activity import`
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace activity export > activities.jsonl
  millrace activity export | jq -c 'select(.owner == \"growth\")' > growth.jsonl")]
pub(crate) struct ExportActivities {}

impl ExportActivities {
    pub(super) fn run(&self, context: &mut Context) -> Result<(), Error> {
        for activity in registry::read(context)?.values() {
            context.output.json_line(activity)?;
        }
        Ok(context.output.flush()?)
    }
}
