//! Reports as spreadsheets: one sheet per subject, each number queried by the name of its metric.
//!
//! [`sheets`] lists what is on each sheet, [`data`] queries and compares, [`sections`] and [`sheet_writer`] write.
mod cell_text;
pub(crate) mod data;
pub(crate) mod length;
mod retention_triangle;
mod sections;
mod sheet_writer;
mod sheets;

use std::path::Path;

use rust_xlsxwriter::{DocProperties, ExcelDateTime, Workbook, XlsxError};

use self::{
    data::ReportData,
    sheet_writer::{CellFormats, SheetWriter},
};
use crate::error::Error;

impl From<XlsxError> for Error {
    fn from(error: XlsxError) -> Self {
        Self::Failed(format!("the spreadsheet cannot be written: {error}"))
    }
}

/// Queries every number and writes the file. Returns the names of the sheets.
pub(crate) fn write(data: &ReportData<'_>, file: &Path) -> Result<Vec<String>, Error> {
    let mut workbook = Workbook::new();
    let created = ExcelDateTime::from_timestamp(data.calendar.now.timestamp().as_second())?;
    let title = format!("{} {}", data.title(), data.period());
    workbook.set_properties(&DocProperties::new().set_title(&title).set_creation_datetime(&created));
    let formats = CellFormats::default();
    let (mut names, mut changed) = (Vec::new(), Vec::new());
    for sheet in sheets::SHEETS {
        let mut writer = SheetWriter::new(workbook.add_worksheet(), &formats, sheet.name())?;
        writer.heading(&format!("{} · {}", sheet.zh, sheet.en), &title, &data.warning())?;
        for section in sheet.sections {
            sections::write(&mut writer, data, section)?;
        }
        changed.extend(writer.finish()?);
        names.push(sheet.name());
    }
    let name = sheets::DEFINITIONS.to_owned();
    let mut writer = SheetWriter::new(workbook.add_worksheet(), &formats, name.clone())?;
    sections::definitions(&mut writer, data.catalogue, &changed)?;
    names.push(name);
    workbook.save(file)?;
    Ok(names)
}

#[cfg(test)]
mod tests;
