//! The configuration as the program uses it: every value parsed and checked, secrets read.
use event::Lane;
use jiff::tz::TimeZone;
use std::{fmt, net::SocketAddr, time::Duration};
use tracing_subscriber::EnvFilter;

use super::{
    error::ConfigError,
    secret::Secret,
    sections::{ActiveDefinitions, Ingest, Kafka, Log},
    written::{Written, WrittenAggregate, WrittenClickHouse, WrittenEnrich},
};

/// Every setting, for all binaries.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct Settings {
    pub pipeline: String,
    pub instance: String,
    pub startup_timeout: Duration,
    pub workers: usize,
    /// Bytes.
    pub memory_limit: u64,
    pub business_timezone: BusinessTimeZone,
    pub kafka: Kafka,
    pub clickhouse: ClickHouse,
    pub http: Http,
    pub log: Log,
    pub ingest: Ingest,
    pub enrich: Enrich,
    pub aggregate: Aggregate,
}

/// The time zone of business days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusinessTimeZone {
    name: String,
    zone: TimeZone,
}

/// Section `clickhouse`.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct ClickHouse {
    pub url: String,
    pub database: String,
    pub user: String,
    pub password: Secret,
    pub engine: String,
}

/// Section `http`.
#[derive(Debug, Clone)]
pub struct Http {
    /// Address to listen on; none for the default address of the stage.
    pub listen: Option<SocketAddr>,
    /// Addresses of all processes of the pipeline.
    pub processes: Vec<String>,
}

/// Section `enrich`.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct Enrich {
    pub dedupe_window: Duration,
    pub dedupe_max_entries: usize,
    pub device_ttl: Duration,
    pub max_devices: usize,
    pub identity_secret: Secret,
    pub channels_file: String,
    pub own_hosts: Vec<String>,
    pub conversion_events: Vec<String>,
    pub active: ActiveDefinitions,
}

/// Section `aggregate`.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct Aggregate {
    pub lanes: Vec<Lane>,
    pub cubes_file: String,
    pub live_flush_interval: Duration,
    pub report_flush_interval: Duration,
    pub dead_letters_flush_interval: Duration,
    pub events_flush_interval: Duration,
    pub events_retention: Duration,
    pub max_inserts_per_second: u32,
    pub max_groups: usize,
    pub epoch: u32,
    pub longest_insert: Duration,
    pub retry_halted: Duration,
}

impl Settings {
    /// Parses and checks what is written, and reads the secrets that are in files.
    ///
    /// # Errors
    /// [`ConfigError`] names the key, its value and what is expected.
    pub fn resolve(written: Written) -> Result<Self, ConfigError> {
        check(&written)?;
        Ok(Self {
            memory_limit: memory_limit(&written.memory_limit)?,
            business_timezone: BusinessTimeZone::parse(written.business_timezone)?,
            clickhouse: ClickHouse::resolve(written.clickhouse)?,
            http: Http { listen: listen_address(&written.http.listen)?, processes: written.http.processes },
            enrich: Enrich::resolve(written.enrich)?,
            aggregate: Aggregate::resolve(written.aggregate)?,
            pipeline: written.pipeline,
            instance: written.instance,
            startup_timeout: written.startup_timeout,
            workers: written.workers,
            kafka: written.kafka,
            log: written.log,
            ingest: written.ingest,
        })
    }
}

impl BusinessTimeZone {
    fn parse(name: String) -> Result<Self, ConfigError> {
        match TimeZone::get(&name) {
            Ok(zone) => Ok(Self { name, zone }),
            Err(_) => {
                let expected = "an IANA time zone such as Asia/Shanghai";
                Err(ConfigError::value("business_timezone", name, expected))
            }
        }
    }

