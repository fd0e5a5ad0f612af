//! A plain table: columns as wide as their widest cell on screen, numbers to the right.
use console::measure_text_width;

/// A table for people.
#[derive(Debug, Default)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

#[derive(Debug)]
struct Column {
    title: String,
    to_the_right: bool,
}

impl Table {
    /// A table with these columns; a title that begins with `>` makes its column one of numbers.
    pub(crate) fn new(titles: &[&str]) -> Self {
        let column = |title: &&str| Column {
            title: title.trim_start_matches('>').to_owned(),
            to_the_right: title.starts_with('>'),
        };
        Self { columns: titles.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row: one cell per column, with or without colour.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Adds a row whose columns are known only now: one cell per column.
    pub(crate) fn cells(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text, every line ended.
    pub(crate) fn render(&self) -> String {
        let width = |index: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            let widest = cells.map(|cell| measure_text_width(cell)).max().unwrap_or(0);
            widest.max(measure_text_width(&self.columns[index].title))
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let titles = self.columns.iter().map(|column| column.title.to_uppercase()).collect();
        let mut text = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let mut line = String::new();
            for (index, cell) in row.iter().enumerate().take(widths.len()) {
                let padding = " ".repeat(widths[index].saturating_sub(measure_text_width(cell)));
                if index > 0 {
                    line.push_str("  ");
                }
                if self.columns[index].to_the_right {
                    line.push_str(&padding);
                    line.push_str(cell);
                } else {
                    line.push_str(cell);
                    line.push_str(&padding);
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A count with its thousands apart.
pub(crate) fn count(number: impl Into<i128>) -> String {
    let number = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A length of time in the unit that fits.
pub(crate) fn duration(ms: i64) -> String {
    match ms {
        ..=9_999 => format!("{:.1} s", ms as f64 / 1000.0),
        10_000..=119_999 => format!("{} s", ms / 1000),
        120_000..=7_199_999 => format!("{} min", ms / 60_000),
        7_200_000..=172_799_999 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_each_other_whatever_script_and_colour_they_have() {
        let mut table = Table::new(&["name", ">events"]);
        table.row(["会员节".into(), "7".into()]);
        table.row(["draw".into(), console::style("1 200").red().force_styling(true).to_string()]);
        assert_eq!(table.render(), "NAME    EVENTS\n会员节       7\ndraw     \u{1b}[31m1 200\u{1b}[0m\n");
    }

    #[test]
    fn counts_and_durations_read_at_a_glance() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (-1_234_567, "-1 234 567")] {
            assert_eq!(count(number), text);
        }
        for (ms, text) in [
            (350, "0.3 s"),
            (9_950, "9.9 s"),
            (12_000, "12 s"),
            (180_000, "3 min"),
            (10_800_000, "3 h"),
            (432_000_000, "5 d"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }
}
