//! Where values come from: `default.toml`, a file, the environment. `default.toml` has every key with its reason, so a
//! key that it does not have is a mistake. Each value is checked by itself, so that one run shows every mistake.
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, path::Path};
use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    allowed,
    error::{ConfigError, Mistakes, Origins},
    secret,
};

const DEFAULTS: &str = include_str!("../default.toml");
const ENVIRONMENT_PREFIX: &str = "MILLRACE__";
/// Sections whose keys are not in `default.toml`: names of definitions, which an operator chooses, and of librdkafka's
/// options.
const OPEN_SECTIONS: &[&str] = &["enrich.active", "kafka.options"];

/// Every key, dotted, in alphabetical order; for tools that check files and documentation.
///
/// # Errors
/// Only when the built-in defaults cannot be parsed.
pub fn known_keys() -> Result<Vec<String>, ConfigError> {
    let mut keys: Vec<String> = leaves(&defaults()?).into_iter().map(|(path, _)| path.join(".")).collect();
    keys.sort_unstable();
    Ok(keys)
}

/// The variables of this process.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(key, value)| {
        // No key of the configuration needs more than ASCII. A value that is not UTF-8 becomes visibly damaged text.
        Some((key.into_string().ok()?, value.to_string_lossy().into_owned()))
    })
}

/// What all sources together say.
pub(super) struct Merged<T> {
    pub(super) written: T,
    pub(super) origins: Origins,
    /// What has no effect.
    pub(super) warnings: Vec<String>,
}

/// The defaults, then `file`, then the environment; what is set last wins.
pub(super) fn merge<T: DeserializeOwned>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Merged<T>, ConfigError> {
    let defaults = defaults()?;
    let known = Known::new(&defaults);
    let (mut mistakes, mut warnings, mut overrides) = (Mistakes::default(), Vec::new(), Vec::new());
    if let Some(path) = file {
        match of_file(path, &known) {
            Ok(values) => overrides.extend(values),
            Err(error) => mistakes.add(error),
        }
    }
    for (variable, text) in environment {
        match variable.strip_prefix(ENVIRONMENT_PREFIX) {
            Some(name) => overrides.push(of_variable(name, &variable, &text, &known)),
            None => warnings.extend(known.resembling(&variable)),
        }
    }
    let (mut merged, mut origins) = (defaults.clone(), Origins::new());
    for Override { path, value, origin } in overrides {
        let key = path.join(".");
        origins.insert(key.clone(), origin);
        match known.check(&path).and_then(|()| fits::<T>(&defaults, &path, &value)) {
            Ok(()) => set(&mut merged, &path, value),
            Err(error) => mistakes.add(error.located(&origins)),
        }
    }
    mistakes.check(not_both(&merged, &origins));
    let accepts_open_files = merged.get("insecure_demo").and_then(Value::as_bool).unwrap_or_default();
    for (path, value) in leaves(&merged) {
        match secret::check_permissions(&path.join("."), value.as_str().unwrap_or_default()) {
            Err(error) if accepts_open_files => warnings.push(error.to_string()),
            checked => mistakes.check(checked.map_err(|error| error.located(&origins))),
        }
    }
    mistakes.into_result()?;
    let written = Table::try_into(merged).map_err(|error| ConfigError::of("", error.message()))?;
    Ok(Merged { written, origins, warnings })
}

/// A value and a file for the same value: one of them would have no effect.
fn not_both(merged: &Table, origins: &Origins) -> Result<(), ConfigError> {
    let set: Vec<String> = leaves(merged)
        .into_iter()
        .filter(|(path, value)| value.as_str() != Some("") && origins.contains_key(&path.join(".")))
        .map(|(path, _)| path.join("."))
        .collect();
    let mut mistakes = Mistakes::default();
    for file_key in &set {
        if let Some(key) = file_key.strip_suffix("_file")
            && set.iter().any(|other| other == key)
        {
            let problem = format!("{key} and {file_key} are both set: remove one of them");
            mistakes.add(ConfigError::of(file_key, problem).located(origins));
        }
    }
    mistakes.into_result()
}

/// A value that replaces a default.
struct Override {
    path: Vec<String>,
    value: Value,
    origin: String,
}

/// The keys of `default.toml` with their values.
struct Known(BTreeMap<String, Value>);

impl Known {
    fn new(defaults: &Table) -> Self {
        Self(leaves(defaults).into_iter().map(|(path, value)| (path.join("."), value.clone())).collect())
    }

    fn check(&self, path: &[String]) -> Result<(), ConfigError> {
        let key = path.join(".");
        let is_open = OPEN_SECTIONS.iter().any(|section| key.strip_prefix(section).is_some_and(is_below));
        if self.0.contains_key(&key) || is_open {
            return Ok(());
        }
        if self.0.keys().any(|known| known.strip_prefix(&key).is_some_and(is_below)) {
            return Err(ConfigError::of(&key, format!("{key} is a section and has no value: write [{key}]")));
        }
        let distance = |known: &&String| strsim::damerau_levenshtein(known, &key);
        let nearest = self.0.keys().min_by_key(distance).map_or("", String::as_str);
        let problem = format!("unknown key {key}: did you mean {nearest} ({})?", variable_of(nearest));
        Err(ConfigError::of(key, problem))
    }

