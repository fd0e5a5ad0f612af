//! `millrace fields`: the fields of an event.
use clap::Args;
use event::{FIELDS, FieldKind, FieldOrigin};
use serde_json::json;

use crate::{
    error::Error,
    output::{
        Output,
        table::{Column::Text, table},
    },
};

/// Print the catalogue of event fields, whose names cubes, rules and `millrace cat` use
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace fields
  millrace fields --json | jq -r '.[] | select(.source == \"enrich\") | .name'")]
pub(crate) struct Fields {}

impl Fields {
    pub(crate) fn run(&self, output: &mut Output) -> Result<(), Error> {
        let mut table = table(&[Text("name"), Text("type"), Text("source"), Text("meaning")]);
        let mut list = Vec::new();
        for field in FIELDS {
            let (kind, source) = (kind(field.kind()), source(field.origin()));
            table.add_row([field.name(), kind, source, field.meaning()]);
            list.push(json!({
                "name": field.name(), "type": kind, "source": source, "meaning": field.meaning(),
            }));
        }
        output.table(&table)?;
        Ok(output.json(&list)?)
    }
}

pub(super) fn kind(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text => "text",
        FieldKind::Number => "number",
        FieldKind::Key => "key",
        FieldKind::Uuid => "uuid",
        FieldKind::List => "list",
        FieldKind::Map => "map",
    }
}

fn source(source: FieldOrigin) -> &'static str {
    match source {
        FieldOrigin::Client => "client",
        FieldOrigin::Ingest => "ingest",
        FieldOrigin::Enrich => "enrich",
    }
}
