//! The values of a metric as CSV. A spreadsheet program runs a cell that begins like a formula, a terminal executes control
//! characters, and clients choose some of the texts: such a cell gets an apostrophe, such a character is shown as its code.
use std::borrow::Cow;

use csv::{StringRecord, Writer};

use crate::{
    error::Error,
    metrics::{clickhouse::MetricValues, query::MetricQuery},
    output::{Output, escaped},
};

/// How texts become cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cells {
    /// As they are.
    Raw,
    /// No text is a formula, and none controls a terminal.
    Safe,
}

/// Spreadsheet programs with Chinese or Japanese input take the full-width letters for the others.
const FORMULA: [char; 11] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

impl Cells {
    fn cell(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Raw => text.into(),
            Self::Safe if text.starts_with(FORMULA) => format!("'{}", escaped(text)).into(),
            Self::Safe => escaped(text),
        }
    }
}

/// Prints a line of titles and one line per value.
pub(super) fn write(
    output: &mut Output,
    query: &MetricQuery<'_>,
    values: &MetricValues,
    cells: Cells,
) -> Result<(), Error> {
    let mut lines = Writer::from_writer(output.raw());
    for record in records(query.metric.interval, values, cells) {
        lines.write_record(&record).map_err(std::io::Error::from)?;
    }
    Ok(lines.flush()?)
}

fn records(interval: bool, values: &MetricValues, cells: Cells) -> Vec<StringRecord> {
    let mut titles = StringRecord::from(vec!["time"]);
    titles.extend(&values.dimensions);
    titles.push_field("value");
    if interval {
        titles.extend(["low", "high"]);
    }
    let mut records = vec![titles];
    for row in &values.rows {
        // An unknown value is an empty cell.
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let mut record = StringRecord::from(vec![row.time.as_str()]);
        for text in &row.key {
            record.push_field(&cells.cell(text));
        }
        record.push_field(&number(row.value));
        if interval {
            record.extend([number(row.low), number(row.high)]);
        }
        records.push(record);
    }
    records
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::metrics::clickhouse::MetricRow;

    #[test]
    fn a_row_has_its_time_its_dimensions_and_an_empty_cell_for_an_unknown_value() {
        let row = |key: [&str; 2], value, low| MetricRow {
            time: "2026-03-01".into(),
            key: key.map(str::to_owned).into(),
            named: Map::new(),
            value,
            low,
            high: None,
        };
        let values = MetricValues {
            dimensions: vec!["platform".into(), "channel_group".into()],
            rows: vec![row(["ios", ""], Some(7.0), Some(0.5)), row(["a,b", "\""], None, None)],
        };
        let mut writer = Writer::from_writer(Vec::new());
        for record in records(true, &values, Cells::Safe) {
            writer.write_record(&record).unwrap();
        }
        let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        assert_eq!(
            text,
            "time,platform,channel_group,value,low,high\n2026-03-01,ios,,7,0.5,\n2026-03-01,\"a,b\",\"\"\"\",,,\n"
        );
    }

    #[test]
    fn a_text_that_begins_like_a_formula_gets_an_apostrophe_unless_raw_is_asked_for() {
        for (text, expected) in [
            ("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\\t=1"),
            ("\r=1", "'\\r=1"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("\u{ff20}SUM", "'\u{ff20}SUM"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\nb", "a\\nb"),
            ("organic_search", "organic_search"),
            ("a=b", "a=b"),
            ("", ""),
        ] {
            assert_eq!(Cells::Safe.cell(text), expected);
            assert_eq!(Cells::Raw.cell(text), text);
        }
    }
}
