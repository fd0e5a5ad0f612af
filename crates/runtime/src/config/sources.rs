//! Where values come from: `default.toml`, a file, the environment. `default.toml` has every key with its reason, so a
//! key that it does not have is an error.
use config::{Config, File, FileFormat, Value, ValueKind};
use std::{collections::BTreeMap, path::Path};

use super::error::ConfigError;

const DEFAULTS: &str = include_str!("../default.toml");
const ENVIRONMENT_PREFIX: &str = "MILLRACE__";

/// Every key, dotted, in alphabetical order; for tools that check files and documentation.
///
/// # Errors
/// Only when the built-in defaults cannot be parsed.
pub fn known_keys() -> Result<Vec<String>, ConfigError> {
    Ok(keys_of(&parse(DEFAULTS, "default.toml")?).into_keys().collect())
}

/// The defaults, then `file`, then the environment; what is set last wins.
pub(super) fn merge(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let known = keys_of(&parse(DEFAULTS, "default.toml")?);
    let mut builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    if let Some(path) = file {
        let origin = path.display().to_string();
        let unreadable = |error| ConfigError::Unreadable(format!("{origin} cannot be read: {error}"));
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        for key in keys_of(&parse(&text, &origin)?).keys() {
            check_key(key, &origin, &known)?;
        }
        builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
    }
    for (variable, value) in environment {
        let Some(key) = variable.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        let key = key.replace("__", ".").to_lowercase();
        check_key(&key, &format!("environment variable {variable}"), &known)?;
        let is_list = matches!(known.get(&key), Some(ValueKind::Array(_)));
        let value = if is_list { list(&value) } else { Value::from(value) };
        builder = builder.set_override(&key, value).map_err(unreadable)?;
    }
    builder.build().map_err(unreadable)
}

pub(super) fn unreadable(error: config::ConfigError) -> ConfigError {
    ConfigError::Unreadable(error.to_string())
}

fn parse(text: &str, origin: &str) -> Result<Config, ConfigError> {
    let source = File::from_str(text, FileFormat::Toml);
    let broken = |error| ConfigError::Unreadable(format!("{origin}: {error}"));
    Config::builder().add_source(source).build().map_err(broken)
}

fn keys_of(config: &Config) -> BTreeMap<String, ValueKind> {
    fn walk(prefix: &str, value: &Value, keys: &mut BTreeMap<String, ValueKind>) {
        match &value.kind {
            ValueKind::Table(table) => {
                for (name, value) in table {
                    let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                    walk(&key, value, keys);
                }
            }
            kind => {
                keys.insert(prefix.to_owned(), kind.clone());
            }
        }
    }
    let mut keys = BTreeMap::new();
    walk("", &config.cache, &mut keys);
    keys
}

fn check_key(key: &str, origin: &str, known: &BTreeMap<String, ValueKind>) -> Result<(), ConfigError> {
    // The keys of this section are names of definitions, which an operator chooses.
    if known.contains_key(key) || key.starts_with("enrich.active.") {
        return Ok(());
    }
    let distance = |known: &&String| strsim::damerau_levenshtein(known, key);
    let nearest = known.keys().min_by_key(distance).cloned().unwrap_or_default();
    Err(ConfigError::UnknownKey { key: key.to_owned(), origin: origin.to_owned(), nearest })
}

fn list(text: &str) -> Value {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Value::from(items.map(|item| Value::from(item.to_owned())).collect::<Vec<_>>())
}
