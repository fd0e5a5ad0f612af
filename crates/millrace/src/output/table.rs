//! The look of every table: no borders, two spaces between columns, numbers aligned to the right, titles in capitals.
//! Scripts read these lines, so a cell is never wrapped or shortened.
use std::borrow::Cow;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Row, presets};

use super::escape::escaped;

/// A table whose cells are safe for a terminal.
#[derive(Debug)]
pub(crate) struct Table(comfy_table::Table);

impl Table {
    /// Adds a row. A cell with a character that a terminal executes shows its code, and has no style.
    pub(crate) fn add_row(&mut self, row: impl Into<Row>) {
        let row: Row = row.into();
        let cells = row.cell_iter().map(|cell| match escaped(&cell.content()) {
            Cow::Borrowed(_) => cell.clone(),
            Cow::Owned(text) => Cell::new(text),
        });
        self.0.add_row(cells.collect::<Vec<Cell>>());
    }

    /// The table as text. Every line ends with a line break and has no trailing spaces.
    pub(crate) fn render(&self) -> String {
        self.0.trim_fmt() + "\n"
    }
}

/// The title of a column and how its cells are aligned.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column<'a> {
    /// Aligned to the left.
    Text(&'a str),
    /// Aligned to the right.
    Number(&'a str),
}

/// An empty table with these columns.
pub(crate) fn table(columns: &[Column<'_>]) -> Table {
    let mut table = comfy_table::Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.style_text_only();
    // One switch for the whole command: NO_COLOR, CLICOLOR and whether stdout is a terminal.
    if console::colors_enabled() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(columns.iter().map(|column| match column {
        Column::Text(title) | Column::Number(title) => title.to_uppercase(),
    }));
    for (index, column) in columns.iter().enumerate() {
        let alignment = match column {
            Column::Text(_) => CellAlignment::Left,
            Column::Number(_) => CellAlignment::Right,
        };
        if let Some(shown) = table.column_mut(index) {
            shown.set_padding((0, 2)).set_cell_alignment(alignment);
        }
    }
    Table(table)
}

#[cfg(test)]
mod tests {
    use comfy_table::Color;

    use super::*;

    #[test]
    fn cells_are_aligned_whatever_script_and_colour_they_have() {
        let mut table = table(&[Column::Text("name"), Column::Number("events")]);
        table.add_row(["会员节", "7"]);
        table.add_row([Cell::new("draw"), Cell::new("1 200").fg(Color::Red)]);
        table.0.enforce_styling();
        let text = table.render();
        assert_eq!(console::strip_ansi_codes(&text), "NAME    EVENTS\n会员节       7\ndraw     1 200\n");
        assert!(text.contains("\u{1b}["), "{text:?}");
    }

    #[test]
    fn a_long_cell_stays_on_one_line() {
        let mut table = table(&[Column::Text("reason")]);
        table.add_row(["a word ".repeat(100)]);
        assert_eq!(table.render().lines().count(), 2);
    }

    #[test]
    fn a_cell_cannot_leave_its_line_or_turn_the_text() {
        let mut table = table(&[Column::Text("name"), Column::Number("events")]);
        table.add_row(["spring\u{1b}[2J\nfake  9", "7"]);
        table.add_row([Cell::new("\u{202e}gpj").fg(Color::Red), "8".into()]);
        let text = table.render();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("spring\\u{1b}[2J\\nfake  9") && text.contains("\\u{202e}gpj"), "{text}");
    }
}
