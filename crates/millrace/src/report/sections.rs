//! Writes the sections of a sheet: numbers, splits, series and definitions.
use rust_xlsxwriter::{Chart, ChartType};

use super::{
    data::{ComparedValue, MetricComparison, ReportData, back, change},
    length::ReportLength,
    retention_triangle,
    sheet_writer::{ChangedCell, SheetWriter},
    sheets::Section,
};
use crate::{
    error::Error,
    metrics::{
        catalogue::{Definition, Metric, MetricCatalogue, MetricUnit},
        period::TimeStep,
        rows::key,
    },
};

/// Maximum number of rows of a split. A line below gives the number of the others.
const MAX_SPLIT_ROWS: usize = 20;
/// Maximum number of bars of a chart.
const MAX_BARS: usize = 8;
const SERIES_DAYS: i64 = 28;
/// The column of the charts, to the right of the widest table.
const CHART_COLUMN: u16 = 8;

pub(super) fn write(
    writer: &mut SheetWriter<'_>,
    data: &ReportData<'_>,
    section: &Section,
) -> Result<(), Error> {
    match section {
        Section::Numbers(names) => numbers(writer, data, "指标 · Metrics", names, |_| 0),
        Section::Retention(names) => {
            numbers(writer, data, "最近成熟的新增批次 · Latest cohorts", names, |metric| {
                let days: i64 =
                    metric.name.rsplit('_').next().and_then(|days| days.parse().ok()).unwrap_or(0);
                match data.length {
                    ReportLength::Daily => days,
                    // Whole weeks, so that the day is over for every day of the cohort's week.
                    ReportLength::Weekly => (days + 6) / 7 * 7,
                }
            })
        }
        Section::Split(name, by) => split(writer, data, name, by),
        Section::Series(names) => series(writer, data, names),
        Section::Triangle(name) => retention_triangle::write(writer, data, name),
    }
}

fn numbers(
    writer: &mut SheetWriter<'_>,
    data: &ReportData<'_>,
    title: &str,
    names: &[&str],
    lag: impl Fn(&Metric) -> i64,
) -> Result<(), Error> {
    let mut rows: Vec<MetricComparison<'_>> = Vec::with_capacity(names.len());
    for name in names {
        let (metric, _) = data.look_up(name)?;
        rows.push(data.compare(name, &[], lag(metric))?);
    }
    writer.section(title, "")?;
    if rows.iter().all(|comparison| comparison.rows.is_empty()) {
        writer.text(&data.no_data())?;
        return Ok(());
    }
    let mut titles = vec!["指标 Metric".to_owned(), "定义 Definition".into(), "期间 Period".into()];
    titles.extend(compared_titles());
    writer.header(&titles)?;
    for comparison in &rows {
        let MetricComparison { metric, definition, periods, .. } = comparison;
        let formats = writer.formats;
        let label = format!("{} {}", metric.title.zh, metric.title.en);
        writer.cell(0, &label, &formats.text)?;
        writer.cell(1, &definition.name, &formats.text)?;
        writer.cell(2, &when(data, periods.step, &periods.current), &formats.text)?;
        let none = ComparedValue {
            key: Vec::new(),
            value: if metric.kind.is_count() { Some(0.0) } else { None },
            low: None,
            high: None,
            day_before: None,
            week_before: None,
        };
        compared(writer, metric, comparison.rows.first().unwrap_or(&none), 3)?;
        writer.row += 1;
    }
    writer.gap();
    Ok(())
}

fn compared_titles() -> Vec<String> {
    ["数值 Value", "前一日 Day before", "日环比 Day over day", "上周 Week before", "周同比 Week over week"]
        .map(str::to_owned)
        .to_vec()
}

/// Writes the value, the value of the day before, its change, the value of the week before, and its change.
fn compared(
    writer: &mut SheetWriter<'_>,
    metric: &Metric,
    row: &ComparedValue,
    column: u16,
) -> Result<(), Error> {
    let formats = writer.formats;
    let value = formats.value(metric.unit);
    let daily = change(metric.unit, row.value, row.day_before);
    let weekly = change(metric.unit, row.value, row.week_before);
    writer.number(column, row.value, value)?;
    writer.number(column + 1, row.day_before, value)?;
    writer.number(column + 2, daily, formats.change(metric.unit, daily))?;
    writer.number(column + 3, row.week_before, value)?;
    writer.number(column + 4, weekly, formats.change(metric.unit, weekly))?;
    Ok(())
}