    /// A warning about a variable that has the name of a key and the wrong underscores.
    fn resembling(&self, variable: &str) -> Option<String> {
        let letters = |text: &str| text.replace(['.', '_'], "").to_ascii_lowercase();
        let name = letters(variable);
        let name = name.strip_prefix("millrace")?;
        let key = self.0.keys().find(|key| letters(key) == name)?;
        Some(format!(
            "environment variable {variable} has no effect: the name for {key} is {}",
            variable_of(key)
        ))
    }
}

fn is_below(rest: &str) -> bool {
    rest.starts_with('.')
}

fn variable_of(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "__").to_uppercase())
}

fn of_file(path: &Path, known: &Known) -> Result<Vec<Override>, ConfigError> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::of("", format!("{name} cannot be read: {error}")))?;
    let (table, errors) = DeTable::parse_recoverable(&text);
    let mut mistakes = Mistakes::default();
    for error in errors {
        let line = error.span().map_or(1, |span| line_of(&text, span.start));
        mistakes.add(ConfigError::of("", format!("{name} line {line}: {}", error.message())));
    }
    mistakes.into_result()?;
    let mut lines = BTreeMap::new();
    collect_lines("", table.get_ref(), &text, &mut lines);
    let values: Table = toml::from_str(&text).map_err(|e| ConfigError::of("", format!("{name}: {e}")))?;
    let line = |path: &[String]| lines.get(&path.join(".")).copied().unwrap_or(1);
    let mut values = leaves(&values);
    values.sort_by_key(|(path, _)| line(path));
    let overrides = values.into_iter().map(|(path, value)| {
        let (key, line) = (path.join("."), line(&path));
        let value = match (known.0.get(&key), value) {
            // `instance = 0` is as clear as `instance = "0"`.
            (Some(Value::String(_)), Value::Integer(number)) => Value::String(number.to_string()),
            _ => value.clone(),
        };
        Override { path, value, origin: format!("{name} line {line}") }
    });
    Ok(overrides.collect())
}

/// The value of an environment variable, in the type of the default; a text where that is impossible.
fn of_variable(name: &str, variable: &str, text: &str, known: &Known) -> Override {
    let mut path: Vec<String> = name.split("__").map(str::to_lowercase).collect();
    // Names of librdkafka have dots, and no underscores.
    if let [section, table, option] = &mut path[..]
        && section == "kafka"
        && table == "options"
    {
        *option = option.replace('_', ".");
    }
    let value = match known.0.get(&path.join(".")) {
        Some(Value::Integer(_)) => text.trim().parse().map(Value::Integer).ok(),
        Some(Value::Boolean(_)) => text.trim().parse().map(Value::Boolean).ok(),
        Some(Value::Array(_)) => Some(list(text)),
        _ => None,
    };
    let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
    Override { path, value, origin: format!("environment variable {variable}") }
}

fn list(text: &str) -> Value {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
}

/// Checks the type of a value and what its key allows.
fn fits<T: DeserializeOwned>(defaults: &Table, path: &[String], value: &Value) -> Result<(), ConfigError> {
    let key = path.join(".");
    allowed::check(&key, value)?;
    let mut with = defaults.clone();
    set(&mut with, path, value.clone());
    match Table::try_into::<T>(with) {
        Ok(_) => Ok(()),
        Err(error) => Err(ConfigError::of(&key, format!("{key}: {}", error.message()))),
    }
}

fn set(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => (),
        [name] => _ = table.insert(name.clone(), value),
        [section, rest @ ..] => {
            let inner = table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

fn defaults() -> Result<Table, ConfigError> {
    toml::from_str(DEFAULTS).map_err(|error| ConfigError::of("", format!("default.toml: {error}")))
}

/// Every value that is not a table, with its path.
fn leaves(table: &Table) -> Vec<(Vec<String>, &Value)> {
    fn walk<'t>(above: &[String], table: &'t Table, found: &mut Vec<(Vec<String>, &'t Value)>) {
        for (name, value) in table {
            let path = [above, std::slice::from_ref(name)].concat();
            match value {
                Value::Table(inner) => walk(&path, inner, found),
                value => found.push((path, value)),
            }
        }
    }
    let mut found = Vec::new();
    walk(&[], table, &mut found);
    found
}

fn collect_lines(above: &str, table: &DeTable<'_>, text: &str, lines: &mut BTreeMap<String, usize>) {
    for (name, value) in table {
        let key =
            if above.is_empty() { name.get_ref().to_string() } else { format!("{above}.{}", name.get_ref()) };
        match value.get_ref() {
            DeValue::Table(inner) => collect_lines(&key, inner, text, lines),
            _ => _ = lines.insert(key, line_of(text, name.span().start)),
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}
