//! The configuration as it is written: the shape of `default.toml`.
use serde::{Deserialize, Serialize};
use std::{path::Path, time::Duration};

use super::{
    error::{ConfigError, Origins},
    kafka::Kafka,
    secret::Secret,
    sections::{ActiveDefinitions, Ingest, Log},
    sources,
};

/// Every key, with its value from `default.toml`, the file or the environment. `default.toml` documents the keys.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Where each key is set.
    #[serde(skip)]
    pub(crate) origins: Origins,
    #[serde(skip)]
    pub(super) warnings: Vec<String>,
    pub(super) insecure_demo: bool,
    pub(super) pipeline: String,
    pub(super) instance: String,
    #[serde(with = "humantime_serde")]
    pub(super) startup_timeout: Duration,
    pub(super) workers: usize,
    pub(super) memory_limit: String,
    pub(super) business_timezone: String,
    pub(super) kafka: Kafka,
    pub(super) clickhouse: WrittenClickHouse,
    pub(super) http: WrittenHttp,
    pub(super) log: Log,
    pub(super) ingest: Ingest,
    pub(super) enrich: WrittenEnrich,
    pub(super) aggregate: WrittenAggregate,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenClickHouse {
    pub(super) url: String,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) user_file: String,
    pub(super) password: Secret,
    pub(super) password_file: String,
    pub(super) ca_file: String,
    pub(super) certificate_file: String,
    pub(super) key_file: String,
    pub(super) engine: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenHttp {
    pub(super) listen: String,
    pub(super) processes: Vec<String>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenEnrich {
    #[serde(with = "humantime_serde")]
    pub(super) dedupe_window: Duration,
    pub(super) dedupe_max_entries: usize,
    #[serde(with = "humantime_serde")]
    pub(super) device_ttl: Duration,
    pub(super) max_devices: usize,
    pub(super) identity_secret: Secret,
    pub(super) identity_secret_file: String,
    pub(super) channels_file: String,
    pub(super) own_hosts: Vec<String>,
    pub(super) conversion_events: Vec<String>,
    pub(super) active: ActiveDefinitions,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenAggregate {
    pub(super) lanes: Vec<String>,
    pub(super) cubes_file: String,
    #[serde(with = "humantime_serde")]
    pub(super) live_flush_interval: Duration,
    #[serde(with = "humantime_serde")]
    pub(super) report_flush_interval: Duration,
    #[serde(with = "humantime_serde")]
    pub(super) dead_letters_flush_interval: Duration,
    #[serde(with = "humantime_serde")]
    pub(super) events_flush_interval: Duration,
    #[serde(with = "humantime_serde")]
    pub(super) events_retention: Duration,
    pub(super) max_inserts_per_second: u32,
    pub(super) max_groups: usize,
    pub(super) epoch: u32,
    #[serde(with = "humantime_serde")]
    pub(super) longest_insert: Duration,
    #[serde(with = "humantime_serde")]
    pub(super) retry_halted: Duration,
}

impl Written {
    /// Reads `default.toml`, then `file`, then the environment; what is set last wins.
    ///
    /// # Errors
    /// [`ConfigError`] has every key that does not exist, and every value that its key does not allow.
    pub fn read(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::read_from(file, sources::environment())
    }

    /// As [`read`](Self::read), with the environment as an argument.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_from(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let sources::Merged { written, origins, warnings } = sources::merge::<Self>(file, environment)?;
        Ok(Self { origins, warnings, ..written })
    }

    /// As TOML, secrets masked.
    pub fn masked(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# cannot be shown: {error}"))
    }
}
