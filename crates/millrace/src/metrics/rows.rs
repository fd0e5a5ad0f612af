//! The catalogue as rows of the table `metric_definitions`.
use std::collections::BTreeMap;

use aggregate::Cubes;
use serde::Serialize;

use super::{
    catalogue::MetricCatalogue,
    query,
    views::{self, CubeView},
};
use crate::tables::metric_definitions::MetricDefinitionRow;

/// The rows of the built-in catalogue. Errors are one line.
pub(crate) fn built_in(cubes: &Cubes) -> Result<Vec<MetricDefinitionRow>, String> {
    Ok(rows(&MetricCatalogue::built_in()?, &views::views(cubes)))
}

/// One row per definition.
fn rows(catalogue: &MetricCatalogue, views: &BTreeMap<String, CubeView>) -> Vec<MetricDefinitionRow> {
    let mut rows = Vec::new();
    for metric in &catalogue.metrics {
        for definition in &metric.definitions {
            let view = views.get(&definition.cube);
            rows.push(MetricDefinitionRow {
                name: metric.name.clone(),
                definition: definition.name.clone(),
                version: metric.version,
                title_zh: metric.title.zh.clone(),
                title_en: metric.title.en.clone(),
                words_zh: definition.words.zh.clone(),
                words_en: definition.words.en.clone(),
                unit: key(&metric.unit),
                kind: metric.kind.as_str().into(),
                cube: definition.cube.clone(),
                dimensions: view.map(|view| query::dimensions(definition, view)).unwrap_or_default(),
                sql: definition.sql.clone(),
                current: 1,
            });
        }
    }
    rows
}

/// The name of a unit or a kind in the file.
pub(crate) fn key(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}
