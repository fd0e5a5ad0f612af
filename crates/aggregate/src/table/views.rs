//! The view of a cube: all its panes, whichever lane writes them.
use super::dead_letters::DEAD_LETTERS;
use super::spec::{ViewSpec, quoted};
use super::types::{SKETCH_STATE, TEXT};
use crate::cube::{AggregateFunction, Cube, CubeLane, Filter, Pane};

/// The view of a cube. That of `quality` includes the dead letters.
pub fn cube_view(cube: &Cube, database: &str) -> ViewSpec {
    let with_dead_letters = cube.name == "quality";
    let mut columns: Vec<String> = vec!["pane".into(), "bucket".into()];
    columns.extend(cube.dimensions.iter().map(|dimension| quoted(&dimension.name)));
    if with_dead_letters {
        columns.push(format!("{} AS code", text("")));
    }
    columns.extend(cube.measures.iter().map(|measure| quoted(&measure.name)));
    columns.push("received_max".into());
    let columns = columns.join(", ");
    let of_lane = |lane: CubeLane| {
        let (database, table) = (quoted(database), format!("{}_local", lane.as_str()));
        format!("SELECT {columns} FROM {database}.{table} WHERE cube = '{}' AND src = ''", cube.name)
    };
    let mut selects: Vec<String> = cube.lanes().map(of_lane).collect();
    if with_dead_letters {
        selects.extend(cube.panes.iter().map(|&pane| dead_letters_as_quality(cube, pane, database)));
    }
    ViewSpec { name: cube.name.clone(), meaning: cube.meaning.clone(), select: selects.join(" UNION ALL ") }
}

/// Dead letters with the columns of the cube `quality`: kind `dead_letter`, one event each, by received time. Those of
/// stage `aggregate` are messages that no client has sent.
fn dead_letters_as_quality(cube: &Cube, pane: Pane, database: &str) -> String {
    let bucket = match pane.seconds() {
        Some(seconds) => format!("toStartOfInterval(received_at, toIntervalSecond({seconds}))"),
        None => "toStartOfDay(received_at)".to_owned(),
    };
    let mut columns =
        vec![format!("{} AS pane", text(pane.as_str())), format!("toDateTime({bucket}, 'UTC') AS bucket")];
    columns.extend(cube.dimensions.iter().map(|dimension| match dimension.name.as_str() {
        name @ ("app_id" | "platform" | "library") => quoted(name),
        "kind" => format!("{} AS kind", text("dead_letter")),
        name => format!("{} AS {}", text(""), quoted(name)),
    }));
    columns.push("code".into());
    columns.extend(cube.measures.iter().map(|measure| {
        let value = match measure.function {
            AggregateFunction::Uniq(_) => format!("arrayReduce('{SKETCH_STATE}', CAST([] AS Array(UInt64)))"),
            AggregateFunction::Count if measure.filter == Filter::default() => "toInt64(1)".to_owned(),
            AggregateFunction::Count | AggregateFunction::Sum(_) => "toInt64(0)".to_owned(),
        };
        format!("{value} AS {}", quoted(&measure.name))
    }));
    columns.push("received_at AS received_max".into());
    format!(
        "SELECT {} FROM {}.{DEAD_LETTERS} WHERE src = '' AND stage != 'aggregate'",
        columns.join(", "),
        quoted(database)
    )
}

fn text(value: &str) -> String {
    format!("CAST('{value}' AS {TEXT})")
}
