//! Where values come from: `default.toml`, a file, the environment. `default.toml` has every key with its reason, so a
//! key that it does not have is a mistake. Each value is checked by itself, so that one run shows every mistake.
use config::{Config, File, FileFormat, Map, Source, Value, ValueKind};
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, path::Path};
use toml::de::{DeTable, DeValue};

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
    Ok(Known::new(&defaults()?).0.into_keys().collect())
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
    let (mut mistakes, mut warnings) = (Mistakes::default(), Vec::new());
    let mut overrides = Vec::new();
    if let Some(path) = file {
        match of_file(path) {
            Ok(values) => overrides.extend(values),
            Err(error) => mistakes.add(error),
        }
    }
    for (variable, text) in environment {
        match variable.strip_prefix(ENVIRONMENT_PREFIX) {
            Some(name) => overrides.push(of_variable(name, &variable, text, &known)),
            None => warnings.extend(known.resembling(&variable)),
        }
    }
    let (mut layers, mut origins) = (Config::builder().add_source(defaults.clone()), Origins::new());
    for set in overrides {
        origins.insert(set.path.join("."), set.origin.clone());
        match known.check(&set.path).and_then(|()| fits::<T>(&defaults, &set)) {
            Ok(()) => layers = layers.add_source(set),
            Err(error) => mistakes.add(error.located(&origins)),
        }
    }
    let merged = layers.build().map_err(|error| ConfigError::of("", message(error)))?;
    mistakes.check(not_both(&merged, &origins));
    let accepts_open_files = merged.get_bool("insecure_demo").unwrap_or_default();
    for (path, value) in leaves(&merged) {
        let file = value.into_string().unwrap_or_default();
        match secret::check_permissions(&path.join("."), &file) {
            Err(error) if accepts_open_files => warnings.push(error.to_string()),
            checked => mistakes.check(checked.map_err(|error| error.located(&origins))),
        }
    }
    mistakes.into_result()?;
    let written = merged.try_deserialize().map_err(|error| ConfigError::of("", message(error)))?;
    Ok(Merged { written, origins, warnings })
}

/// A value and a file for the same value: one of them would have no effect.
fn not_both(merged: &Config, origins: &Origins) -> Result<(), ConfigError> {
    let is_set =
        |key: &str| origins.contains_key(key) && merged.get_string(key).is_ok_and(|text| !text.is_empty());
    let mut mistakes = Mistakes::default();
    for file_key in origins.keys() {
        if let Some(key) = file_key.strip_suffix("_file")
            && is_set(key)
            && is_set(file_key)
        {
            let problem = format!("{key} and {file_key} are both set: remove one of them");
            mistakes.add(ConfigError::of(file_key, problem).located(origins));
        }
    }
    mistakes.into_result()
}

/// A value that replaces a default.
#[derive(Debug, Clone)]
struct Override {
    path: Vec<String>,
    value: Value,
    origin: String,
}

impl Source for Override {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        let in_section = |value, name: &String| Value::from(Map::from_iter([(name.clone(), value)]));
        self.path.iter().rev().fold(self.value.clone(), in_section).into_table()
    }
}

/// The keys of `default.toml` with their values.
struct Known(BTreeMap<String, Value>);

