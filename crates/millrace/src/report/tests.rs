//! The plan of a report names metrics, definitions and dimensions that exist.
use std::collections::BTreeSet;

use aggregate::{Cubes, cube};

use super::plan::{DEFINITIONS, Part, SUBJECTS};
use crate::metrics::{Catalogue, cubes, period::Step, statement};

#[test]
fn the_plan_names_what_exists() {
    let catalogue = Catalogue::built_in().unwrap();
    let views = cubes::views(&Cubes::parse(cube::BUILT_IN).unwrap());
    let check = |name: &str, by: &[&str], alone: bool| {
        let (metric, definition) = name.split_once(':').map_or((name, None), |(m, d)| (m, Some(d)));
        let definition = catalogue.metric(metric).unwrap().definition(definition).unwrap();
        let known = statement::dimensions(definition, &views[&definition.cube]);
        for dimension in by {
            assert!(known.iter().any(|known| known == dimension), "{name} by {dimension}");
        }
        assert!(!alone || definition.each.is_empty(), "{name} has more than one value");
        definition.clone()
    };
    for subject in SUBJECTS {
        for part in subject.parts {
            match part {
                Part::Numbers(names) | Part::Retention(names) => {
                    names.iter().for_each(|name| drop(check(name, &[], true)));
                }
                Part::Split(name, by) => {
                    let definition = check(name, by, false);
                    assert!(!by.is_empty() || !definition.each.is_empty(), "{name} is split by nothing");
                }
                Part::Series(names) => {
                    for name in *names {
                        assert!(check(name, &[], true).steps.contains(&Step::Day), "{name}");
                    }
                }
                Part::Triangle(name) => assert_eq!(check(name, &[], false).each, ["day_number"]),
            }
        }
    }
}

#[test]
fn sheets_have_names_that_a_spreadsheet_takes() {
    let names: BTreeSet<String> =
        SUBJECTS.iter().map(|subject| subject.name()).chain([DEFINITIONS.to_owned()]).collect();
    assert_eq!(names.len(), SUBJECTS.len() + 1);
    for name in names {
        assert!(name.chars().count() <= 31 && !name.contains(['[', ']', ':', '*', '?', '/', '\\']), "{name}");
    }
}
