//! Reads `where` and `explode` of a cube.
use event::{
    FieldKind,
    predicate::{self, Where, described},
};
use serde::Deserialize;

use super::check;
use super::definition::{EntryCondition, Explode, Filter, Half};
use super::problem::noted;

/// `explode` as it is written in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenExplode {
    field: String,
    #[serde(rename = "as")]
    names: Vec<String>,
}

/// Reads `explode`.
pub(super) fn explode(written: WrittenExplode) -> Result<Explode, String> {
    let in_context = |problem: String| format!("explode: {problem}");
    let field = predicate::field_called(&written.field).map_err(in_context)?;
    let wanted = match field.kind() {
        FieldKind::List => 1,
        FieldKind::Map => 2,
        kind => {
            return Err(in_context(format!(
                "`{}` is {}, only lists and maps can be exploded",
                field.name(),
                described(kind)
            )));
        }
    };
    for name in &written.names {
        check::name("the name", name).map_err(in_context)?;
    }
    if written.names.len() != wanted || written.names.first() == written.names.get(1) {
        let names = if wanted == 1 { "one name for its entries" } else { "two names, for name and value" };
        return Err(in_context(format!("`as` gives {} {names}", described(field.kind()))));
    }
    Ok(Explode { field, names: written.names })
}

/// Reads `where` of a cube or measure.
pub(super) fn filter(written: &Where, explode: Option<&Explode>, problems: &mut Vec<String>) -> Filter {
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
    let in_context = |problem: String| format!("`where` for {name}: {problem}");
    let Some(list) = value.get("in") else {
        return predicate::text_test(value).map(|test| EntryCondition::Is(half, test)).map_err(in_context);
    };
    if value.as_object().is_none_or(|table| table.len() > 1) {
        return Err(in_context("`in` allows no other key".into()));
    }
    let list =
        list.as_str().ok_or_else(|| in_context(format!("`in` takes the name of a list, not {list}")))?;
    let field = predicate::field_called(list).map_err(in_context)?;
    match field.kind() {
        FieldKind::List => Ok(EntryCondition::IsIn(half, field)),
        kind => Err(in_context(format!("`{list}` is {}, `in` takes a list", described(kind)))),
    }
}
