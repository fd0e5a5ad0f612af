//! From the text of a file to cubes. Reading goes on after a mistake, so that all of them are said at once.
use event::{
    Field, FieldKind,
    predicate::{self, PropertyPath, Where, described},
};
use serde::Deserialize;

use super::{
    Cube, CubeLane, Dimension, EntryCondition, Explode, Filter, Fold, Half, Measure, Pane, Problem, Source,
    check,
};

/// The cubes of a file that could be read, and what is wrong with it.
pub(super) fn file(text: &str) -> (Vec<Cube>, Vec<Problem>) {
    let alone = |problem: String| (Vec::new(), vec![Problem { cube: String::new(), problem }]);
    let file: File = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => return alone(error.to_string().trim_end().to_owned()),
    };
    let (mut cubes, mut problems) = (Vec::new(), Vec::new());
    for (nth, table) in file.cube.into_iter().enumerate() {
        let name = table.get("name").and_then(toml::Value::as_str).map(str::to_owned);
        let name = name.unwrap_or_else(|| format!("number {}", nth + 1));
        let mut said = Vec::new();
        let cube = match WrittenCube::deserialize(table) {
            Ok(written) => cube(written, &mut said),
            Err(error) => {
                said.push(error.to_string().trim_end().to_owned());
                None
            }
        };
        cubes.extend(cube);
        problems.extend(said.into_iter().map(|problem| Problem { cube: name.clone(), problem }));
    }
    (cubes, problems)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExplode {
    field: String,
    #[serde(rename = "as")]
    names: Vec<String>,
}

