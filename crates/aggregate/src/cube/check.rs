//! Checks of names and limits, and of cubes against each other: the cubes of a lane share one table, so a column name
//! has one meaning.
use std::collections::{BTreeMap, BTreeSet};

use super::definition::Cube;
use super::pane::CubeLane;
use super::problem::CubeProblem;

/// Columns that every lane table has.
const RESERVED_COLUMNS: &[&str] = &[
    "cube",
    "pane",
    "bucket",
    "keep_days",
    "received_max",
    "src",
    "src_end",
    "code",
    "ledger_events",
    "ledger_duplicates",
];
/// Views of the database that are not cubes.
const RESERVED_VIEWS: &[&str] =
    &["dead_letters", "events", "activity_history", "erasures", "metric_definitions"];
/// Most dimensions of one cube: each is part of every group's key.
const MAX_DIMENSIONS: usize = 16;
/// Most measures of one cube.
const MAX_MEASURES: usize = 32;
/// Most columns that the cubes of a lane may add to its table: each costs a file in every data part on disk.
const MAX_COLUMNS: usize = 250;

/// Whether a cube, dimension or measure may have this name.
pub(super) fn name(what: &str, name: &str) -> Result<(), String> {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && name.len() <= 64;
    if !plain {
        return Err(format!(
            "{what} `{name}` must be of a-z, 0-9 and _, begin with a letter and have at most 64 characters"
        ));
    }
    if RESERVED_COLUMNS.contains(&name) || name.ends_with("_ids") || name.ends_with("_local") {
        return Err(format!("{what} `{name}` is reserved for the tables"));
    }
    Ok(())
}

/// What is wrong with the columns of one cube.
pub(super) fn columns(cube: &Cube) -> Vec<String> {
    let mut problems = Vec::new();
    let (dimensions, measures) = (cube.dimensions.len(), cube.measures.len());
    if dimensions > MAX_DIMENSIONS {
        problems.push(format!(
            "too many columns: {dimensions} dimensions are more than {MAX_DIMENSIONS}; split it into cubes that \
             answer different questions"
        ));
    }
    if measures > MAX_MEASURES {
        problems.push(format!("too many columns: {measures} measures are more than {MAX_MEASURES}"));
    }
    let mut names = BTreeSet::new();
    for dimension in &cube.dimensions {
        if !names.insert(&dimension.name) {
            problems.push(format!("dimension `{}` is listed twice", dimension.name));
        }
    }
    for measure in &cube.measures {
        if !names.insert(&measure.name) {
            problems
                .push(format!("two columns are called `{}`: give the measure another `name`", measure.name));
        }
    }
    problems
}

/// What is wrong with the cubes compared with each other.
pub(super) fn together(cubes: &[Cube]) -> Vec<CubeProblem> {
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    let mut columns: BTreeMap<&str, (ColumnUse, &str)> = BTreeMap::new();
    for cube in cubes {
        let mut fail = |problem: String| problems.push(CubeProblem { cube: cube.name.clone(), problem });
        if !names.insert(cube.name.as_str()) || RESERVED_VIEWS.contains(&cube.name.as_str()) {
            fail("there is another view of this name".into());
            continue;
        }
        for (column, used) in uses(cube) {
            let (before, other) = *columns.entry(column).or_insert((used, &cube.name));
            if before != used {
                fail(format!(
                    "`{column}` is {} here and {} in cube `{other}`: one of them needs another name",
                    used.described(),
                    before.described()
                ));
            }
        }
    }
    problems.extend(CubeLane::ALL.iter().filter_map(|&lane| too_wide(cubes, lane)));
    problems
}

fn too_wide(cubes: &[Cube], lane: CubeLane) -> Option<CubeProblem> {
    let mut columns = BTreeMap::new();
    for cube in cubes.iter().filter(|cube| cube.lanes().any(|of| of == lane)) {
        columns.extend(uses(cube));
        if columns.len() > MAX_COLUMNS {
            let problem = format!(
                "too many columns: with this cube the table of lane {} has {}, more than {MAX_COLUMNS}; share names of \
                 dimensions and measures among cubes",
                lane.as_str(),
                columns.len()
            );
            return Some(CubeProblem { cube: cube.name.clone(), problem });
        }
    }
    None
}

fn uses(cube: &Cube) -> impl Iterator<Item = (&str, ColumnUse)> {
    let dimensions = cube.dimensions.iter().map(|one| (one.name.as_str(), ColumnUse::Dimension));
    let measures = cube.measures.iter().map(|measure| {
        (measure.name.as_str(), if measure.is_uniq() { ColumnUse::Uniq } else { ColumnUse::Sum })
    });
    dimensions.chain(measures)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnUse {
    Dimension,
    Sum,
    Uniq,
}

impl ColumnUse {
    fn described(self) -> &'static str {
        match self {
            Self::Dimension => "a dimension",
            Self::Sum => "a sum",
            Self::Uniq => "a uniq",
        }
    }
}
