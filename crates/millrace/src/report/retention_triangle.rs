//! The retention triangle: one row per cohort day, one column per day since then. Cells of days that are not over are
//! empty.
use rust_xlsxwriter::{Color, ConditionalFormat2ColorScale};

use super::{
    data::{ReportData, back},
    sheet_writer::SheetWriter,
};
use crate::error::Error;

/// Number of cohorts, and of days of each.
const DAYS: i64 = 31;
const FIRST_SHARE: u16 = 2;

pub(super) fn write(writer: &mut SheetWriter<'_>, data: &ReportData<'_>, name: &str) -> Result<(), Error> {
    let (metric, definition, values) = data.days(name, DAYS)?;
    let (_, _, sizes) = data.days("new_devices", DAYS)?;
    writer.section(
        &format!("{} {}", metric.title.zh, metric.title.en),
        &format!("{} {}", definition.words.zh, definition.words.en),
    )?;
    if values.rows.is_empty() {
        writer.text(&data.no_data())?;
        return Ok(());
    }
    let mut titles = vec!["新增日 Cohort".to_owned(), "新增设备 New devices".into()];
    titles.extend((0..DAYS).map(|day| day.to_string()));
    writer.header(&titles)?;
    let first = writer.row;
    let last_column = FIRST_SHARE + 30;
    for column in FIRST_SHARE..=last_column {
        writer.sheet.set_column_width(column, 8)?;
    }
    let formats = writer.formats;
    for ago in (0..DAYS).rev() {
        let cohort = back(data.day, ago)?.to_string();
        let size = sizes.rows.iter().find(|row| row.time == cohort).and_then(|row| row.value);
        writer.sheet.write_with_format(writer.row, 0, &cohort, &formats.text)?;
        writer.number(
            1,
            Some(size.unwrap_or(0.0)),
            formats.value(crate::metrics::catalogue::MetricUnit::Devices),
        )?;
        for row in values.rows.iter().filter(|row| row.time == cohort) {
            let day = row.key.first().and_then(|day| day.parse::<u16>().ok());
            if let Some(day) = day {
                writer.number(FIRST_SHARE + day, row.value, &formats.share)?;
            }
        }
        writer.row += 1;
    }
    let scale = ConditionalFormat2ColorScale::new()
        .set_minimum_color(Color::RGB(0xFFFFFF))
        .set_maximum_color(Color::RGB(0x5B9BD5));
    // Without day 0, which is always 1 and would make the other colours pale.
    writer.sheet.add_conditional_format(first, FIRST_SHARE + 1, writer.row - 1, last_column, &scale)?;
    writer.gap();
    Ok(())
}
