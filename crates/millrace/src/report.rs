//! Reports as spreadsheets: one sheet per subject, every number asked for by the name of its metric.
//!
//! [`plan`] says what stands where, [`numbers`] asks and compares, [`page`] and [`block`] write.
mod block;
pub(crate) mod numbers;
mod page;
mod plan;
mod triangle;

use std::path::Path;

use rust_xlsxwriter::{DocProperties, ExcelDateTime, Workbook, XlsxError};

use crate::error::Error;
use numbers::Desk;
use page::{Formats, Page};

/// What a report looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// One business day.
    Daily,
    /// One week from Monday to Sunday.
    Weekly,
}

impl From<XlsxError> for Error {
    fn from(error: XlsxError) -> Self {
        Self::Failed(format!("the spreadsheet cannot be written: {error}"))
    }
}

/// Asks for everything in the plan and writes the file. Gives the names of its sheets.
pub(crate) fn write(desk: &Desk<'_>, file: &Path) -> Result<Vec<String>, Error> {
    let mut workbook = Workbook::new();
    let created = ExcelDateTime::from_timestamp(desk.calendar.now.timestamp().as_second())?;
    let title = format!("{} {}", desk.title(), desk.period());
    workbook.set_properties(&DocProperties::new().set_title(&title).set_creation_datetime(&created));
    let formats = Formats::default();
    let mut names = Vec::new();
    for subject in plan::SUBJECTS {
        let mut page = Page::new(workbook.add_worksheet(), &formats, subject.name())?;
        page.heading(&format!("{} · {}", subject.zh, subject.en), &title, &desk.warning())?;
        for part in subject.parts {
            block::write(&mut page, desk, part)?;
        }
        page.finish()?;
        names.push(subject.name());
    }
    let name = plan::DEFINITIONS.to_owned();
    let mut page = Page::new(workbook.add_worksheet(), &formats, name.clone())?;
    block::definitions(&mut page, desk.catalogue)?;
    names.push(name);
    workbook.save(file)?;
    Ok(names)
}

#[cfg(test)]
mod tests;
