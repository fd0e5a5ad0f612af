//! The parts of a sheet: numbers, splits, series and definitions.
use rust_xlsxwriter::{Chart, ChartType};

use super::{
    numbers::{Compared, Comparison, Desk, change},
    page::Page,
    plan::Part,
    triangle,
};
use crate::{
    error::Error,
    metrics::{Catalogue, Definition, Metric, Unit, load::written, period::Step},
};

/// Rows of a split; what is beyond is counted in words.
const LONGEST_SPLIT: usize = 20;
/// Bars of a chart.
const BARS: usize = 8;
const SERIES_DAYS: i64 = 28;
/// Where charts stand: behind the widest table of numbers.
const CHART_COLUMN: u16 = 8;

pub(crate) fn write(page: &mut Page<'_>, desk: &Desk<'_>, part: &Part) -> Result<(), Error> {
    match part {
        Part::Numbers(names) => numbers(page, desk, "指标 · Metrics", names, |_| 0),
        Part::Retention(names) => {
            numbers(page, desk, "最近成熟的新增批次 · Latest cohorts", names, |metric| {
                let days: i64 =
                    metric.name.rsplit('_').next().and_then(|days| days.parse().ok()).unwrap_or(0);
                match desk.span {
                    super::Span::Daily => days,
                    // Whole weeks, so that all days of the cohort's week have had their time.
                    super::Span::Weekly => (days + 6) / 7 * 7,
                }
            })
        }
        Part::Split(name, by) => split(page, desk, name, by),
        Part::Series(names) => series(page, desk, names),
        Part::Triangle(name) => triangle::write(page, desk, name),
    }
}

/// Words for a part in which nothing was counted.
pub(crate) fn nothing(desk: &Desk<'_>) -> String {
    format!("{} 没有数据 · no data in this period", desk.period())
}

fn numbers(
    page: &mut Page<'_>,
    desk: &Desk<'_>,
    title: &str,
    names: &[&str],
    lag: impl Fn(&Metric) -> i64,
) -> Result<(), Error> {
    let mut rows: Vec<Comparison<'_>> = Vec::with_capacity(names.len());
    for name in names {
        let (metric, _) = desk.look_up(name)?;
        rows.push(desk.compare(name, &[], lag(metric))?);
    }
    page.section(title, "")?;
    if rows.iter().all(|comparison| comparison.rows.is_empty()) {
        page.words(&nothing(desk))?;
        return Ok(());
    }
    let mut titles = vec!["指标 Metric".to_owned(), "定义 Definition".into(), "期间 Period".into()];
    titles.extend(compared_titles());
    page.header(&titles)?;
    for comparison in &rows {
        let Comparison { metric, definition, periods, .. } = comparison;
        let formats = page.formats;
        let label = format!("{} {}", metric.title.zh, metric.title.en);
        page.sheet.write_with_format(page.row, 0, label, &formats.text)?;
        page.sheet.write_with_format(page.row, 1, &definition.name, &formats.text)?;
        page.sheet.write_with_format(
            page.row,
            2,
            when(desk, periods.step, &periods.current),
            &formats.text,
        )?;
        let none = Compared {
            key: Vec::new(),
            value: if metric.kind.counts() { Some(0.0) } else { None },
            low: None,
            high: None,
            day_before: None,
            week_before: None,
        };
        compared(page, metric, comparison.rows.first().unwrap_or(&none), 3)?;
        page.row += 1;
    }
    page.gap();
    Ok(())
}

fn compared_titles() -> Vec<String> {
    ["数值 Value", "前一日 Day before", "日环比 Day over day", "上周 Week before", "周同比 Week over week"]
        .map(str::to_owned)
        .to_vec()
}

/// Value, day before, its change, week before, its change.
fn compared(page: &mut Page<'_>, metric: &Metric, row: &Compared, column: u16) -> Result<(), Error> {
    let formats = page.formats;
    let value = formats.value(metric.unit);
    let daily = change(metric.unit, row.value, row.day_before);
    let weekly = change(metric.unit, row.value, row.week_before);
    page.number(column, row.value, value)?;
    page.number(column + 1, row.day_before, value)?;
    page.number(column + 2, daily, formats.change(metric.unit, daily))?;
    page.number(column + 3, row.week_before, value)?;
    page.number(column + 4, weekly, formats.change(metric.unit, weekly))?;
    Ok(())
}

fn when(desk: &Desk<'_>, step: Step, begin: &str) -> String {
    match step {
        Step::Week => format!("{begin} 周 week"),
        Step::Month => format!("{} 月 month", begin.get(..7).unwrap_or(begin)),
        Step::Total => desk.period(),
        _ => begin.to_owned(),
    }
}

