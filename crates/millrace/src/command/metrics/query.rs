//! `millrace metrics query`: the values of a metric.
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::{
    csv::{self, Cells},
    text,
};
use crate::{
    command::value_parsers,
    context::Context,
    error::Error,
    metrics::{
        catalogue::{Definition, Metric, MetricCatalogue},
        clickhouse::MetricClient,
        period::{BusinessCalendar, RangeEnd, TimeStep},
        query::{self, MetricQuery},
        rows::key,
    },
};

/// Query a metric
///
/// Days are days of the business time zone. Unique devices are never added up: each value is computed for its own period and
/// dimensions.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace metrics query new_devices --from 2026-03-01 --to 2026-03-07 --by channel_group
  millrace metrics query active_devices_day --definition core_flow --from 30d
  millrace metrics query plays --by hour,platform --from 1d
  millrace metrics query events --step minute --from 30m --app web-main
  millrace metrics query retention_day_7 --step day --from 30d --csv > retention.csv")]
pub(crate) struct QueryMetric {
    /// Name of the metric
    name: String,
    /// Dimension to split by, repeatable, also separated by commas
    #[arg(long, value_name = "DIMENSION", value_delimiter = ',')]
    by: Vec<String>,
    /// First day, or how far back: 2026-03-01, 7d, 24h, 30m; the default depends on the metric
    #[arg(long, value_name = "DAY|DURATION")]
    from: Option<RangeEnd>,
    /// Last day, or how much of the end to leave out: 2026-03-07, 1d; the default is now
    #[arg(long, value_name = "DAY|DURATION")]
    to: Option<RangeEnd>,
    /// Definition of the metric; the default is the first one
    #[arg(long)]
    definition: Option<String>,
    /// Length of the periods; the default is the whole range, if the metric has it
    #[arg(long, value_enum)]
    step: Option<TimeStep>,
    /// Count this app only
    #[arg(long, value_name = "APP_ID")]
    app: Option<String>,
    /// Print CSV; a text that begins like a formula gets an apostrophe, and control characters are printed as codes
    #[arg(long)]
    csv: bool,
    /// Print the texts of the CSV as they are
    #[arg(long, requires = "csv")]
    raw: bool,
    /// Use this time as the current time, RFC 3339
    #[arg(long, value_name = "TIME", value_parser = value_parsers::timestamp)]
    at: Option<Timestamp>,
}

impl QueryMetric {
    pub(super) fn run(&self, catalogue: &MetricCatalogue, context: &mut Context) -> Result<(), Error> {
        let Context { settings, output, tokio } = context;
        if self.csv && output.is_json() {
            return Err(Error::Usage("--csv and --json cannot be used together".into()));
        }
        let metric = catalogue.metric(&self.name).map_err(Error::Usage)?;
        let definition = metric.definition(self.definition.as_deref()).map_err(Error::Usage)?;
        let calendar =
            BusinessCalendar::new(settings.business_timezone.name(), self.at.unwrap_or_else(Timestamp::now))
                .map_err(Error::Usage)?;
        let query = self.metric_query(metric, definition, &calendar).map_err(Error::Usage)?;
        let client = MetricClient::new(settings, &aggregate::cubes(settings)?);
        let values = tokio.block_on(client.run(&query, &calendar))?;
        if self.csv {
            let cells = if self.raw { Cells::Raw } else { Cells::Safe };
            return csv::write(output, &query, &values, cells);
        }
        text::print(output, &query, &values)?;
        Ok(output.json(&json!({
            "metric": metric.name, "version": metric.version, "definition": definition.name,
            "unit": key(&metric.unit), "kind": metric.kind, "by": values.dimensions, "step": query.step,
            "from": query.range.from.timestamp().to_string(), "to": query.range.to.timestamp().to_string(),
            "timezone": settings.business_timezone.name(), "rows": values.rows,
        }))?)
    }

    fn metric_query<'a>(
        &self,
        metric: &'a Metric,
        definition: &'a Definition,
        calendar: &BusinessCalendar,
    ) -> Result<MetricQuery<'a>, String> {
        let step = query::step(metric, definition, self.step)?;
        let whole = query::whole(definition, step);
        let range = calendar.range(self.from, self.to, definition.last, whole)?;
        Ok(MetricQuery { metric, definition, by: self.by.clone(), step, range, app: self.app.clone() })
    }
}
