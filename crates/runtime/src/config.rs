//! Configuration: `default.toml`, then a file, then the environment. `default.toml` holds every key with its
//! reason; a key that does not stand there is an error that names the nearest one.
use config::{Config, File, FileFormat, Value, ValueKind};
use event::{Start, Topic};
use serde::{Deserialize, Serialize, Serializer};
use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

const DEFAULTS: &str = include_str!("default.toml");
const ENVIRONMENT_PREFIX: &str = "MILLRACE__";

/// Why the configuration cannot be used. Exit code 78.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key nobody reads.
    #[error("unknown key {key} in {origin}: did you mean {nearest}?")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// File or environment variable.
        origin: String,
        /// The closest key that exists.
        nearest: String,
    },
    /// A key with a value that cannot be.
    #[error("{key} = {value:?} is not {expected}")]
    Value {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// A file that cannot be read or parsed, or a value of the wrong type.
    #[error("configuration: {0}")]
    Unreadable(String),
}

impl ConfigError {
    /// A value outside what the key allows.
    pub fn value(key: impl Into<String>, value: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Value { key: key.into(), value: value.into(), expected: expected.into() }
    }
}

/// Every setting, for all binaries. The keys and their reasons stand in `default.toml`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct Settings {
    pub pipeline: String,
    pub instance: String,
    #[serde(with = "humantime_serde")]
    pub startup_timeout: Duration,
    pub workers: usize,
    pub business_timezone: String,
    pub kafka: Kafka,
    pub clickhouse: ClickHouse,
    pub http: Http,
    pub log: Log,
    pub ingest: Ingest,
    pub enrich: Enrich,
    pub aggregate: Aggregate,
}

/// Section `kafka`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct Kafka {
    pub brokers: String,
    pub topic_prefix: String,
    pub start: Start,
    pub partitions: u32,
    pub replication: u32,
    #[serde(with = "humantime_serde")]
    pub batch_interval: Duration,
    pub batch_records: usize,
    #[serde(with = "humantime_serde")]
    pub transaction_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub session_timeout: Duration,
    pub allow_create_time: bool,
}

impl Kafka {
    /// The full name of a topic.
    pub fn topic(&self, topic: Topic) -> String {
        format!("{}{}", self.topic_prefix, topic.name())
    }
}

/// Section `clickhouse`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct ClickHouse {
    pub url: String,
    pub database: String,
    pub user: String,
    pub password: Secret,
    pub password_file: String,
    pub engine: String,
}

/// Section `http`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct Http {
    pub listen: String,
}

/// Section `log`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// Section `ingest`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct Ingest {
    pub apps: Vec<String>,
    pub unknown_events: UnknownEvents,
    #[serde(with = "humantime_serde")]
    pub max_event_age: Duration,
}

/// What happens to event names outside the contract's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownEvents {
    /// They flow like any other.
    Accept,
    /// They go to `dead-letters`.
    Reject,
}

/// Section `enrich`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct Enrich {
    #[serde(with = "humantime_serde")]
    pub dedupe_window: Duration,
    pub dedupe_max_entries: usize,
    #[serde(with = "humantime_serde")]
    pub device_ttl: Duration,
    pub max_devices: usize,
    pub identity_secret: Secret,
    pub identity_secret_file: String,
    pub channels_file: String,
    pub own_hosts: Vec<String>,
    pub conversion_events: Vec<String>,
    /// Steps of each definition of an active device, in the `where` language.
    pub active: BTreeMap<String, Vec<serde_json::Map<String, serde_json::Value>>>,
}

