//! The retention triangle: cohort days downwards, days since to the right, empty where the day is not over.
use rust_xlsxwriter::{Color, ConditionalFormat2ColorScale};

use super::{
    block::nothing,
    numbers::{Desk, back},
    page::Page,
};
use crate::error::Error;

/// Cohorts, and days after each.
const DAYS: i64 = 31;
const FIRST_SHARE: u16 = 2;

pub(crate) fn write(page: &mut Page<'_>, desk: &Desk<'_>, name: &str) -> Result<(), Error> {
    let (metric, definition, answer) = desk.days(name, DAYS)?;
    let (_, _, sizes) = desk.days("new_devices", DAYS)?;
    page.section(
        &format!("{} {}", metric.title.zh, metric.title.en),
        &format!("{} {}", definition.words.zh, definition.words.en),
    )?;
    if answer.rows.is_empty() {
        page.words(&nothing(desk))?;
        return Ok(());
    }
    let mut titles = vec!["新增日 Cohort".to_owned(), "新增设备 New devices".into()];
    titles.extend((0..DAYS).map(|day| day.to_string()));
    page.header(&titles)?;
    let first = page.row;
    let last_column = FIRST_SHARE + 30;
    for column in FIRST_SHARE..=last_column {
        page.sheet.set_column_width(column, 8)?;
    }
    let formats = page.formats;
    for ago in (0..DAYS).rev() {
        let cohort = back(desk.day, ago)?.to_string();
        let size = sizes.rows.iter().find(|row| row.time == cohort).and_then(|row| row.value);
        page.sheet.write_with_format(page.row, 0, &cohort, &formats.text)?;
        page.number(1, Some(size.unwrap_or(0.0)), formats.value(crate::metrics::Unit::Devices))?;
        for row in answer.rows.iter().filter(|row| row.time == cohort) {
            let day = row.key.first().and_then(|day| day.parse::<u16>().ok());
            if let Some(day) = day {
                page.number(FIRST_SHARE + day, row.value, &formats.share)?;
            }
        }
        page.row += 1;
    }
    let scale = ConditionalFormat2ColorScale::new()
        .set_minimum_color(Color::RGB(0xFFFFFF))
        .set_maximum_color(Color::RGB(0x5B9BD5));
    // Day 0 is 1 by nature and would take all colour from the others.
    page.sheet.add_conditional_format(first, FIRST_SHARE + 1, page.row - 1, last_column, &scale)?;
    page.gap();
    Ok(())
}
