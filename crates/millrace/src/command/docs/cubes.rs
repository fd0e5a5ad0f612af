//! The cubes in Markdown.
use aggregate::{
    Cubes,
    cube::{AggregateFunction, Cube, CubeLane, EntryCondition, Filter, Half, ValueSource},
};
use event::{
    Field,
    predicate::{Condition, Test},
};

use super::markdown::{MarkdownTable, code};

/// The section about all cubes.
pub(super) fn section(cubes: &Cubes) -> String {
    let mut text = String::from(
        "## Cubes\n\nEach cube is a view in ClickHouse. Besides its dimensions it has the columns `pane` (`10s`, `60s`, `1h`, \
         `1d`) and `bucket`, the start of the pane. Select one pane in every query. A `1d` pane starts at midnight of \
         `business_timezone`. Views contain partial sums, so every query needs a `GROUP BY`. Unless stated otherwise, a cube \
         counts events of kind `event`, without test events, bots and duplicates. How to add your own cubes: \
         [cubes.toml](cubes.toml).\n",
    );
    for cube in &cubes.cubes {
        text += &one(cube);
    }
    text
}

fn one(cube: &Cube) -> String {
    let panes: Vec<&str> = cube.panes.iter().map(|pane| pane.as_str()).collect();
    let kept = |lane: CubeLane| format!("{} {} d", lane.as_str(), cube.retention_of(lane));
    let kept: Vec<String> = cube.lanes().map(kept).collect();
    let mut text = format!(
        "\n### `{}`\n\n{}\n\nPanes {}, kept: {}. Time: `{}`.",
        cube.name,
        cube.meaning,
        panes.join(", "),
        kept.join(", "),
        cube.time.name()
    );
    let of_events = |condition: &Condition| is_kind_event(condition);
    let mut filter = cube.filter.clone();
    filter.event.retain(|condition| !of_events(condition));
    let filter = described(&filter, cube);
    text += &match (cube.filter.event.iter().any(of_events), filter.as_str()) {
        (true, "") => String::new(),
        (true, filter) => format!(" Counts events where {filter}."),
        (false, "") => " Counts events of every kind.".to_owned(),
        (false, filter) => format!(" Counts events of any kind where {filter}."),
    };
    if let Some(explode) = &cube.explode {
        text += &format!(" Has one row per entry of `{}`.", explode.field.name());
    }
    let dimensions: Vec<String> = cube
        .dimensions
        .iter()
        .map(|dimension| match &dimension.source {
            ValueSource::Field(field) if field.name() != dimension.name => {
                format!("`{}` (from `{}`)", dimension.name, field.name())
            }
            ValueSource::Property(path) => format!("`{}` (from `{path}`)", dimension.name),
            ValueSource::Field(_) | ValueSource::Entry(_) => code(&dimension.name),
        })
        .collect();
    text += &format!("\n\nDimensions: {}.\n\n", dimensions.join(", "));
    let mut table = MarkdownTable::new(&["measure", "counts", "query"]);
    for measure in &cube.measures {
        let what = match &measure.function {
            AggregateFunction::Count => "events".to_owned(),
            AggregateFunction::Sum(source) => format!("sum of `{}`", name_of(source, cube)),
            AggregateFunction::Uniq(source) => {
                format!("unique `{}`, estimated, error about 0.5 %", name_of(source, cube))
            }
        };
        let filter = described(&measure.filter, cube);
        let what = if filter.is_empty() { what } else { format!("{what} where {filter}") };
        let function = if measure.is_uniq() { "uniqCombined64Merge(14)" } else { "sum" };
        table.row([code(&measure.name), what, code(&format!("{function}({})", measure.name))]);
    }
    text + &table.text
}

/// The default condition of a cube.
fn is_kind_event(condition: &Condition) -> bool {
    let is_event = |test: &Test| matches!(test, Test::TextIn(values) if values == &["event"]);
    condition.field == Field::Kind && is_event(&condition.test)
}

fn name_of(source: &ValueSource, cube: &Cube) -> String {
    match source {
        ValueSource::Field(field) => field.name().to_owned(),
        ValueSource::Property(path) => path.to_string(),
        ValueSource::Entry(half) => half_name(*half, cube),
    }
}

fn half_name(half: Half, cube: &Cube) -> String {
    let place = if half == Half::First { 0 } else { 1 };
    let name = cube.explode.as_ref().and_then(|explode| explode.names.get(place));
    name.cloned().unwrap_or_default()
}

/// All conditions as text; '' without any.
fn described(filter: &Filter, cube: &Cube) -> String {
    let events = filter.event.iter().map(|condition| test(&subject(condition), &condition.test));
    let entries = filter.entry.iter().map(|condition| match condition {
        EntryCondition::Is(half, inner) => test(&half_name(*half, cube), inner),
        EntryCondition::IsIn(half, list) => format!("`{}` in `{}`", half_name(*half, cube), list.name()),
    });
    events.chain(entries).collect::<Vec<_>>().join(" and ")
}

fn subject(condition: &Condition) -> String {
    match &condition.path {
        Some(path) if condition.field == Field::Properties => path.to_string(),
        _ => condition.field.name().to_owned(),
    }
}

fn test(name: &str, test_of: &Test) -> String {
    match test_of {
        Test::TextIn(values) => one_of(name, values),
        Test::NumberIn(values) => one_of(name, &values.iter().map(i64::to_string).collect::<Vec<_>>()),
        Test::Prefix(prefix) => format!("`{name}` starts with {prefix}"),
        Test::Between(from, i64::MAX) => format!("`{name}` ≥ {from}"),
        Test::Between(i64::MIN, to) => format!("`{name}` ≤ {to}"),
        Test::Between(from, to) => format!("`{name}` from {from} to {to}"),
        Test::Exists(true) => format!("`{name}` is set"),
        Test::Exists(false) => format!("`{name}` is not set"),
        Test::Not(inner) => match &**inner {
            Test::TextIn(_) | Test::NumberIn(_) => {
                test(name, inner).replacen(" = ", " ≠ ", 1).replacen(" in ", " not in ", 1)
            }
            other => format!("not ({})", test(name, other)),
        },
        Test::All(tests) => tests.iter().map(|inner| test(name, inner)).collect::<Vec<_>>().join(" and "),
    }
}

fn one_of(name: &str, values: &[String]) -> String {
    match values {
        [one] => format!("`{name}` = {one}"),
        several => format!("`{name}` in {}", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_written_as_text() {
        let cubes = Cubes::parse(
            r#"[[cube]]
            name = "custom_x"
            panes = ["1h"]
            where = { kind = "event", platform = ["ios", "android"], event_name = { not = "share" }, played_ms = { gt = 9 } }
            dimensions = ["app_id"]
            measures = [{ name = "shown", count = true, where = { page_path = { prefix = "/vip/" } } }]"#,
        )
        .unwrap();
        let text = section(&cubes);
        for words in [
            "`platform` in ios, android",
            "`event_name` ≠ share",
            "`played_ms` ≥ 10",
            "events where `page_path` starts with /vip/",
            "Counts events where ",
            "Panes 1h, kept: report",
        ] {
            assert!(text.contains(words), "no {words:?} in {text}");
        }
    }
}
