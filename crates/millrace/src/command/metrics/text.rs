//! The values of a metric as text for people.
use crate::{
    error::Error,
    metrics::{
        clickhouse::{self, MetricValues},
        format,
        period::TimeStep,
        query::MetricQuery,
    },
    output::{
        Output,
        table::{
            Column::{self, Number, Text},
            Table, table,
        },
    },
};

/// Prints title, definition and values, and a line of bars for a series.
pub(super) fn print(
    output: &mut Output,
    query: &MetricQuery<'_>,
    values: &MetricValues,
) -> Result<(), Error> {
    let MetricQuery { metric, definition, range, step, .. } = query;
    let last = range.to.timestamp() - jiff::Span::new().nanoseconds(1);
    let time_format = if *step <= TimeStep::Hour { "%Y-%m-%d %H:%M" } else { "%Y-%m-%d" };
    output.line(format!(
        "{} · {} ({}), {}, {} to {}",
        metric.title.zh,
        metric.title.en,
        definition.name,
        metric.unit.words().1,
        range.from.strftime(time_format),
        last.to_zoned(range.to.time_zone().clone()).strftime(time_format)
    ))?;
    output.line(&definition.words.zh)?;
    output.line(&definition.words.en)?;
    output.line("")?;
    if values.rows.is_empty() {
        output.line("no data in this range")?;
        return Ok(());
    }
    let stepped = *step != TimeStep::Total;
    let mut columns: Vec<Column<'_>> = Vec::new();
    if stepped {
        columns.push(Text(step.as_str()));
    }
    columns.extend(values.dimensions.iter().map(|name| Text(name)));
    columns.push(Number("value"));
    if metric.interval {
        columns.extend([Number("low"), Number("high")]);
    }
    let mut table = table(&columns);
    for row in &values.rows {
        let mut cells = Vec::with_capacity(columns.len());
        if stepped {
            cells.push(row.time.clone());
        }
        cells.extend(row.key.iter().map(|text| if text.is_empty() { "''".to_owned() } else { text.clone() }));
        cells.push(format::value(metric.unit, row.value));
        if metric.interval {
            cells.extend([row.low, row.high].map(|bound| format::value(metric.unit, bound)));
        }
        table.add_row(cells);
    }
    output.table(&table)?;
    let times = clickhouse::times(query)?;
    if stepped && times.len() > 1 {
        output.line("")?;
        output.table(&sparklines(query, values, &times))?;
    }
    Ok(())
}

fn sparklines(query: &MetricQuery<'_>, values: &MetricValues, times: &[String]) -> Table {
    let metric = query.metric;
    let mut columns: Vec<Column<'_>> = values.dimensions.iter().map(|name| Text(name)).collect();
    columns.extend([Text("trend"), Number("last")]);
    let mut table = table(&columns);
    for (key, rows) in clickhouse::series(values) {
        // A missing row is 0 for a count, and unknown for a ratio.
        let absent = if metric.kind.is_count() { Some(0.0) } else { None };
        let points: Vec<Option<f64>> = times
            .iter()
            .map(|time| rows.iter().find(|row| row.time == *time).map_or(absent, |row| row.value))
            .collect();
        let mut cells = key.to_vec();
        cells.push(format::sparkline(&points));
        cells.push(format::value(metric.unit, points.last().copied().flatten()));
        table.add_row(cells);
    }
    table
}
