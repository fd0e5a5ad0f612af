//! From the text of a file to cubes. Reading goes on after a mistake, so that all of them are reported.
use event::{
    Field,
    predicate::{self, Where},
};
use serde::Deserialize;

use super::definition::{Cube, Dimension, Measure};
use super::filter::WrittenExplode;
use super::pane::{CubeLane, Pane};
use super::problem::{CubeProblem, noted};
use super::{check, column, filter};

/// The cubes of a file that could be read, and what is wrong with it.
pub(super) fn file(text: &str) -> (Vec<Cube>, Vec<CubeProblem>) {
    let file: WrittenFile = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => {
            let problem = error.to_string().trim_end().to_owned();
            return (Vec::new(), vec![CubeProblem { cube: String::new(), problem }]);
        }
    };
    let (mut cubes, mut problems) = (Vec::new(), Vec::new());
    for (nth, table) in file.cube.into_iter().enumerate() {
        let name = table.get("name").and_then(toml::Value::as_str).map(str::to_owned);
        let name = name.unwrap_or_else(|| format!("number {}", nth + 1));
        let mut found = Vec::new();
        let cube = match WrittenCube::deserialize(table) {
            Ok(written) => cube(written, &mut found),
            Err(error) => {
                found.push(error.to_string().trim_end().to_owned());
                None
            }
        };
        cubes.extend(cube);
        problems.extend(found.into_iter().map(|problem| CubeProblem { cube: name.clone(), problem }));
    }
    (cubes, problems)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    #[serde(default)]
    cube: Vec<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCube {
    name: String,
    #[serde(default)]
    meaning: String,
    panes: Vec<String>,
    #[serde(default)]
    time: Option<String>,
    #[serde(default, rename = "where")]
    filter: Where,
    #[serde(default)]
    explode: Option<WrittenExplode>,
    dimensions: Vec<toml::Value>,
    measures: Vec<toml::Table>,
    #[serde(default)]
    retention_days: toml::Table,
}

fn cube(written: WrittenCube, problems: &mut Vec<String>) -> Option<Cube> {
    noted(check::name("the name", &written.name), problems);
    let time = noted(time(written.time.as_deref()), problems);
    let panes = panes(&written.panes, problems);
    let retention_days = retention(&written.retention_days, &panes, problems);
    let explode = match written.explode {
        None => Some(None),
        Some(written) => noted(filter::explode(written), problems).map(Some),
    };
    let problems_before = problems.len();
    let known = explode.as_ref().and_then(Option::as_ref);
    let mut filter = filter::filter(&written.filter, known, problems);
    // Test, bot and duplicate events count only in a cube that names `kind`.
    if !filter.event.iter().any(|condition| condition.field == Field::Kind) {
        filter.event.extend(noted(predicate::condition("kind", &"event".into()), problems));
    }
    let dimensions: Vec<Dimension> = written
        .dimensions
        .iter()
        .filter_map(|written| noted(column::dimension(written, known), problems))
        .collect();
    let measures: Vec<Measure> =
        written.measures.iter().filter_map(|written| column::measure(written, known, problems)).collect();
    if written.measures.is_empty() {
        problems.push("it has no measures".into());
    }
    let is_complete = problems.len() == problems_before;
    for name in known.iter().flat_map(|explode| &explode.names) {
        if is_complete && !dimensions.iter().any(|dimension| dimension.name == *name) {
            problems.push(format!(
                "`{name}` is exploded and not a dimension: one event would count several times in the same row; add it \
                 to `dimensions`"
            ));
        }
    }
    let cube = Cube {
        name: written.name,
        meaning: written.meaning,
        panes,
        time: time?,
        filter,
        explode: explode?,
        dimensions,
        measures,
        retention_days,
    };
    problems.extend(check::columns(&cube));
    Some(cube)
}

fn time(name: Option<&str>) -> Result<Field, String> {
    match name {
        None | Some("event_time") => Ok(Field::EventTime),
        Some("received_at") => Ok(Field::ReceivedAt),
        Some(other) => Err(format!("time is event_time or received_at, not `{other}`")),
    }
}

fn panes(names: &[String], problems: &mut Vec<String>) -> Vec<Pane> {
    let mut panes = Vec::with_capacity(names.len());
    for name in names {
        let Some(pane) = Pane::ALL.iter().copied().find(|pane| pane.as_str() == name) else {
            problems.push(format!(
                "there is no pane `{name}`; known: 10s, 60s (lane live), 1h, 1d (lane report)"
            ));
            continue;
        };
        if panes.last().is_some_and(|&before| before >= pane) {
            problems.push(format!("pane `{name}` is listed twice, or after a wider one"));
            continue;
        }
        panes.push(pane);
    }
    if names.is_empty() {
        problems.push("it has no panes; known: 10s, 60s (lane live), 1h, 1d (lane report)".into());
    }
    panes
}

fn retention(written: &toml::Table, panes: &[Pane], problems: &mut Vec<String>) -> Vec<(CubeLane, u16)> {
    let mut retention = Vec::new();
    for (name, days) in written {
        let Some(&lane) = CubeLane::ALL.iter().find(|lane| lane.as_str() == name) else {
            problems.push(format!("retention_days: there is no lane `{name}`; known: live, report"));
            continue;
        };
        if !panes.iter().any(|pane| pane.lane() == lane) {
            problems.push(format!("retention_days: the cube has no pane in lane {name}"));
        }
        match days.as_integer().and_then(|days| u16::try_from(days).ok()) {
            Some(0) => problems.push("retention_days is 0, so nothing would be kept".into()),
            Some(days) => retention.push((lane, days)),
            None => problems.push(format!("retention_days: {days} is not a number of days from 1 to 65535")),
        }
    }
    retention
}