fn when(data: &ReportData<'_>, step: TimeStep, begin: &str) -> String {
    match step {
        TimeStep::Week => format!("{begin} 周 week"),
        TimeStep::Month => format!("{} 月 month", begin.get(..7).unwrap_or(begin)),
        TimeStep::Total => data.period(),
        _ => begin.to_owned(),
    }
}

fn split(writer: &mut SheetWriter<'_>, data: &ReportData<'_>, name: &str, by: &[&str]) -> Result<(), Error> {
    let comparison = data.compare(name, by, 0)?;
    let MetricComparison { metric, definition, dimensions, rows, periods } = &comparison;
    writer.section(&title(metric, definition), &words(definition))?;
    if rows.is_empty() {
        writer.text(&data.no_data())?;
        return Ok(());
    }
    let top = writer.row;
    let mut titles = dimensions.clone();
    titles.extend(compared_titles());
    if let Some(value) = titles.get_mut(dimensions.len()) {
        value.push_str(&format!("\n{}", when(data, periods.step, &periods.current)));
    }
    if metric.interval {
        titles.extend(["95% 下限 low".into(), "95% 上限 high".into()]);
    }
    writer.header(&titles)?;
    let value_column = u16::try_from(dimensions.len()).unwrap_or(u16::MAX);
    let first = writer.row;
    let formats = writer.formats;
    for row in rows.iter().take(MAX_SPLIT_ROWS) {
        for (column, text) in (0..).zip(&row.key) {
            let shown = if text.is_empty() { "（空 none）" } else { text };
            writer.cell(column, shown, &formats.text)?;
        }
        compared(writer, metric, row, value_column)?;
        if metric.interval {
            writer.number(value_column + 5, row.low, formats.value(metric.unit))?;
            writer.number(value_column + 6, row.high, formats.value(metric.unit))?;
        }
        writer.row += 1;
    }
    if rows.len() > 1 && value_column > 0 {
        let last = first + u32::try_from(rows.len().min(MAX_BARS)).unwrap_or(1) - 1;
        let mut chart = Chart::new(ChartType::Bar);
        chart
            .add_series()
            .set_name(&title(metric, definition))
            .set_categories((writer.name.as_str(), first, 0, last, value_column - 1))
            .set_values((writer.name.as_str(), first, value_column, last, value_column));
        style_chart(&mut chart, &title(metric, definition));
        // Bars must start at 0 to be comparable.
        if rows.iter().all(|row| row.value.is_none_or(|value| value >= 0.0)) {
            chart.x_axis().set_min(0.0);
        }
        if metric.unit == MetricUnit::Share {
            chart.x_axis().set_num_format("0%");
        }
        chart.legend().set_hidden();
        // The largest value on top, as in the table. In a bar chart the categories are on the vertical axis.
        chart.y_axis().set_reverse();
        writer.chart(top, CHART_COLUMN + value_column.saturating_sub(1), &chart)?;
    }
    if rows.len() > MAX_SPLIT_ROWS {
        writer.text(&format!("另有 {0} 项 · {0} more", rows.len() - MAX_SPLIT_ROWS))?;
    }
    writer.gap();
    Ok(())
}