fn split(page: &mut Page<'_>, desk: &Desk<'_>, name: &str, by: &[&str]) -> Result<(), Error> {
    let comparison = desk.compare(name, by, 0)?;
    let Comparison { metric, definition, dimensions, rows, periods } = &comparison;
    page.section(&title(metric, definition), &words(definition))?;
    if rows.is_empty() {
        page.words(&nothing(desk))?;
        return Ok(());
    }
    let top = page.row;
    let mut titles = dimensions.clone();
    titles.extend(compared_titles());
    if let Some(value) = titles.get_mut(dimensions.len()) {
        value.push_str(&format!("\n{}", when(desk, periods.step, &periods.current)));
    }
    if metric.interval {
        titles.extend(["95% 下限 low".into(), "95% 上限 high".into()]);
    }
    page.header(&titles)?;
    let value_column = u16::try_from(dimensions.len()).unwrap_or(u16::MAX);
    let first = page.row;
    let formats = page.formats;
    for row in rows.iter().take(LONGEST_SPLIT) {
        for (column, text) in (0..).zip(&row.key) {
            let shown = if text.is_empty() { "（空 none）" } else { text };
            page.sheet.write_with_format(page.row, column, shown, &formats.text)?;
        }
        compared(page, metric, row, value_column)?;
        if metric.interval {
            page.number(value_column + 5, row.low, formats.value(metric.unit))?;
            page.number(value_column + 6, row.high, formats.value(metric.unit))?;
        }
        page.row += 1;
    }
    if rows.len() > 1 && value_column > 0 {
        let last = first + u32::try_from(rows.len().min(BARS)).unwrap_or(1) - 1;
        let mut chart = Chart::new(ChartType::Bar);
        chart
            .add_series()
            .set_name(&title(metric, definition))
            .set_categories((page.name.as_str(), first, 0, last, value_column - 1))
            .set_values((page.name.as_str(), first, value_column, last, value_column));
        dressed(&mut chart, &title(metric, definition));
        // Bars that begin elsewhere lie about their lengths.
        if rows.iter().all(|row| row.value.is_none_or(|value| value >= 0.0)) {
            chart.x_axis().set_min(0.0);
        }
        if metric.unit == Unit::Share {
            chart.x_axis().set_num_format("0%");
        }
        chart.legend().set_hidden();
        // The greatest on top, as in the table. In a bar chart the categories stand on the vertical axis.
        chart.y_axis().set_reverse();
        page.chart(top, CHART_COLUMN + value_column.saturating_sub(1), &chart)?;
    }
    if rows.len() > LONGEST_SPLIT {
        page.words(&format!("另有 {0} 项 · {0} more", rows.len() - LONGEST_SPLIT))?;
    }
    page.gap();
    Ok(())
}

fn series(page: &mut Page<'_>, desk: &Desk<'_>, names: &[&str]) -> Result<(), Error> {
    let mut columns = Vec::new();
    // A week more than is shown, for its changes.
    for name in names {
        columns.push(desk.days(name, SERIES_DAYS + 7)?);
    }
    let labels: Vec<String> =
        columns.iter().map(|(metric, definition, _)| title(metric, definition)).collect();
    page.section(&format!("每日 · Daily: {}", labels.join(", ")), "")?;
    if columns.iter().all(|(_, _, answer)| answer.rows.is_empty()) {
        page.words(&nothing(desk))?;
        return Ok(());
    }
    let top = page.row;
    let mut titles = vec!["日期 Day".to_owned()];
    for label in &labels {
        titles.extend([label.clone(), "日环比 Day over day".into(), "周同比 Week over week".into()]);
    }
    page.header(&titles)?;
    let first = page.row;
    let formats = page.formats;
    for ago in (0..SERIES_DAYS).rev() {
        let day = super::numbers::back(desk.day, ago)?;
        page.sheet.write_with_format(page.row, 0, day.to_string(), &formats.text)?;
        for (column, (metric, _, answer)) in (1..).step_by(3).zip(&columns) {
            let at = |days: i64| -> Result<Option<f64>, Error> {
                let time = super::numbers::back(day, days)?.to_string();
                let absent = if metric.kind.counts() { Some(0.0) } else { None };
                Ok(answer.rows.iter().find(|row| row.time == time).map_or(absent, |row| row.value))
            };
            let value = at(0)?;
            page.number(column, value, formats.value(metric.unit))?;
            for (beside, days) in [(1, 1), (2, 7)] {
                let changed = change(metric.unit, value, at(days)?);
                page.number(column + beside, changed, formats.change(metric.unit, changed))?;
            }
        }
        page.row += 1;
    }
    let last = page.row - 1;
    let mut chart = Chart::new(ChartType::Line);
    for (column, label) in (1..).step_by(3).zip(&labels) {
        chart
            .add_series()
            .set_name(label)
            .set_categories((page.name.as_str(), first, 0, last, 0))
            .set_values((page.name.as_str(), first, column, last, column));
    }
    dressed(&mut chart, &labels.join(", "));
    if columns.iter().all(|(metric, _, _)| metric.unit == Unit::Share) {
        chart.y_axis().set_num_format("0%");
    }
    let width = u16::try_from(titles.len()).unwrap_or(CHART_COLUMN);
    page.chart(top, CHART_COLUMN.max(width + 1), &chart)?;
    page.gap();
    Ok(())
}

fn dressed(chart: &mut Chart, title: &str) {
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

/// Every definition there is, in words.
pub(crate) fn definitions(page: &mut Page<'_>, catalogue: &Catalogue) -> Result<(), Error> {
    page.heading("指标定义 · Definitions of metrics", "每个数字的含义 · What each number means", "")?;
    for (column, width) in (0..).zip([26.0, 28.0, 20.0, 20.0, 12.0, 60.0, 60.0]) {
        page.sheet.set_column_width(column, width)?;
    }
    let titles =
        ["指标 Metric", "名称 Title", "定义 Definition", "单位 Unit", "类型 Kind", "说明", "In words"];
    page.header(&titles.map(str::to_owned))?;
    let formats = page.formats;
    for metric in &catalogue.metrics {
        let (zh, en) = metric.unit.words();
        for definition in &metric.definitions {
            let cells = [
                format!("{} v{}", metric.name, metric.version),
                format!("{} {}", metric.title.zh, metric.title.en),
                definition.name.clone(),
                format!("{zh} {en}"),
                written(&metric.kind),
                definition.words.zh.clone(),
                definition.words.en.clone(),
            ];
            for (column, cell) in (0..).zip(cells) {
                page.sheet.write_with_format(page.row, column, cell, &formats.wrapped)?;
            }
            page.row += 1;
        }
    }
    page.sheet.set_freeze_panes(4, 0)?;
    Ok(())
}
