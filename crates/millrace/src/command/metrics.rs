//! `millrace metrics`: what each number means, and the numbers themselves.
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    context::Context,
    error::Error,
    metrics::{
        Catalogue, Definition, Metric,
        answer::{self, Answer, Source},
        cubes,
        load::written,
        period::{Bound, Calendar, Step},
        show,
        statement::{self, Question},
    },
    output::Output,
    table::Table,
};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
EXAMPLES
  millrace metrics list
  millrace metrics show active_devices_day
  millrace metrics query active_devices_day --definition login --by platform --from 14d")]
pub(crate) enum Metrics {
    List(List),
    Show(Show),
    Query(Query),
}

/// List every metric with its definitions.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace metrics list
  millrace metrics list --json | jq -r '.[] | select(.kind == \"ratio\") | .name'")]
pub(crate) struct List {}

/// Show what a metric means, what it can be split by, and its SQL.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace metrics show vip_open_rate")]
pub(crate) struct Show {
    /// Name of the metric
    name: String,
}

/// Ask for a metric.
///
/// Days are those of the business time zone. Numbers of different devices are never added up: each answer is made
/// for exactly the periods and dimensions it was asked for.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace metrics query new_devices --from 2026-03-01 --to 2026-03-07 --by channel_group
  millrace metrics query active_devices_day --definition core_flow --from 30d
  millrace metrics query plays --by hour,platform --from 1d
  millrace metrics query events --step minute --from 30m --app web-main
  millrace metrics query retention_day_7 --step day --from 30d --csv > retention.csv")]
pub(crate) struct Query {
    /// Name of the metric
    name: String,
    /// Split by this dimension; repeat it, or use commas, for several
    #[arg(long, value_name = "DIMENSION", value_delimiter = ',')]
    by: Vec<String>,
    /// First day, or how far back: 2026-03-01, 7d, 24h, 30m; without it as long as the metric needs
    #[arg(long, value_name = "DAY|LENGTH")]
    from: Option<Bound>,
    /// Last day, or how much of the end to leave out: 2026-03-07, 1d; without it up to now
    #[arg(long, value_name = "DAY|LENGTH")]
    to: Option<Bound>,
    /// Which definition of the metric; without it the first
    #[arg(long)]
    definition: Option<String>,
    /// One value for each of these; without it one for the whole range
    #[arg(long, value_enum)]
    step: Option<Step>,
    /// Count this application alone
    #[arg(long, value_name = "APP_ID")]
    app: Option<String>,
    /// Print CSV
    #[arg(long)]
    csv: bool,
    /// Answer as if it were this moment, RFC 3339
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
}

impl Metrics {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let catalogue = Catalogue::built_in().map_err(Error::Failed)?;
        match self {
            Self::List(_) => list(&catalogue, &mut context.output),
            Self::Show(show) => show.run(&catalogue, context),
            Self::Query(query) => query.run(&catalogue, context),
        }
    }
}

fn list(catalogue: &Catalogue, output: &mut Output) -> Result<(), Error> {
    let mut table = Table::new(&["name", "title", "unit", "kind", "definitions"]);
    let mut list = Vec::new();
    for metric in &catalogue.metrics {
        let names: Vec<&str> = metric.definitions.iter().map(|definition| definition.name.as_str()).collect();
        table.row([
            metric.name.clone(),
            format!("{} {}", metric.title.zh, metric.title.en),
            metric.unit.words().1.into(),
            metric.kind.as_str().into(),
            names.join(" "),
        ]);
        list.push(json!({
            "name": metric.name, "version": metric.version, "title": metric.title,
            "unit": written(&metric.unit), "kind": metric.kind, "definitions": names,
        }));
    }
    output.table(&table)?;
    Ok(output.json(&list)?)
}

impl Show {
    fn run(&self, catalogue: &Catalogue, context: &mut Context) -> Result<(), Error> {
        let metric = catalogue.metric(&self.name).map_err(Error::Usage)?;
        let views = cubes::views(&aggregate::cubes(&context.settings)?);
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
            let by = view.map(|view| statement::dimensions(definition, view)).unwrap_or_default();
            let steps: Vec<&str> = definition.steps.iter().map(|step| step.as_str()).collect();
            output.line(format!(
                "\n{}\n  {}\n  {}",
                definition.name, definition.words.zh, definition.words.en
            ))?;
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
            "unit": written(&metric.unit), "kind": metric.kind, "definitions": shown,
        }))?)
    }
}

impl Query {
    fn run(&self, catalogue: &Catalogue, context: &mut Context) -> Result<(), Error> {
        let Context { settings, output, tokio } = context;
        if self.csv && output.is_json() {
            return Err(Error::Usage("--csv and --json exclude each other: leave one out".into()));
        }
        let metric = catalogue.metric(&self.name).map_err(Error::Usage)?;
        let definition = metric.definition(self.definition.as_deref()).map_err(Error::Usage)?;
        let calendar = Calendar::new(&settings.business_timezone, self.at.unwrap_or_else(Timestamp::now))
            .map_err(Error::Usage)?;
        let question = self.question(metric, definition, &calendar).map_err(Error::Usage)?;
        let source = Source::new(settings, &aggregate::cubes(settings)?);
        let answer = tokio.block_on(source.ask(&question, &calendar))?;
        if self.csv {
            return csv(output, &question, &answer);
        }
        print(output, &question, &answer)?;
        Ok(output.json(&json!({
            "metric": metric.name, "version": metric.version, "definition": definition.name,
            "unit": written(&metric.unit), "kind": metric.kind, "by": answer.dimensions, "step": question.step,
            "from": question.range.from.timestamp().to_string(), "to": question.range.to.timestamp().to_string(),
            "timezone": settings.business_timezone, "rows": answer.rows,
        }))?)
    }

