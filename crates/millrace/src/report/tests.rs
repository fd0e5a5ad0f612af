//! The sheets name metrics, definitions and dimensions that exist.
use std::collections::BTreeSet;

use aggregate::{Cubes, cube};

use super::sheets::{DEFINITIONS, SHEETS, Section};
use crate::metrics::{catalogue::MetricCatalogue, period::TimeStep, query, views};

#[test]
fn every_metric_definition_and_dimension_of_the_sheets_exists() {
    let catalogue = MetricCatalogue::built_in().unwrap();
    let views = views::views(&Cubes::parse(cube::BUILT_IN).unwrap());
    let check = |name: &str, by: &[&str], alone: bool| {
        let (metric, definition) = name.split_once(':').map_or((name, None), |(m, d)| (m, Some(d)));
        let definition = catalogue.metric(metric).unwrap().definition(definition).unwrap();
        let known = query::dimensions(definition, &views[&definition.cube]);
        for dimension in by {
            assert!(known.iter().any(|known| known == dimension), "{name} by {dimension}");
        }
        assert!(!alone || definition.each.is_empty(), "{name} has more than one value");
        definition.clone()
    };
    for sheet in SHEETS {
        for section in sheet.sections {
            match section {
                Section::Numbers(names) | Section::Retention(names) => {
                    names.iter().for_each(|name| drop(check(name, &[], true)));
                }
                Section::Split(name, by) => {
                    let definition = check(name, by, false);
                    assert!(!by.is_empty() || !definition.each.is_empty(), "{name} is split by nothing");
                }
                Section::Series(names) => {
                    for name in *names {
                        assert!(check(name, &[], true).steps.contains(&TimeStep::Day), "{name}");
                    }
                }
                Section::Triangle(name) => assert_eq!(check(name, &[], false).each, ["day_number"]),
            }
        }
    }
}

#[test]
fn sheets_have_names_that_a_spreadsheet_takes() {
    let names: BTreeSet<String> =
        SHEETS.iter().map(|sheet| sheet.name()).chain([DEFINITIONS.to_owned()]).collect();
    assert_eq!(names.len(), SHEETS.len() + 1);
    for name in names {
        assert!(name.chars().count() <= 31 && !name.contains(['[', ']', ':', '*', '?', '/', '\\']), "{name}");
    }
}