    /// Its IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

impl fmt::Display for BusinessTimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl ClickHouse {
    fn resolve(written: WrittenClickHouse) -> Result<Self, ConfigError> {
        let WrittenClickHouse { url, database, user, password, password_file, engine } = written;
        let password = secret(password, "clickhouse.password_file", &password_file)?;
        Ok(Self { url, database, user, password, engine })
    }
}

impl Enrich {
    fn resolve(written: WrittenEnrich) -> Result<Self, ConfigError> {
        let identity_secret =
            secret(written.identity_secret, "enrich.identity_secret_file", &written.identity_secret_file)?;
        Ok(Self {
            dedupe_window: written.dedupe_window,
            dedupe_max_entries: written.dedupe_max_entries,
            device_ttl: written.device_ttl,
            max_devices: written.max_devices,
            identity_secret,
            channels_file: written.channels_file,
            own_hosts: written.own_hosts,
            conversion_events: written.conversion_events,
            active: written.active,
        })
    }
}

impl Aggregate {
    fn resolve(written: WrittenAggregate) -> Result<Self, ConfigError> {
        let lane = |name: &String| {
            let names = Lane::ALL.map(Lane::as_str).join(", ");
            let expected = || ConfigError::value("aggregate.lanes", name, format!("one of {names}"));
            Lane::from_name(name).ok_or_else(expected)
        };
        Ok(Self {
            lanes: written.lanes.iter().map(lane).collect::<Result<_, _>>()?,
            cubes_file: written.cubes_file,
            live_flush_interval: written.live_flush_interval,
            report_flush_interval: written.report_flush_interval,
            dead_letters_flush_interval: written.dead_letters_flush_interval,
            events_flush_interval: written.events_flush_interval,
            events_retention: written.events_retention,
            max_inserts_per_second: written.max_inserts_per_second,
            max_groups: written.max_groups,
            epoch: written.epoch,
            longest_insert: written.longest_insert,
            retry_halted: written.retry_halted,
        })
    }
}

/// The secret in the file, or the one written when there is no file.
fn secret(written: Secret, file_key: &str, file: &str) -> Result<Secret, ConfigError> {
    if file.is_empty() { Ok(written) } else { Secret::read(file_key, file) }
}

/// The smallest limit with which every stage can hold one batch and its output.
const LEAST_MEMORY: u64 = 256 * 1024 * 1024;

fn memory_limit(written: &str) -> Result<u64, ConfigError> {
    match written.parse::<bytesize::ByteSize>() {
        Ok(limit) if limit.as_u64() >= LEAST_MEMORY => Ok(limit.as_u64()),
        _ => Err(ConfigError::value("memory_limit", written, "at least 256MiB, such as 1GiB")),
    }
}

fn listen_address(listen: &str) -> Result<Option<SocketAddr>, ConfigError> {
    if listen.is_empty() {
        return Ok(None);
    }
    let expected = "an address and port such as 0.0.0.0:9464";
    listen.parse().map(Some).map_err(|_| ConfigError::value("http.listen", listen, expected))
}

/// Ten years: enrich keeps a bit for each day and device.
const MAX_EVENT_AGE: Duration = Duration::from_secs(3650 * 86_400);

/// Limits of values that their types do not have.
fn check(written: &Written) -> Result<(), ConfigError> {
    check_name("pipeline", &written.pipeline)?;
    check_name("instance", &written.instance)?;
    if !written.kafka.topic_prefix.is_empty() {
        check_name("kafka.topic_prefix", &written.kafka.topic_prefix)?;
    }
    check_name("clickhouse.database", &written.clickhouse.database)?;
    for (key, value) in [
        ("workers", written.workers as u64),
        ("kafka.partitions", written.kafka.partitions.into()),
        ("kafka.replication", written.kafka.replication.into()),
        ("kafka.batch_records", written.kafka.batch_records as u64),
        ("aggregate.max_inserts_per_second", written.aggregate.max_inserts_per_second.into()),
        ("enrich.dedupe_max_entries", written.enrich.dedupe_max_entries as u64),
        ("enrich.max_devices", written.enrich.max_devices as u64),
        ("aggregate.max_groups", written.aggregate.max_groups as u64),
    ] {
        if value == 0 {
            return Err(ConfigError::value(key, "0", "at least 1"));
        }
    }
    if written.ingest.max_event_age > MAX_EVENT_AGE {
        let value = humantime_serde::re::humantime::format_duration(written.ingest.max_event_age).to_string();
        let expected = "at most 3650d: enrich remembers for each device on which of these days it was active";
        return Err(ConfigError::value("ingest.max_event_age", value, expected));
    }
    if EnvFilter::try_new(&written.log.level).is_err() {
        let expected = "error, warn, info, debug, trace or a filter such as info,runtime=debug";
        return Err(ConfigError::value("log.level", &written.log.level, expected));
    }
    Ok(())
}

fn check_name(key: &str, value: &str) -> Result<(), ConfigError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !value.is_empty() && value.len() <= 100 && value.chars().all(is_allowed) {
        return Ok(());
    }
    Err(ConfigError::value(key, value, "a name of 1 to 100 letters, digits, dots, dashes or underscores"))
}