    fn question<'a>(
        &self,
        metric: &'a Metric,
        definition: &'a Definition,
        calendar: &Calendar,
    ) -> Result<Question<'a>, String> {
        let step = statement::step(metric, definition, self.step)?;
        let whole = statement::whole(definition, step);
        let range = calendar.range(self.from, self.to, definition.last, whole)?;
        Ok(Question { metric, definition, by: self.by.clone(), step, range, app: self.app.clone() })
    }
}

/// Headline, definition, the values, and for a series a line of bars.
fn print(output: &mut Output, question: &Question<'_>, answer: &Answer) -> Result<(), Error> {
    let Question { metric, definition, range, step, .. } = question;
    let last = range.to.timestamp() - jiff::Span::new().nanoseconds(1);
    let format = if *step <= Step::Hour { "%Y-%m-%d %H:%M" } else { "%Y-%m-%d" };
    output.line(format!(
        "{} · {} ({}), {}, {} to {}",
        metric.title.zh,
        metric.title.en,
        definition.name,
        metric.unit.words().1,
        range.from.strftime(format),
        last.to_zoned(range.to.time_zone().clone()).strftime(format)
    ))?;
    output.line(format!("{}\n{}\n", definition.words.zh, definition.words.en))?;
    if answer.rows.is_empty() {
        output.line("no data in this range")?;
        return Ok(());
    }
    let stepped = *step != Step::Total;
    let mut titles: Vec<&str> = Vec::new();
    if stepped {
        titles.push(step.as_str());
    }
    titles.extend(answer.dimensions.iter().map(String::as_str));
    titles.push(">value");
    if metric.interval {
        titles.extend([">low", ">high"]);
    }
    let mut table = Table::new(&titles);
    for row in &answer.rows {
        let mut cells = Vec::with_capacity(titles.len());
        if stepped {
            cells.push(row.time.clone());
        }
        cells.extend(row.key.iter().map(|text| if text.is_empty() { "''".to_owned() } else { text.clone() }));
        cells.push(show::value(metric.unit, row.value));
        if metric.interval {
            cells.extend([row.low, row.high].map(|bound| show::value(metric.unit, bound)));
        }
        table.cells(cells);
    }
    output.table(&table)?;
    let times = answer::times(question)?;
    if stepped && times.len() > 1 {
        output.line("")?;
        output.table(&sparklines(question, answer, &times))?;
    }
    Ok(())
}

fn sparklines(question: &Question<'_>, answer: &Answer, times: &[String]) -> Table {
    let metric = question.metric;
    let mut titles: Vec<&str> = answer.dimensions.iter().map(String::as_str).collect();
    titles.extend(["trend", ">last"]);
    let mut table = Table::new(&titles);
    for (key, rows) in answer::series(answer) {
        // Nothing counted is 0; nothing divided is not known.
        let absent = if metric.kind.counts() { Some(0.0) } else { None };
        let values: Vec<Option<f64>> = times
            .iter()
            .map(|time| rows.iter().find(|row| row.time == *time).map_or(absent, |row| row.value))
            .collect();
        let mut cells = key.to_vec();
        cells.push(show::sparkline(&values));
        cells.push(show::value(metric.unit, values.last().copied().flatten()));
        table.cells(cells);
    }
    table
}

fn csv(output: &mut Output, question: &Question<'_>, answer: &Answer) -> Result<(), Error> {
    let mut titles = vec!["time".to_owned()];
    titles.extend(answer.dimensions.iter().cloned());
    titles.push("value".into());
    let interval = question.metric.interval;
    if interval {
        titles.extend(["low".into(), "high".into()]);
    }
    output.line(csv_line(&titles))?;
    for row in &answer.rows {
        // Not known is an empty cell, as readers of CSV expect it.
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let mut cells = vec![row.time.clone()];
        cells.extend(row.key.iter().cloned());
        cells.push(number(row.value));
        if interval {
            cells.extend([number(row.low), number(row.high)]);
        }
        output.line(csv_line(&cells))?;
    }
    Ok(())
}

/// As RFC 4180 has it: a cell with a comma, quote or line break stands in quotes.
fn csv_line(cells: &[String]) -> String {
    let quoted = cells.iter().map(|cell| {
        if cell.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.clone()
        }
    });
    quoted.collect::<Vec<_>>().join(",")
}

fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "it must be RFC 3339 with a zone, such as 2026-08-01T00:00:00+08:00".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_csv_are_quoted_where_they_must_be() {
        for (cells, line) in
            [(vec!["a", "b c"], "a,b c"), (vec!["a,b", "say \"hi\"", ""], "\"a,b\",\"say \"\"hi\"\"\",")]
        {
            let cells: Vec<String> = cells.into_iter().map(str::to_owned).collect();
            assert_eq!(csv_line(&cells), line);
        }
    }
}
