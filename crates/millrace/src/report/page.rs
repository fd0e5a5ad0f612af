//! One sheet, written from top to bottom.
use rust_xlsxwriter::{Chart, Color, Format, FormatAlign, FormatBorder, Worksheet, XlsxError};

use crate::metrics::Unit;

/// Columns that get a width of their own; charts stand behind them.
const COLUMNS: u16 = 12;
/// The last column definitions reach over, and letters that fit into a line of theirs.
const WORDS_TO: u16 = 7;
const WORDS_WIDTH: usize = 120;
const HEADING: Color = Color::RGB(0x1F3864);
const SHADE: Color = Color::RGB(0xE8EDF5);
const QUIET: Color = Color::RGB(0x7F7F7F);
const UP: Color = Color::RGB(0x1E7B34);
const DOWN: Color = Color::RGB(0xC0392B);

/// How cells look.
pub(crate) struct Formats {
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
    relative: Changes,
    points: Changes,
}

/// Changes in colour. Colours inside number formats differ between programs.
struct Changes {
    up: Format,
    down: Format,
    none: Format,
}

impl Changes {
    fn new(code: &str) -> Self {
        let none = Format::new().set_num_format(code);
        let (up, down) = (none.clone().set_font_color(UP), none.clone().set_font_color(DOWN));
        Self { up, down, none }
    }
}

impl Default for Formats {
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
            relative: Changes::new("+0.0%;-0.0%;0.0%"),
            points: Changes::new("+0.00\" pp\";-0.00\" pp\";0.00\" pp\""),
        }
    }
}

impl Formats {
    /// How a value of a unit looks.
    pub(crate) fn value(&self, unit: Unit) -> &Format {
        match unit {
            Unit::Share => &self.share,
            Unit::PerDevice | Unit::Hours => &self.hundredth,
            Unit::Seconds => &self.tenth,
            _ => &self.count,
        }
    }

    /// How its change looks.
    pub(crate) fn change(&self, unit: Unit, change: Option<f64>) -> &Format {
        let changes = if unit == Unit::Share { &self.points } else { &self.relative };
        match change {
            Some(change) if change > 0.0 => &changes.up,
            Some(change) if change < 0.0 => &changes.down,
            _ => &changes.none,
        }
    }
}

/// A sheet and the row that is written next.
pub(crate) struct Page<'a> {
    pub(crate) sheet: &'a mut Worksheet,
    pub(crate) formats: &'a Formats,
    pub(crate) name: String,
    pub(crate) row: u32,
    /// The first row below the charts so far.
    charts_end: u32,
}

/// Rows a chart covers.
const CHART_ROWS: u32 = 16;

impl<'a> Page<'a> {
    pub(crate) fn new(
        sheet: &'a mut Worksheet,
        formats: &'a Formats,
        name: String,
    ) -> Result<Self, XlsxError> {
        sheet.set_name(&name)?.set_screen_gridlines(false).set_landscape().set_print_fit_to_pages(1, 0);
        sheet.set_column_width(0, 34)?;
        for column in 1..COLUMNS {
            sheet.set_column_width(column, if column == 2 { 20 } else { 14 })?;
        }
        Ok(Self { sheet, formats, name, row: 0, charts_end: 0 })
    }

    /// What the sheet is about, when, and what to mind (or nothing).
    pub(crate) fn heading(&mut self, title: &str, period: &str, warning: &str) -> Result<(), XlsxError> {
        self.sheet.write_with_format(0, 0, title, &self.formats.title)?;
        self.sheet.write_with_format(1, 0, period, &self.formats.quiet)?;
        self.row = 2;
        self.note(warning)?;
        self.row = 3;
        Ok(())
    }

    /// The title of a part, with its definition below.
    pub(crate) fn section(&mut self, title: &str, words: &str) -> Result<(), XlsxError> {
        self.sheet.write_with_format(self.row, 0, title, &self.formats.section)?;
        self.row += 1;
        self.note(words)
    }

    /// Words in small across the columns of a table: a long line would widen the printed page.
    fn note(&mut self, words: &str) -> Result<(), XlsxError> {
        if words.is_empty() {
            return Ok(());
        }
        self.sheet.merge_range(self.row, 0, self.row, WORDS_TO, words, &self.formats.note)?;
        let width: usize = words.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
        let lines = u16::try_from(width / WORDS_WIDTH + 1).unwrap_or(1);
        self.sheet.set_row_height(self.row, lines.saturating_mul(15))?;
        self.row += 1;
        Ok(())
    }

    /// The titles of columns.
    pub(crate) fn header(&mut self, titles: &[String]) -> Result<(), XlsxError> {
        for (column, title) in (0..).zip(titles) {
            self.sheet.write_with_format(self.row, column, title, &self.formats.header)?;
        }
        let longest = titles.iter().map(|title| title.chars().count()).max().unwrap_or(0);
        self.sheet.set_row_height(self.row, if longest > 20 { 48 } else { 32 })?;
        self.row += 1;
        Ok(())
    }

    /// A line of words instead of a table.
    pub(crate) fn words(&mut self, words: &str) -> Result<(), XlsxError> {
        self.sheet.write_with_format(self.row, 0, words, &self.formats.quiet)?;
        self.row += 2;
        Ok(())
    }

    /// A number, or nothing where it is not known.
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

    /// A chart beside the rows from `top` on.
    pub(crate) fn chart(&mut self, top: u32, column: u16, chart: &Chart) -> Result<(), XlsxError> {
        self.sheet.insert_chart(top, column, chart)?;
        self.charts_end = top + CHART_ROWS;
        Ok(())
    }

    /// Leaves room before the next part, which begins below the chart of this one.
    pub(crate) fn gap(&mut self) {
        self.row = (self.row + 1).max(self.charts_end);
    }

    /// What a sheet needs at its end.
    pub(crate) fn finish(self) -> Result<(), XlsxError> {
        self.sheet.set_freeze_panes(3, 0)?;
        Ok(())
    }
}