impl Known {
    fn new(defaults: &Config) -> Self {
        Self(leaves(defaults).into_iter().map(|(path, value)| (path.join("."), value)).collect())
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

/// The values of a file in the order of its lines.
fn of_file(path: &Path) -> Result<Vec<Override>, ConfigError> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::of("", format!("{name} cannot be read: {error}")))?;
    let (table, mut errors) = DeTable::parse_recoverable(&text);
    errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    let mut mistakes = Mistakes::default();
    for error in errors {
        let line = error.span().map_or(1, |span| line_of(&text, span.start));
        mistakes.add(ConfigError::of("", format!("{name} line {line}: {}", error.message())));
    }
    mistakes.into_result()?;
    let mut lines = BTreeMap::new();
    collect_lines(&[], table.get_ref(), &text, &mut lines);
    let values = parse(&text).map_err(|error| ConfigError::of("", format!("{name}: {}", message(error))))?;
    let mut values: Vec<(usize, Vec<String>, Value)> = leaves(&values)
        .into_iter()
        .map(|(path, value)| (lines.get(&path).copied().unwrap_or(1), path, value))
        .collect();
    values.sort_by(|(line, path, _), (other_line, other, _)| (line, path).cmp(&(other_line, other)));
    let overrides = values.into_iter().map(|(line, path, value)| Override {
        path,
        value,
        origin: format!("{name} line {line}"),
    });
    Ok(overrides.collect())
}

/// `config` converts the text into the type of the key; only lists are split here.
fn of_variable(name: &str, variable: &str, text: String, known: &Known) -> Override {
    let mut path: Vec<String> = name.split("__").map(str::to_lowercase).collect();
    // Names of librdkafka have dots, and no underscores.
    if let [section, table, option] = &mut path[..]
        && section == "kafka"
        && table == "options"
    {
        *option = option.replace('_', ".");
    }
    let default = known.0.get(&path.join("."));
    let is_list = default.is_some_and(|value| matches!(value.kind, ValueKind::Array(_)));
    let value = if is_list { list(&text) } else { Value::from(text) };
    Override { path, value, origin: format!("environment variable {variable}") }
}

fn list(text: &str) -> Value {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Value::from(items.map(|item| Value::from(item.to_owned())).collect::<Vec<_>>())
}

/// Checks the type of a value and what its key allows.
fn fits<T: DeserializeOwned>(defaults: &Config, set: &Override) -> Result<(), ConfigError> {
    let key = set.path.join(".");
    allowed::check(&key, &set.value)?;
    let layers = Config::builder().add_source(defaults.clone()).add_source(set.clone());
    match layers.build().and_then(Config::try_deserialize::<T>) {
        Ok(_) => Ok(()),
        Err(error) => Err(ConfigError::of(&key, format!("{key}: {}", message(error)))),
    }
}

/// Without the key, which our errors begin with.
fn message(error: config::ConfigError) -> String {
    match error {
        config::ConfigError::At { error, .. } => message(*error),
        config::ConfigError::Type { unexpected, expected, .. } => {
            format!("invalid type: {unexpected}, expected {expected}")
        }
        error => error.to_string(),
    }
}

fn defaults() -> Result<Config, ConfigError> {
    parse(DEFAULTS).map_err(|error| ConfigError::of("", format!("default.toml: {error}")))
}

fn parse(text: &str) -> Result<Config, config::ConfigError> {
    Config::builder().add_source(File::from_str(text, FileFormat::Toml)).build()
}

/// Every value that is not a section, with its path.
fn leaves(config: &Config) -> Vec<(Vec<String>, Value)> {
    fn walk(above: &[String], value: &Value, found: &mut Vec<(Vec<String>, Value)>) {
        match &value.kind {
            ValueKind::Table(table) => {
                for (name, value) in table {
                    walk(&[above, std::slice::from_ref(name)].concat(), value, found);
                }
            }
            _ => found.push((above.to_vec(), value.clone())),
        }
    }
    let mut found = Vec::new();
    walk(&[], &config.cache, &mut found);
    found
}

/// `config` keeps no positions: the line of each key comes from the TOML itself.
fn collect_lines(
    above: &[String],
    table: &DeTable<'_>,
    text: &str,
    lines: &mut BTreeMap<Vec<String>, usize>,
) {
    for (name, value) in table {
        let path = [above, &[name.get_ref().to_string()]].concat();
        match value.get_ref() {
            DeValue::Table(inner) => collect_lines(&path, inner, text, lines),
            _ => _ = lines.insert(path, line_of(text, name.span().start)),
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}
