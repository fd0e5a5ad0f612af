//! The catalogue as rows of the table `metric_definitions`.
use std::collections::BTreeMap;

use serde::Serialize;

use super::{Catalogue, cubes::View, statement};
use crate::tables::metric_definitions::MetricDefinition;

/// One row per definition.
pub(crate) fn rows(catalogue: &Catalogue, views: &BTreeMap<String, View>) -> Vec<MetricDefinition> {
    let mut rows = Vec::new();
    for metric in &catalogue.metrics {
        for definition in &metric.definitions {
            let view = views.get(&definition.cube);
            rows.push(MetricDefinition {
                name: metric.name.clone(),
                definition: definition.name.clone(),
                version: metric.version,
                title_zh: metric.title.zh.clone(),
                title_en: metric.title.en.clone(),
                words_zh: definition.words.zh.clone(),
                words_en: definition.words.en.clone(),
                unit: written(&metric.unit),
                kind: metric.kind.as_str().into(),
                cube: definition.cube.clone(),
                dimensions: view.map(|view| statement::dimensions(definition, view)).unwrap_or_default(),
                sql: definition.sql.clone(),
                current: 1,
            });
        }
    }
    rows
}

/// A unit as the file writes it.
pub(crate) fn written(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}
