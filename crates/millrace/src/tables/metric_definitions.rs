//! What each metric means, for dashboards: table `metric_definitions`, one row per metric, definition and version.
//! `SELECT … FROM metric_definitions FINAL WHERE current` returns those in use.
use aggregate::migrate::create_missing_table;
use aggregate::table::quoted;
use aggregate::{Error, server};
use clickhouse::{Client, Row};
use runtime::config::Settings;
use serde::{Deserialize, Serialize};

/// The table.
const TABLE: &str = "metric_definitions";

/// One definition of a metric.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub(crate) struct MetricDefinitionRow {
    /// The metric.
    pub(crate) name: String,
    /// The definition of it.
    pub(crate) definition: String,
    /// A new version has a new meaning.
    pub(crate) version: u32,
    /// The title in Chinese.
    pub(crate) title_zh: String,
    /// The title in English.
    pub(crate) title_en: String,
    /// What it means, in Chinese.
    pub(crate) words_zh: String,
    /// What it means, in English.
    pub(crate) words_en: String,
    /// The unit of a value.
    pub(crate) unit: String,
    /// Whether values may be added up: sum, distinct, uniq, ratio or gauge.
    pub(crate) kind: String,
    /// The view it reads.
    pub(crate) cube: String,
    /// Dimensions it can be split by, without those it is always split by.
    pub(crate) dimensions: Vec<String>,
    /// Its SQL, with placeholders.
    pub(crate) sql: String,
    /// 1 while the catalogue has it, else 0.
    pub(crate) current: u8,
}

fn create(database: &str, engine: &str) -> String {
    let engine =
        if server::is_replicated(engine) { "ReplicatedReplacingMergeTree" } else { "ReplacingMergeTree" };
    format!(
        "CREATE TABLE {}.{TABLE} (
    name LowCardinality(String),
    definition LowCardinality(String),
    version UInt32,
    title_zh String,
    title_en String,
    words_zh String,
    words_en String,
    unit LowCardinality(String),
    kind LowCardinality(String),
    cube LowCardinality(String),
    dimensions Array(String),
    sql String,
    current UInt8,
    loaded_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = {engine}(loaded_at) ORDER BY (name, definition, version)
COMMENT 'What each metric means. FINAL WHERE current shows those in use.'",
        quoted(database)
    )
}

/// Creates the table when it is missing and returns one line per change.
///
/// # Errors
/// ClickHouse returned an error or did not reply.
pub(crate) async fn migrate(client: &Client, settings: &Settings) -> Result<Vec<String>, Error> {
    let database = &settings.clickhouse.database;
    let create = create(database, &settings.clickhouse.engine);
    let created = create_missing_table(client, settings, TABLE, &create).await?;
    Ok(if created { vec![format!("created table {database}.{TABLE}")] } else { Vec::new() })
}

/// Updates the table to the catalogue and returns one line per change. Older versions stay; those that are no longer in
/// the catalogue become `current = 0`.
///
/// # Errors
/// ClickHouse returned an error or did not reply.
pub(crate) async fn load(
    client: &Client,
    settings: &Settings,
    catalogue: &[MetricDefinitionRow],
) -> Result<Vec<String>, Error> {
    let table = format!("{}.{TABLE}", quoted(&settings.clickhouse.database));
    let select = format!(
        "SELECT toString(name) AS name, toString(definition) AS definition, version, title_zh, title_en, words_zh, \
         words_en, toString(unit) AS unit, toString(kind) AS kind, toString(cube) AS cube, dimensions, sql, current \
         FROM {table} FINAL WHERE current = 1 ORDER BY name, definition, version"
    );
    let present: Vec<MetricDefinitionRow> = client
        .query_raw(&select)
        .fetch_all()
        .await
        .map_err(|error| server::failed(settings, TABLE, &error))?;
    let (changed, done) = changes(&present, catalogue);
    if changed.is_empty() {
        return Ok(done);
    }
    let mut lines = Vec::new();
    for row in &changed {
        serde_json::to_writer(&mut lines, row).map_err(|error| Error::ClickHouse(error.to_string()))?;
        lines.push(b'\n');
    }
    let columns = "name, definition, version, title_zh, title_en, words_zh, words_en, unit, kind, cube, dimensions, \
                   sql, current";
    let target = format!("INSERT INTO {table} ({columns}) FORMAT JSONEachRow");
    let mut insert = client.insert_formatted_with(target).with_setting("async_insert", "0").buffered();
    insert.write_buffered(&lines);
    insert.end().await.map_err(|error| server::failed(settings, TABLE, &error))?;
    Ok(done)
}

/// Rows to write, and one line per change.
fn changes(
    present: &[MetricDefinitionRow],
    catalogue: &[MetricDefinitionRow],
) -> (Vec<MetricDefinitionRow>, Vec<String>) {
    fn key(row: &MetricDefinitionRow) -> (&str, &str, u32) {
        (row.name.as_str(), row.definition.as_str(), row.version)
    }
    let mut rows = Vec::new();
    let mut done = Vec::new();
    let mut loaded = 0;
    for row in catalogue {
        match present.iter().find(|known| key(known) == key(row)) {
            Some(known) if known == row => continue,
            Some(_) => {
                done.push(format!("changed metric {} ({}) version {}", row.name, row.definition, row.version))
            }
            None => loaded += 1,
        }
        rows.push(row.clone());
    }
    for row in present {
        if !catalogue.iter().any(|known| key(known) == key(row)) {
            done.push(format!("retired metric {} ({}) version {}", row.name, row.definition, row.version));
            rows.push(MetricDefinitionRow { current: 0, ..row.clone() });
        }
    }
    if loaded > 0 {
        done.insert(0, format!("loaded {loaded} definitions of metrics"));
    }
    (rows, done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, version: u32, sql: &str) -> MetricDefinitionRow {
        MetricDefinitionRow {
            name: name.into(),
            definition: "any".into(),
            version,
            title_zh: String::new(),
            title_en: String::new(),
            words_zh: String::new(),
            words_en: String::new(),
            unit: "devices".into(),
            kind: "sum".into(),
            cube: "audience".into(),
            dimensions: vec!["platform".into()],
            sql: sql.into(),
            current: 1,
        }
    }

    #[test]
    fn only_what_differs_is_written_and_what_is_gone_is_retired() {
        let present = [metric("a", 1, "x"), metric("b", 1, "x"), metric("c", 1, "x")];
        let catalogue = [metric("a", 1, "x"), metric("b", 1, "y"), metric("c", 2, "x"), metric("d", 1, "x")];
        let (rows, done) = changes(&present, &catalogue);
        let written: Vec<(&str, u32, u8)> =
            rows.iter().map(|row| (row.name.as_str(), row.version, row.current)).collect();
        assert_eq!(written, [("b", 1, 1), ("c", 2, 1), ("d", 1, 1), ("c", 1, 0)]);
        assert_eq!(
            done,
            [
                "loaded 2 definitions of metrics",
                "changed metric b (any) version 1",
                "retired metric c (any) version 1"
            ]
        );
        assert!(changes(&catalogue, &catalogue).0.is_empty());
    }

    #[test]
    fn the_table_is_replicated_if_the_configured_engine_is() {
        assert!(
            create("db", "ReplicatedAggregatingMergeTree")
                .contains("= ReplicatedReplacingMergeTree(loaded_at)")
        );
        assert!(create("db", "AggregatingMergeTree").contains("= ReplacingMergeTree(loaded_at)"));
    }
}
