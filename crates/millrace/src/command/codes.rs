//! `millrace codes`: why a record becomes a dead letter.
use clap::Args;
use event::RejectCode;
use serde_json::json;

use crate::{error::Error, output::Output, table::Table};

/// Print the codes of dead letters: each is metric label, Kafka header and ClickHouse column.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace codes
  millrace codes --json | jq -r '.[].code'")]
pub(crate) struct Codes {}

impl Codes {
    pub(crate) fn run(&self, output: &mut Output) -> Result<(), Error> {
        let mut table = Table::new(&["code", "meaning"]);
        let mut list = Vec::new();
        for code in RejectCode::ALL {
            table.row([code.as_str().into(), code.meaning().into()]);
            list.push(json!({ "code": code.as_str(), "meaning": code.meaning() }));
        }
        output.table(&table)?;
        Ok(output.json(&list)?)
    }
}