/// Section `aggregate`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct Aggregate {
    pub lanes: Vec<String>,
    pub cubes_file: String,
    #[serde(with = "humantime_serde")]
    pub live_flush_interval: Duration,
    #[serde(with = "humantime_serde")]
    pub report_flush_interval: Duration,
    #[serde(with = "humantime_serde")]
    pub dead_letters_flush_interval: Duration,
    #[serde(with = "humantime_serde")]
    pub events_flush_interval: Duration,
    #[serde(with = "humantime_serde")]
    pub events_retention: Duration,
    pub max_inserts_per_second: u32,
    pub max_groups: usize,
    pub epoch: u32,
    #[serde(with = "humantime_serde")]
    pub longest_insert: Duration,
    #[serde(with = "humantime_serde")]
    pub retry_halted: Duration,
}

/// A value that no log or printout shows.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"***\"" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "***" })
    }
}

/// Reads the settings: defaults, then `file`, then the environment; secrets from their files.
///
/// # Errors
/// [`ConfigError`] names the key, the value and what would be right.
pub fn load(file: Option<&Path>) -> Result<Settings, ConfigError> {
    let environment = std::env::vars_os().filter_map(|(key, value)| {
        // A variable that is not UTF-8 cannot be one of ours; a value that is not becomes visible as damaged text.
        Some((key.into_string().ok()?, value.to_string_lossy().into_owned()))
    });
    load_from(file, environment)
}

