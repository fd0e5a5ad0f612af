//! The metrics in Markdown.
use super::markdown::{MarkdownTable, code};
use crate::{error::Error, metrics::catalogue::MetricCatalogue};

/// The section about all metrics.
pub(super) fn section() -> Result<String, Error> {
    let catalogue = MetricCatalogue::built_in().map_err(Error::Failed)?;
    let text = String::from(
        "## Metrics\n\nThe numbers by the names people use, from [metrics.toml](metrics.toml): `millrace metrics show NAME` \
         shows the SQL, `millrace metrics query NAME` the values. Several definitions of one metric stand side by side; the \
         first is the usual one. A new meaning is a new version.\n\nWhat may be done with values: `sum` adds up over \
         everything; `distinct` is exact and adds up over dimensions, never over periods; `uniq` is estimated and never adds \
         up; `ratio` never adds up and is NULL where there is nothing to divide by; `gauge` is a state of now.\n\n",
    );
    let mut table = MarkdownTable::new(&["metric", "definition", "meaning", "unit", "kind", "cube"]);
    for metric in &catalogue.metrics {
        for (nth, definition) in metric.definitions.iter().enumerate() {
            let (zh, en) = (&metric.title.zh, &metric.title.en);
            let name = match nth {
                0 => format!("`{}` v{}<br>{en}<br>{zh}", metric.name, metric.version),
                _ => String::new(),
            };
            let words = format!("{}<br>{}", definition.words.en, definition.words.zh);
            let (_, unit) = metric.unit.words();
            let kind = metric.kind.as_str().to_owned();
            table.row([name, code(&definition.name), words, unit.into(), kind, code(&definition.cube)]);
        }
    }
    Ok(text + &table.text)
}
