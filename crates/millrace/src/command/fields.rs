//! `millrace fields`: what an event can carry.
use clap::Args;
use event::{FIELDS, FieldKind, Source};
use serde_json::json;

use crate::{error::Error, output::Output, table::Table};

/// Print the catalogue of event fields: the names that cubes, rules and `millrace cat` use.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace fields
  millrace fields --json | jq -r '.[] | select(.source == \"enrich\") | .name'")]
pub(crate) struct Fields {}

impl Fields {
    pub(crate) fn run(&self, output: &mut Output) -> Result<(), Error> {
        let mut table = Table::new(&["name", "type", "source", "meaning"]);
        let mut list = Vec::new();
        for field in FIELDS {
            let (kind, source) = (kind(field.kind()), source(field.source()));
            table.row([field.name().into(), kind.into(), source.into(), field.meaning().into()]);
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

fn source(source: Source) -> &'static str {
    match source {
        Source::Client => "client",
        Source::Ingest => "ingest",
        Source::Enrich => "enrich",
    }
}
