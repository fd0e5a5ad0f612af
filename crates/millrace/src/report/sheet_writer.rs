//! Writes one sheet from top to bottom.
use std::borrow::Cow;

use rust_xlsxwriter::{
    Chart, Color, Format, FormatAlign, FormatBorder, Worksheet, XlsxError, utility::row_col_to_cell,
};

use super::cell_text::cell_text;
use crate::metrics::catalogue::MetricUnit;

/// The columns with a set width. Charts are to the right of them.
const COLUMNS: u16 = 12;
/// The last column of a merged note, and the number of characters in one of its lines.
const NOTE_LAST_COLUMN: u16 = 7;
const NOTE_WIDTH: usize = 120;
const HEADING: Color = Color::RGB(0x1F3864);
const SHADE: Color = Color::RGB(0xE8EDF5);
const QUIET: Color = Color::RGB(0x7F7F7F);
const UP: Color = Color::RGB(0x1E7B34);
const DOWN: Color = Color::RGB(0xC0392B);

/// The formats of cells.
pub(crate) struct CellFormats {
    pub(crate) title: Format,
    pub(crate) section: Format,
    pub(crate) header: Format,
    pub(crate) text: Format,
    pub(crate) wrapped: Format,
    pub(crate) quiet: Format,
    note: Format,
    count: Format,
    tenth: Format,
    hundredth: Format,
    pub(crate) share: Format,
    relative: ChangeFormats,
    points: ChangeFormats,
}

/// A change in its colour. Spreadsheet programs differ in the colours of number formats, so the font has the colour.
struct ChangeFormats {
    up: Format,
    down: Format,
    none: Format,
}

impl ChangeFormats {
    fn new(code: &str) -> Self {
        let none = Format::new().set_num_format(code);
        let (up, down) = (none.clone().set_font_color(UP), none.clone().set_font_color(DOWN));
        Self { up, down, none }
    }
}

impl Default for CellFormats {
    fn default() -> Self {
        let number = |code: &str| Format::new().set_num_format(code);
        Self {
            title: Format::new().set_bold().set_font_size(16).set_font_color(HEADING),
            section: Format::new().set_bold().set_font_size(12).set_font_color(HEADING),
            header: Format::new()
                .set_bold()
                .set_background_color(SHADE)
                .set_border_bottom(FormatBorder::Thin)
                .set_text_wrap()
                .set_align(FormatAlign::VerticalCenter),
            text: Format::new(),
            wrapped: Format::new().set_text_wrap().set_align(FormatAlign::Top),
            note: Format::new()
                .set_font_color(QUIET)
                .set_italic()
                .set_text_wrap()
                .set_align(FormatAlign::Top),
            quiet: Format::new().set_font_color(QUIET).set_italic(),
            count: number("#,##0"),
            tenth: number("#,##0.0"),
            hundredth: number("#,##0.00"),
            share: number("0.00%"),
            relative: ChangeFormats::new("+0.0%;-0.0%;0.0%"),
            points: ChangeFormats::new("+0.00\" pp\";-0.00\" pp\";0.00\" pp\""),
        }
    }
}

impl CellFormats {
    /// The format of a value.
    pub(crate) fn value(&self, unit: MetricUnit) -> &Format {
        match unit {
            MetricUnit::Share => &self.share,
            MetricUnit::PerDevice | MetricUnit::Hours => &self.hundredth,
            MetricUnit::Seconds => &self.tenth,
            _ => &self.count,
        }
    }

    /// The format of a change.
    pub(crate) fn change(&self, unit: MetricUnit, change: Option<f64>) -> &Format {
        let changes = if unit == MetricUnit::Share { &self.points } else { &self.relative };
        match change {
            Some(change) if change > 0.0 => &changes.up,
            Some(change) if change < 0.0 => &changes.down,
            _ => &changes.none,
        }
    }
}

/// A sheet and its next row.
pub(crate) struct SheetWriter<'a> {
    pub(crate) sheet: &'a mut Worksheet,
    pub(crate) formats: &'a CellFormats,
    pub(crate) name: String,
    pub(crate) row: u32,
    /// The first row below all charts.
    charts_end: u32,
    /// The cells whose text was changed, because a spreadsheet cannot hold it.
    changed: Vec<ChangedCell>,
}

/// A cell whose text was cut, or had control characters.
pub(crate) struct ChangedCell {
    pub(crate) sheet: String,
    /// For example `A7`.
    pub(crate) cell: String,
    /// Length of the whole text.
    pub(crate) characters: usize,
}

