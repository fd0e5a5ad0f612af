//! Markdown tables. Written here because the output is a checked-in file: no padding, so that one changed cell changes one
//! line.

/// A table in Markdown.
pub(super) struct MarkdownTable {
    pub(super) text: String,
}

impl MarkdownTable {
    pub(super) fn new(titles: &[&str]) -> Self {
        let rule = "|---".repeat(titles.len());
        Self { text: format!("| {} |\n{rule}|\n", titles.join(" | ")) }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        self.text += &format!("| {} |\n", cells.join(" | "));
    }
}

/// Inline code.
pub(super) fn code(text: &str) -> String {
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_break_its_table() {
        let mut table = MarkdownTable::new(&["a", "b"]);
        table.row(["x|y".into(), "two\nlines".into()]);
        assert_eq!(table.text, "| a | b |\n|---|---|\n| x\\|y | two lines |\n");
    }
}