/// Takes what is right of a result and notes what is wrong.
fn noted<T>(result: Result<T, String>, problems: &mut Vec<String>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

fn cube(written: WrittenCube, problems: &mut Vec<String>) -> Option<Cube> {
    noted(check::name("the name", &written.name), problems);
    let time = noted(time(written.time.as_deref()), problems);
    let panes = panes(&written.panes, problems);
    let retention_days = retention(&written.retention_days, &panes, problems);
    let explode = match written.explode {
        None => Some(None),
        Some(written) => noted(self::explode(written), problems).map(Some),
    };
    let said_before = problems.len();
    let known = explode.as_ref().and_then(Option::as_ref);
    let mut filter = filter(&written.filter, known, problems);
    // Test, bot and duplicate events count only where somebody asks for them.
    if !filter.event.iter().any(|condition| condition.field == Field::Kind) {
        filter.event.extend(noted(predicate::condition("kind", &"event".into()), problems));
    }
    let dimensions: Vec<Dimension> =
        written.dimensions.iter().filter_map(|written| noted(dimension(written, known), problems)).collect();
    let measures: Vec<Measure> =
        written.measures.iter().filter_map(|written| measure(written, known, problems)).collect();
    if written.measures.is_empty() {
        problems.push("it has no measures".into());
    }
    let whole = problems.len() == said_before;
    for name in known.iter().flat_map(|explode| &explode.names) {
        if whole && !dimensions.iter().any(|dimension| dimension.name == *name) {
            problems.push(format!(
                "`{name}` is exploded and no dimension: the rows of one event could not be told apart and would be \
                 counted as several; add it to `dimensions`"
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
            problems.push(format!("pane `{name}` stands twice, or after a wider one"));
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
            None => problems.push(format!("retention_days: {days} is no number of days from 1 to 65535")),
        }
    }
    retention
}

fn explode(written: WrittenExplode) -> Result<Explode, String> {
    let say = |problem: String| format!("explode: {problem}");
    let field = predicate::field_called(&written.field).map_err(say)?;
    let wanted = match field.kind() {
        FieldKind::List => 1,
        FieldKind::Map => 2,
        kind => {
            return Err(say(format!(
                "`{}` is {}, only lists and maps can be exploded",
                field.name(),
                described(kind)
            )));
        }
    };
    for name in &written.names {
        check::name("the name", name).map_err(say)?;
    }
    if written.names.len() != wanted || written.names.first() == written.names.get(1) {
        let names = if wanted == 1 { "one name for its entries" } else { "two names, for name and value" };
        return Err(say(format!("`as` gives {} {names}", described(field.kind()))));
    }
    Ok(Explode { field, names: written.names })
}

fn filter(written: &Where, explode: Option<&Explode>, problems: &mut Vec<String>) -> Filter {
    let mut filter = Filter::default();
    for (name, value) in written {
        match explode.and_then(|explode| explode.half(name)) {
            Some(half) => filter.entry.extend(noted(entry_condition(name, half, value), problems)),
            None => filter.event.extend(noted(predicate::condition(name, value), problems)),
        }
    }
    filter
}

/// `tag = "cats"` as for any text, or `active_definition = { in = "active_day" }`.
fn entry_condition(name: &str, half: Half, value: &serde_json::Value) -> Result<EntryCondition, String> {
    let say = |problem: String| format!("`where` for {name}: {problem}");
    let Some(list) = value.get("in") else {
        return predicate::text_test(value).map(|test| EntryCondition::Is(half, test)).map_err(say);
    };
    if value.as_object().is_none_or(|table| table.len() > 1) {
        return Err(say("`in` stands alone".into()));
    }
    let list = list.as_str().ok_or_else(|| say(format!("`in` takes the name of a list, not {list}")))?;
    let field = predicate::field_called(list).map_err(say)?;
    match field.kind() {
        FieldKind::List => Ok(EntryCondition::IsIn(half, field)),
        kind => Err(say(format!("`{list}` is {}, `in` takes a list", described(kind)))),
    }
}

/// `"platform"`, or `{ name = "cohort_day", field = "first_seen_day" }`.
fn dimension(written: &toml::Value, explode: Option<&Explode>) -> Result<Dimension, String> {
    const SHAPE: &str = "is neither the name of a field nor { name = \"column\", field = \"field\" }";
    let (name, field) = match written {
        toml::Value::String(field) => (None, field.as_str()),
        toml::Value::Table(table) => {
            let text = |key: &str| table.get(key).and_then(toml::Value::as_str);
            match (text("name"), text("field")) {
                (Some(name), Some(field)) if table.len() == 2 => (Some(name), field),
                _ => return Err(format!("dimension {written} {SHAPE}")),
            }
        }
        _ => return Err(format!("dimension {written} {SHAPE}")),
    };
    let dimension = match explode.and_then(|explode| explode.half(field)) {
        Some(half) => Dimension { name: name.unwrap_or(field).to_owned(), source: Source::Entry(half) },
        None => {
            let source = source(field)?;
            if let Source::Field(field) = source
                && field.kind() != FieldKind::Text
            {
                let kind = described(field.kind());
                let explode = match field.kind() {
                    FieldKind::List | FieldKind::Map => "; `explode` counts its entries one by one",
                    _ => "",
                };
                return Err(format!("dimension `{}` is {kind}, dimensions are texts{explode}", field.name()));
            }
            Dimension { name: name.map_or_else(|| column_of(field), str::to_owned), source }
        }
    };
    check::name("dimension", &dimension.name).map_err(|problem| {
        if name.is_some() {
            problem
        } else {
            format!("{problem}; write {{ name = \"column\", field = \"{field}\" }}")
        }
    })?;
    Ok(dimension)
}

/// The column of `properties.a.b` is `properties_a_b`.
fn column_of(field: &str) -> String {
    field.replace('.', "_")
}

fn source(name: &str) -> Result<Source, String> {
    match PropertyPath::parse(name) {
        Some(path) => path.map(Source::Property),
        None => predicate::field_called(name).map(Source::Field),
    }
}

/// What people ask for that cannot be made from partial sums, and what to write instead.
const NOT_ADDITIVE: &[(&[&str], &str)] = &[
    (
        &["avg", "average", "mean", "ratio", "rate", "share", "percent"],
        "cannot be added up over rows: write the sum and the count as two measures and divide when asking",
    ),
    (
        &["median", "percentile", "quantile", "p95", "p99", "stddev", "variance"],
        "cannot be added up over rows: count the events of each range with a `where` such as { gte = 100, lt = 200 }",
    ),
    (
        &["min", "max", "first", "last", "any"],
        "is no sum: dimensions tell values apart, and the lane `events` keeps each of them",
    ),
    (
        &["distinct", "count_distinct", "uniq_exact", "unique"],
        "cannot be added up over rows: write uniq = \"field\", a sketch that can be merged",
    ),
];
const MEASURE_KEYS: &[&str] = &["name", "count", "sum", "uniq", "where"];

fn measure(written: &toml::Table, explode: Option<&Explode>, problems: &mut Vec<String>) -> Option<Measure> {
    let text = |key: &str| written.get(key).and_then(toml::Value::as_str);
    let shown = text("name").or(text("sum")).or(text("uniq")).unwrap_or_default().to_owned();
    let before = problems.len();
    let say = |problem: String| format!("measure `{shown}`: {problem}");
    for key in written.keys().filter(|key| !MEASURE_KEYS.contains(&key.as_str())) {
        problems.push(say(unknown_key(key)));
    }
    let fold =
        if problems.len() > before { None } else { noted(fold(written, explode).map_err(say), problems) };
    let name = text("name").map(str::to_owned).or_else(|| text("sum").map(column_of));
    match &name {
        Some(name) => {
            noted(check::name("the measure", name), problems);
        }
        None => problems.push(say("it needs a `name`".into())),
    }
    let mut said = Vec::new();
    let filter = match written.get("where").map(|value| Where::deserialize(value.clone())) {
        None => Filter::default(),
        Some(Ok(written)) => filter(&written, explode, &mut said),
        Some(Err(_)) => {
            said.push("`where` is a table such as { platform = \"web\" }".into());
            Filter::default()
        }
    };
    problems.extend(said.into_iter().map(say));
    Some(Measure { name: name?, fold: fold?, filter })
}

fn unknown_key(key: &str) -> String {
    if let Some((_, advice)) = NOT_ADDITIVE.iter().find(|(names, _)| names.contains(&key)) {
        return format!("`{key}` {advice}");
    }
    let near = |one: &&&str| (strsim::jaro_winkler(one, key) * 1e6) as i64;
    let nearest = MEASURE_KEYS.iter().max_by_key(near).copied().unwrap_or_default();
    format!("there is no key `{key}`, the nearest is `{nearest}`")
}

fn fold(written: &toml::Table, explode: Option<&Explode>) -> Result<Fold, String> {
    const SHAPE: &str = "it takes exactly one of count = true, sum = \"field\", uniq = \"field\"";
    let folds = ["count", "sum", "uniq"].map(|key| written.get(key));
    match folds {
        [Some(toml::Value::Boolean(true)), None, None] => Ok(Fold::Count),
        [None, Some(toml::Value::String(name)), None] => {
            of_kind(name, &[FieldKind::Number], "sum", explode).map(Fold::Sum)
        }
        [None, None, Some(toml::Value::String(name))] => {
            of_kind(name, &[FieldKind::Key, FieldKind::Text], "uniq", explode).map(Fold::Uniq)
        }
        _ => Err(SHAPE.into()),
    }
}

fn of_kind(name: &str, kinds: &[FieldKind], verb: &str, explode: Option<&Explode>) -> Result<Source, String> {
    if explode.is_some_and(|explode| explode.half(name).is_some()) {
        return Err(format!(
            "`{name}` is exploded: each of its values has rows of its own, so a {verb} over it says nothing; count \
             them, or leave `explode` out"
        ));
    }
    let source = source(name)?;
    let Source::Field(field) = source else { return Ok(source) };
    if kinds.contains(&field.kind()) {
        return Ok(source);
    }
    let wanted: Vec<&str> = kinds.iter().map(|&kind| described(kind)).collect();
    Err(format!("`{name}` is {}, `{verb}` takes {}", described(field.kind()), wanted.join(" or ")))
}
