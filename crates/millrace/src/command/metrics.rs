//! `millrace metrics`: what each metric means, and its values.
mod csv;
mod list;
mod query;
mod show;
mod text;

use clap::Subcommand;

use crate::{context::Context, error::Error, metrics::catalogue::MetricCatalogue};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
EXAMPLES
  millrace metrics list
  millrace metrics show active_devices_day
  millrace metrics query active_devices_day --definition login --by platform --from 14d")]
pub(crate) enum MetricsCommand {
    List(list::ListMetrics),
    Show(show::ShowMetric),
    Query(query::QueryMetric),
}

impl MetricsCommand {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let catalogue = MetricCatalogue::built_in().map_err(Error::Failed)?;
        match self {
            Self::List(list) => list.run(&catalogue, &mut context.output),
            Self::Show(show) => show.run(&catalogue, context),
            Self::Query(query) => query.run(&catalogue, context),
        }
    }
}
