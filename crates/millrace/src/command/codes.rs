//! `millrace codes`: the reasons for which an event is rejected.
use clap::Args;
use event::RejectCode;
use serde_json::json;

use crate::{
    error::Error,
    output::{
        Output,
        table::{Column::Text, table},
    },
};

/// Print the dead-letter codes, which are used as metric label, Kafka header and ClickHouse column
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace codes
  millrace codes --json | jq -r '.[].code'")]
pub(crate) struct Codes {}

impl Codes {
    pub(crate) fn run(&self, output: &mut Output) -> Result<(), Error> {
        let mut table = table(&[Text("code"), Text("meaning")]);
        let mut list = Vec::new();
        for code in RejectCode::ALL {
            table.add_row([code.as_str(), code.meaning()]);
            list.push(json!({ "code": code.as_str(), "meaning": code.meaning() }));
        }
        output.table(&table)?;
        Ok(output.json(&list)?)
    }
}