/// As [`load`], with the environment as an argument.
///
/// # Errors
/// As [`load`].
pub fn load_from(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, ConfigError> {
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
    let mut settings: Settings =
        builder.build().map_err(unreadable)?.try_deserialize().map_err(unreadable)?;
    let clickhouse = &mut settings.clickhouse;
    read_secret("clickhouse.password_file", &clickhouse.password_file, &mut clickhouse.password)?;
    let enrich = &mut settings.enrich;
    read_secret("enrich.identity_secret_file", &enrich.identity_secret_file, &mut enrich.identity_secret)?;
    check(&settings)?;
    Ok(settings)
}

/// Every key there is, dotted, in order; for tools that check files and documentation.
///
/// # Errors
/// Only when the built-in defaults are broken.
pub fn known_keys() -> Result<Vec<String>, ConfigError> {
    Ok(keys_of(&parse(DEFAULTS, "default.toml")?).into_keys().collect())
}

/// The settings as TOML, secrets masked.
pub fn masked(settings: &Settings) -> String {
    toml::to_string(settings).unwrap_or_else(|error| format!("# cannot be shown: {error}"))
}

fn unreadable(error: config::ConfigError) -> ConfigError {
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
    // Definitions of active have whatever names metrics call them by.
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

fn read_secret(key: &str, path: &str, secret: &mut Secret) -> Result<(), ConfigError> {
    if path.is_empty() {
        return Ok(());
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::value(key, path, format!("a file that can be read: {error}")))?;
    secret.0 = text.trim_end_matches(['\r', '\n']).to_owned();
    Ok(())
}

/// What types cannot say.
fn check(settings: &Settings) -> Result<(), ConfigError> {
    let name = |key: &str, value: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !value.is_empty() && value.len() <= 100 && value.chars().all(allowed) {
            return Ok(());
        }
        Err(ConfigError::value(key, value, "a name of 1 to 100 letters, digits, dots, dashes or underscores"))
    };
    name("pipeline", &settings.pipeline)?;
    name("instance", &settings.instance)?;
    if !settings.kafka.topic_prefix.is_empty() {
        name("kafka.topic_prefix", &settings.kafka.topic_prefix)?;
    }
    name("clickhouse.database", &settings.clickhouse.database)?;
    let positive = |key: &str, value: u64| {
        if value > 0 { Ok(()) } else { Err(ConfigError::value(key, value.to_string(), "at least 1")) }
    };
    positive("workers", settings.workers as u64)?;
    positive("kafka.partitions", settings.kafka.partitions.into())?;
    positive("kafka.replication", settings.kafka.replication.into())?;
    positive("kafka.batch_records", settings.kafka.batch_records as u64)?;
    positive("aggregate.max_inserts_per_second", settings.aggregate.max_inserts_per_second.into())?;
    positive("enrich.dedupe_max_entries", settings.enrich.dedupe_max_entries as u64)?;
    positive("enrich.max_devices", settings.enrich.max_devices as u64)?;
    positive("aggregate.max_groups", settings.aggregate.max_groups as u64)?;
    if tracing_subscriber::EnvFilter::try_new(&settings.log.level).is_err() {
        let expected = "error, warn, info, debug, trace or a filter such as info,runtime=debug";
        return Err(ConfigError::value("log.level", &settings.log.level, expected));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_with(variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        load_from(None, variables.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())))
    }

    #[test]
    fn the_defaults_are_complete_and_valid() {
        let settings = load_with(&[]).unwrap();
        assert_eq!(settings.kafka.brokers, "localhost:9092");
        assert_eq!(settings.ingest.max_event_age, Duration::from_secs(7 * 24 * 3600));
    }

    #[test]
    fn the_environment_overrides_and_splits_lists_at_commas() {
        let settings = load_with(&[
            ("MILLRACE__KAFKA__BROKERS", "k:1"),
            ("MILLRACE__INGEST__APPS", "web-main, app-main"),
            ("MILLRACE__WORKERS", "3"),
            ("MILLRACE__CLICKHOUSE__PASSWORD", "007"),
            ("MILLRACE_TEST_KAFKA", "not ours"),
        ])
        .unwrap();
        assert_eq!(settings.kafka.brokers, "k:1");
        assert_eq!(settings.ingest.apps, ["web-main", "app-main"]);
        assert_eq!(settings.workers, 3);
        assert_eq!(settings.clickhouse.password.expose(), "007");
    }

    #[test]
    fn definitions_of_active_may_have_any_name_and_join_the_default_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("millrace.toml");
        std::fs::write(&path, "[enrich.active]\nviewer = [{ event_name = \"content_view\" }]\n").unwrap();
        let active = load_from(Some(&path), []).unwrap().enrich.active;
        let steps: Vec<(&str, usize)> =
            active.iter().map(|(name, steps)| (name.as_str(), steps.len())).collect();
        assert_eq!(steps, [("any", 0), ("core_flow", 3), ("login", 1), ("viewer", 1)]);
    }

    #[test]
    fn an_unknown_key_names_its_origin_and_the_nearest_key() {
        let error = load_with(&[("MILLRACE__KAFKA__BROKER", "k:1")]).unwrap_err().to_string();
        assert!(error.contains("MILLRACE__KAFKA__BROKER") && error.contains("kafka.brokers"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("millrace.toml");
        std::fs::write(&path, "[ingest]\nmax_event_aeg = \"3d\"\n").unwrap();
        let error = load_from(Some(&path), []).unwrap_err().to_string();
        assert!(error.contains("millrace.toml") && error.contains("ingest.max_event_age"), "{error}");
    }

    #[test]
    fn a_wrong_value_names_its_key() {
        for (variable, value, expected) in [
            ("MILLRACE__WORKERS", "many", "workers"),
            ("MILLRACE__WORKERS", "0", "workers"),
            ("MILLRACE__KAFKA__BATCH_INTERVAL", "fast", "batch_interval"),
            ("MILLRACE__KAFKA__START", "middle", "start"),
            ("MILLRACE__PIPELINE", "a b", "pipeline"),
            ("MILLRACE__CLICKHOUSE__PASSWORD_FILE", "/nowhere", "password_file"),
            ("MILLRACE__LOG__LEVEL", "a=b=c", "log.level"),
        ] {
            let error = load_with(&[(variable, value)]).unwrap_err().to_string();
            assert!(error.contains(expected), "{variable}={value}: {error}");
        }
    }

    #[test]
    fn secrets_come_from_files_and_are_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "s3cret\n").unwrap();
        let settings = load_with(&[("MILLRACE__CLICKHOUSE__PASSWORD_FILE", path.to_str().unwrap())]).unwrap();
        assert_eq!(settings.clickhouse.password.expose(), "s3cret");
        assert!(!masked(&settings).contains("s3cret"));
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