fn series(writer: &mut SheetWriter<'_>, data: &ReportData<'_>, names: &[&str]) -> Result<(), Error> {
    let mut columns = Vec::new();
    // One week more than is shown, for the week-over-week change.
    for name in names {
        columns.push(data.days(name, SERIES_DAYS + 7)?);
    }
    let labels: Vec<String> =
        columns.iter().map(|(metric, definition, _)| title(metric, definition)).collect();
    writer.section(&format!("每日 · Daily: {}", labels.join(", ")), "")?;
    if columns.iter().all(|(_, _, values)| values.rows.is_empty()) {
        writer.text(&data.no_data())?;
        return Ok(());
    }
    let top = writer.row;
    let mut titles = vec!["日期 Day".to_owned()];
    for label in &labels {
        titles.extend([label.clone(), "日环比 Day over day".into(), "周同比 Week over week".into()]);
    }
    writer.header(&titles)?;
    let first = writer.row;
    let formats = writer.formats;
    for ago in (0..SERIES_DAYS).rev() {
        let day = back(data.day, ago)?;
        writer.sheet.write_with_format(writer.row, 0, day.to_string(), &formats.text)?;
        for (column, (metric, _, values)) in (1..).step_by(3).zip(&columns) {
            let at = |days: i64| -> Result<Option<f64>, Error> {
                let time = back(day, days)?.to_string();
                let absent = if metric.kind.is_count() { Some(0.0) } else { None };
                Ok(values.rows.iter().find(|row| row.time == time).map_or(absent, |row| row.value))
            };
            let value = at(0)?;
            writer.number(column, value, formats.value(metric.unit))?;
            for (beside, days) in [(1, 1), (2, 7)] {
                let changed = change(metric.unit, value, at(days)?);
                writer.number(column + beside, changed, formats.change(metric.unit, changed))?;
            }
        }
        writer.row += 1;
    }
    let last = writer.row - 1;
    let mut chart = Chart::new(ChartType::Line);
    for (column, label) in (1..).step_by(3).zip(&labels) {
        chart
            .add_series()
            .set_name(label)
            .set_categories((writer.name.as_str(), first, 0, last, 0))
            .set_values((writer.name.as_str(), first, column, last, column));
    }
    style_chart(&mut chart, &labels.join(", "));
    if columns.iter().all(|(metric, _, _)| metric.unit == MetricUnit::Share) {
        chart.y_axis().set_num_format("0%");
    }
    let width = u16::try_from(titles.len()).unwrap_or(CHART_COLUMN);
    writer.chart(top, CHART_COLUMN.max(width + 1), &chart)?;
    writer.gap();
    Ok(())
}

fn style_chart(chart: &mut Chart, title: &str) {
    chart.title().set_name(title).set_font(rust_xlsxwriter::ChartFont::new().set_size(11));
    chart.set_width(560).set_height(300);
    chart.legend().set_position(rust_xlsxwriter::ChartLegendPosition::Bottom);
}

fn title(metric: &Metric, definition: &Definition) -> String {
    let name = if metric.definitions.len() > 1 { format!(" ({})", definition.name) } else { String::new() };
    format!("{} {}{name}", metric.title.zh, metric.title.en)
}

fn words(definition: &Definition) -> String {
    format!("{} {}", definition.words.zh, definition.words.en)
}

/// Every definition of the catalogue, and the cells whose text a spreadsheet cannot hold.
pub(super) fn definitions(
    writer: &mut SheetWriter<'_>,
    catalogue: &MetricCatalogue,
    changed: &[ChangedCell],
) -> Result<(), Error> {
    writer.heading("指标定义 · Definitions of metrics", "每个数字的含义 · What each number means", "")?;
    for (column, width) in (0..).zip([26.0, 28.0, 20.0, 20.0, 12.0, 60.0, 60.0]) {
        writer.sheet.set_column_width(column, width)?;
    }
    let titles = [
        "指标 Metric",
        "名称 Title",
        "定义 Definition",
        "单位 MetricUnit",
        "类型 MetricKind",
        "说明",
        "In words",
    ];
    writer.header(&titles.map(str::to_owned))?;
    let formats = writer.formats;
    for metric in &catalogue.metrics {
        let (zh, en) = metric.unit.words();
        for definition in &metric.definitions {
            let cells = [
                format!("{} v{}", metric.name, metric.version),
                format!("{} {}", metric.title.zh, metric.title.en),
                definition.name.clone(),
                format!("{zh} {en}"),
                key(&metric.kind),
                definition.words.zh.clone(),
                definition.words.en.clone(),
            ];
            for (column, cell) in (0..).zip(cells) {
                writer.cell(column, &cell, &formats.wrapped)?;
            }
            writer.row += 1;
        }
    }
    if !changed.is_empty() {
        writer.row += 1;
        writer.section(
            "被截断的单元格 · Changed cells",
            "这些单元格的文本过长或含有控制字符。The texts of these cells are longer than a cell can be, or have control \
             characters.",
        )?;
        for ChangedCell { sheet, cell, characters } in changed {
            let place = format!("{sheet}!{cell}");
            writer.cell(0, &place, &formats.text)?;
            writer.cell(1, &format!("{characters} 字符 characters"), &formats.text)?;
            writer.row += 1;
        }
    }
    writer.sheet.set_freeze_panes(4, 0)?;
    Ok(())
}
