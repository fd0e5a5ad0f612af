//! `millrace docs`: generates the reference of fields, limits, codes, cubes and metrics from the catalogues of the program.
mod cubes;
mod limits;
mod markdown;
mod metrics;

use std::{fs, path::PathBuf};

use aggregate::{Cubes, cube::BUILT_IN};
use clap::Args;
use event::{FIELDS, FieldOrigin, RejectCode};
use serde_json::json;

use self::markdown::{MarkdownTable, code};
use crate::{command::fields::kind, error::Error, output::Output};

/// Write the reference of event fields, dead-letter codes, cubes and metrics as Markdown
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace docs
  millrace docs --check                 fail if the file is not up to date
  millrace docs --out reference.md")]
pub(crate) struct Docs {
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "schemas/reference.md")]
    out: PathBuf,
    /// Write nothing, and fail if the file is not up to date
    #[arg(long)]
    check: bool,
}

impl Docs {
    pub(crate) fn run(&self, output: &mut Output) -> Result<(), Error> {
        let reference = reference()?;
        let file = |source| Error::File { path: self.out.clone(), source };
        let path = self.out.display();
        if self.check {
            let written = fs::read_to_string(&self.out).map_err(file)?;
            if written != reference {
                return Err(Error::Failed(format!("{path} is not up to date: run `millrace docs`")));
            }
            output.line(format!("{path} is up to date"))?;
        } else {
            fs::write(&self.out, &reference).map_err(file)?;
            output.line(format!("wrote {path}"))?;
        }
        Ok(output.json(&json!({ "file": path.to_string(), "current": true }))?)
    }
}

const HEAD: &str = "\
<!-- Generated from the catalogues in the code, schemas/cubes.toml and schemas/metrics.toml.
     Do not edit: run `cargo run -p millrace -- docs`. A test checks that this file is up to date. -->
# Reference

[Fields](#fields) · [Limits](#limits) · [Dead-letter codes](#dead-letter-codes) · [Cubes](#cubes) · [Metrics](#metrics)

How to send events: [README.md](README.md). The values of each field: [raw_event.schema.json](raw_event.schema.json).
";

/// The whole file.
fn reference() -> Result<String, Error> {
    let cubes = Cubes::parse(BUILT_IN).map_err(aggregate::Error::from)?;
    let parts =
        [HEAD.to_owned(), fields(), limits::section(), codes(), cubes::section(&cubes), metrics::section()?];
    Ok(parts.join("\n"))
}

fn fields() -> String {
    let mut text = String::from(
        "## Fields\n\nCubes, metrics, activity rules, `millrace cat` and the view `events` use these names. A field without a \
         value is '', 0 or empty.\n",
    );
    for (source, title) in [
        (FieldOrigin::Client, "Sent by clients"),
        (FieldOrigin::Ingest, "Added by ingest"),
        (FieldOrigin::Enrich, "Stamped by enrich"),
    ] {
        let mut table = MarkdownTable::new(&["field", "type", "meaning"]);
        for field in FIELDS.iter().filter(|field| field.origin() == source) {
            table.row([code(field.name()), kind(field.kind()).into(), field.meaning().into()]);
        }
        text += &format!("\n### {title}\n\n{}", table.text);
    }
    text
}

fn codes() -> String {
    let mut table = MarkdownTable::new(&["code", "meaning"]);
    for &reject in RejectCode::ALL {
        table.row([code(reject.as_str()), reject.meaning().into()]);
    }
    format!(
        "## Dead-letter codes\n\nA code is a metric label, a Kafka header and the column `code` of the view `dead_letters`. A dead \
         letter also has a `message` and a `pointer` to the field.\n\n{}",
        table.text
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_up_to_date() {
        let written = include_str!("../../../../schemas/reference.md");
        assert!(
            written == reference().unwrap(),
            "schemas/reference.md is not up to date: run `cargo run -p millrace -- docs` in the root of the repository"
        );
    }
}
