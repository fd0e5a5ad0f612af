//! The metrics in Markdown.
use super::markdown::{MarkdownTable, code};
use crate::{error::Error, metrics::catalogue::MetricCatalogue};

/// The section about all metrics.
pub(super) fn section() -> Result<String, Error> {
    let catalogue = MetricCatalogue::built_in().map_err(Error::Failed)?;
    let text = String::from(
        "## Metrics\n\nThe metrics of [metrics.toml](metrics.toml). `millrace metrics show NAME` shows the SQL, `millrace metrics \
         query NAME` the values. A metric can have several definitions; the first one is the default. A changed meaning has a \
         new version.\n\nKinds: values of kind `sum` are exact and add up over dimensions and periods. `distinct` is exact and \
         adds up over dimensions, not over periods. `uniq` is an estimate and does not add up. `ratio` does not add up and is \
         NULL if the denominator is 0. `gauge` is the current state.\n\n",
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
