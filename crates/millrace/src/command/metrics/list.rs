//! `millrace metrics list`: one line per metric.
use clap::Args;
use serde_json::json;

use crate::{
    error::Error,
    metrics::{catalogue::MetricCatalogue, rows::key},
    output::{
        Output,
        table::{Column::Text, table},
    },
};

/// List every metric with its definitions
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace metrics list
  millrace metrics list --json | jq -r '.[] | select(.kind == \"ratio\") | .name'")]
pub(crate) struct ListMetrics {}

impl ListMetrics {
    pub(super) fn run(&self, catalogue: &MetricCatalogue, output: &mut Output) -> Result<(), Error> {
        let mut table =
            table(&[Text("name"), Text("title"), Text("unit"), Text("kind"), Text("definitions")]);
        let mut list = Vec::new();
        for metric in &catalogue.metrics {
            let names: Vec<&str> =
                metric.definitions.iter().map(|definition| definition.name.as_str()).collect();
            table.add_row([
                metric.name.clone(),
                format!("{} {}", metric.title.zh, metric.title.en),
                metric.unit.words().1.into(),
                metric.kind.as_str().into(),
                names.join(" "),
            ]);
            list.push(json!({
                "name": metric.name, "version": metric.version, "title": metric.title,
                "unit": key(&metric.unit), "kind": metric.kind, "definitions": names,
            }));
        }
        output.table(&table)?;
        Ok(output.json(&list)?)
    }
}
