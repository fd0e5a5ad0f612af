//! Configuration: `default.toml`, then a file, then the environment.
//!
//! [`Written`] has the shape of `default.toml`: what operators write. [`Settings`] is what the program uses: every value
//! parsed and checked, secrets read from their files. A value that cannot work is found on the way from one to the
//! other, before a process touches anything, and ends it with exit code 78. Every mistake is shown, not only the first.
mod allowed;
mod error;
mod kafka;
mod kafka_options;
mod resolved;
mod secret;
mod sections;
mod sources;
mod tls;
mod written;

use std::path::Path;

pub use error::{ConfigError, Mistakes};
pub use kafka::{KAFKA_TLS, Kafka, Sasl, SaslMechanism, SecurityProtocol, Ssl};
pub use kafka_options::KafkaOptions;
pub use resolved::{Aggregate, BusinessTimeZone, CLICKHOUSE_TLS, ClickHouse, Enrich, Http, Settings};
pub use secret::{Secret, check_permissions};
pub use sections::{ActiveDefinitions, Ingest, Log, LogFormat, UndecodableBatches, UnknownEvents};
pub(crate) use sources::environment;
pub use sources::known_keys;
pub use tls::{Tls, TlsKeys};
pub use written::Written;

/// Reads and resolves the configuration.
///
/// # Errors
/// [`ConfigError`] names the key, its value and what is expected.
pub fn load(file: Option<&Path>) -> Result<Settings, ConfigError> {
    load_checked(file, |_| Ok(()))
}

/// As [`load`], with a further check.
///
/// # Errors
/// As [`load`], and the error of the check.
pub fn load_checked(
    file: Option<&Path>,
    check: impl FnOnce(&Settings) -> Result<(), ConfigError>,
) -> Result<Settings, ConfigError> {
    let written = Written::read(file)?;
    let origins = written.origins.clone();
    let settings = Settings::resolve(written)?;
    check(&settings).map_err(|error| error.located(&origins))?;
    Ok(settings)
}

/// As [`load`], with the environment as an argument.
///
/// # Errors
/// As [`load`].
pub fn load_from(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, ConfigError> {
    Settings::resolve(Written::read_from(file, environment)?)
}

#[cfg(test)]
mod tests;