/// Height of a chart in rows.
const CHART_ROWS: u32 = 16;

impl<'a> SheetWriter<'a> {
    pub(crate) fn new(
        sheet: &'a mut Worksheet,
        formats: &'a CellFormats,
        name: String,
    ) -> Result<Self, XlsxError> {
        sheet.set_name(&name)?.set_screen_gridlines(false).set_landscape().set_print_fit_to_pages(1, 0);
        sheet.set_column_width(0, 34)?;
        for column in 1..COLUMNS {
            sheet.set_column_width(column, if column == 2 { 20 } else { 14 })?;
        }
        Ok(Self { sheet, formats, name, row: 0, charts_end: 0, changed: Vec::new() })
    }

    /// The title, the period and a warning, which may be ''.
    pub(crate) fn heading(&mut self, title: &str, period: &str, warning: &str) -> Result<(), XlsxError> {
        self.sheet.write_with_format(0, 0, title, &self.formats.title)?;
        self.sheet.write_with_format(1, 0, period, &self.formats.quiet)?;
        self.row = 2;
        self.note(warning)?;
        self.row = 3;
        Ok(())
    }

    /// The title of a section, with its definition below.
    pub(crate) fn section(&mut self, title: &str, words: &str) -> Result<(), XlsxError> {
        self.sheet.write_with_format(self.row, 0, title, &self.formats.section)?;
        self.row += 1;
        self.note(words)
    }

    /// A note across the columns of a table. It is wrapped, because a long line would widen the printed page.
    fn note(&mut self, words: &str) -> Result<(), XlsxError> {
        if words.is_empty() {
            return Ok(());
        }
        self.sheet.merge_range(self.row, 0, self.row, NOTE_LAST_COLUMN, words, &self.formats.note)?;
        let width: usize = words.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
        let lines = u16::try_from(width / NOTE_WIDTH + 1).unwrap_or(1);
        self.sheet.set_row_height(self.row, lines.saturating_mul(15))?;
        self.row += 1;
        Ok(())
    }

    /// The titles of the columns.
    pub(crate) fn header(&mut self, titles: &[String]) -> Result<(), XlsxError> {
        for (column, title) in (0..).zip(titles) {
            self.sheet.write_with_format(self.row, column, title, &self.formats.header)?;
        }
        let longest = titles.iter().map(|title| title.chars().count()).max().unwrap_or(0);
        self.sheet.set_row_height(self.row, if longest > 20 { 48 } else { 32 })?;
        self.row += 1;
        Ok(())
    }

    /// A line of text instead of a table.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), XlsxError> {
        self.sheet.write_with_format(self.row, 0, text, &self.formats.quiet)?;
        self.row += 2;
        Ok(())
    }

    /// A text in the current row, as far as a cell can hold it. It is never a formula.
    pub(crate) fn cell(&mut self, column: u16, text: &str, format: &Format) -> Result<(), XlsxError> {
        let shown = cell_text(text);
        if matches!(shown, Cow::Owned(_)) {
            self.changed.push(ChangedCell {
                sheet: self.name.clone(),
                cell: row_col_to_cell(self.row, column),
                characters: text.chars().count(),
            });
        }
        self.sheet.write_string_with_format(self.row, column, shown, format)?;
        Ok(())
    }

    /// A number; nothing if it is unknown.
    pub(crate) fn number(
        &mut self,
        column: u16,
        value: Option<f64>,
        format: &Format,
    ) -> Result<(), XlsxError> {
        if let Some(value) = value {
            self.sheet.write_with_format(self.row, column, value, format)?;
        }
        Ok(())
    }

    /// A chart, with its upper edge at row `top`.
    pub(crate) fn chart(&mut self, top: u32, column: u16, chart: &Chart) -> Result<(), XlsxError> {
        self.sheet.insert_chart(top, column, chart)?;
        self.charts_end = top + CHART_ROWS;
        Ok(())
    }

    /// Moves to the next section, below the chart of this one.
    pub(crate) fn gap(&mut self) {
        self.row = (self.row + 1).max(self.charts_end);
    }

    /// Completes the sheet. Returns the cells whose text was changed.
    pub(crate) fn finish(self) -> Result<Vec<ChangedCell>, XlsxError> {
        self.sheet.set_freeze_panes(3, 0)?;
        Ok(self.changed)
    }
}
