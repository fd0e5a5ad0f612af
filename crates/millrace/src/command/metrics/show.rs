//! `millrace metrics show`: one metric with its definitions.
use clap::Args;
use serde_json::json;

use crate::{
    context::Context,
    error::Error,
    metrics::{catalogue::MetricCatalogue, query, rows::key, views},
};

/// Show what a metric means, its dimensions and its SQL
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace metrics show vip_open_rate")]
pub(crate) struct ShowMetric {
    /// Name of the metric
    name: String,
}

impl ShowMetric {
    pub(super) fn run(&self, catalogue: &MetricCatalogue, context: &mut Context) -> Result<(), Error> {
        let metric = catalogue.metric(&self.name).map_err(Error::Usage)?;
        let views = views::views(&aggregate::cubes(&context.settings)?);
        let output = &mut context.output;
        output.line(format!(
            "{}  {} · {}  version {}, {}, {}",
            metric.name,
            metric.title.zh,
            metric.title.en,
            metric.version,
            metric.unit.words().1,
            metric.kind.as_str()
        ))?;
        let mut shown = Vec::new();
        for definition in &metric.definitions {
            let view = views.get(&definition.cube);
            let by = view.map(|view| query::dimensions(definition, view)).unwrap_or_default();
            let steps: Vec<&str> = definition.steps.iter().map(|step| step.as_str()).collect();
            output.line("")?;
            output.line(&definition.name)?;
            output.line(format!("  {}", definition.words.zh))?;
            output.line(format!("  {}", definition.words.en))?;
            output.line(format!("  cube      {}", definition.cube))?;
            output.line(format!("  steps     {}", steps.join(" ")))?;
            if !definition.each.is_empty() {
                output.line(format!("  always by {}", definition.each.join(" ")))?;
            }
            output.line(format!("  by        {}", by.join(" ")))?;
            for line in definition.sql.lines() {
                output.line(format!("    {line}"))?;
            }
            shown.push(json!({
                "name": definition.name, "words": definition.words, "cube": definition.cube, "steps": steps,
                "each": definition.each, "by": by, "sql": definition.sql,
            }));
        }
        Ok(output.json(&json!({
            "name": metric.name, "version": metric.version, "title": metric.title,
            "unit": key(&metric.unit), "kind": metric.kind, "definitions": shown,
        }))?)
    }
}
