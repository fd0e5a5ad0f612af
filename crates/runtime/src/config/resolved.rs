//! The configuration as the program uses it: every value parsed and checked, secrets read.
use event::Lane;
use jiff::tz::TimeZone;
use std::{fmt, net::SocketAddr, time::Duration};
use url::Url;

use super::{
    error::{ConfigError, Mistakes},
    kafka::Kafka,
    secret::Secret,
    sections::{ActiveDefinitions, Ingest, Log},
    tls::{Pem, Tls, TlsKeys},
    written::{Written, WrittenAggregate, WrittenClickHouse, WrittenEnrich},
};

/// Every setting, for all binaries.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct Settings {
    /// What has no effect or is accepted only because of `insecure_demo`.
    pub warnings: Vec<String>,
    pub insecure_demo: bool,
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
    /// When the URL begins with `https://`.
    pub tls: Option<Tls>,
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
        let origins = written.origins.clone();
        Self::checked(written).map_err(|error| error.located(&origins))
    }

    fn checked(written: Written) -> Result<Self, ConfigError> {
        let mut mistakes = Mistakes::default();
        mistakes.check(check_transaction_timeout(&written.kafka));
        mistakes.check(lanes(&written.aggregate.lanes));
        mistakes.check(written.kafka.clone().resolve());
        mistakes.check(written.clickhouse.user());
        mistakes.check(written.clickhouse.password());
        mistakes.check(written.clickhouse.tls());
        mistakes.check(written.enrich.identity_secret());
        mistakes.into_result()?;
        let kafka = written.kafka.resolve()?;
        Ok(Self {
            warnings: written.warnings.into_iter().chain(kafka.warnings()).collect(),
            insecure_demo: written.insecure_demo,
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
            kafka,
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

impl WrittenClickHouse {
    fn user(&self) -> Result<String, ConfigError> {
        let user = Secret::new(self.user.clone()).or_file("clickhouse.user_file", &self.user_file)?;
        Ok(user.expose().to_owned())
    }

    fn password(&self) -> Result<Secret, ConfigError> {
        self.password.clone().or_file("clickhouse.password_file", &self.password_file)
    }

    /// A scheme in capitals and spaces around the URL are accepted: every reader of the URL gets this form.
    fn url(&self) -> Result<Url, ConfigError> {
        Url::parse(&self.url)
            .map_err(|error| ConfigError::value("clickhouse.url", &self.url, format!("a URL: {error}")))
    }

    fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        let Self { ca_file, certificate_file, key_file, .. } = self;
        let files = [
            (CLICKHOUSE_TLS.ca, ca_file),
            (CLICKHOUSE_TLS.certificate, certificate_file),
            (CLICKHOUSE_TLS.key, key_file),
        ];
        if self.url()?.scheme() != "https" {
            return match files.into_iter().find(|(_, file)| !file.is_empty()) {
                Some((key, file)) => {
                    Err(ConfigError::value(key, file, "used: clickhouse.url does not begin with https://"))
                }
                None => Ok(None),
            };
        }
        let ca = Pem::new("clickhouse.ca", "", ca_file);
        let certificate = Pem::new("clickhouse.certificate", "", certificate_file);
        let key = Pem::new("clickhouse.key", "", key_file);
        Tls::new(ca, certificate, key, false).map(Some)
    }
}

impl ClickHouse {
    fn resolve(written: WrittenClickHouse) -> Result<Self, ConfigError> {
        let (user, password) = (written.user()?, written.password()?);
        let (tls, url) = (written.tls()?, written.url()?);
        // Without a path it has no slash at its end, as people write it.
        let url = if url.path() == "/" { url.as_str().trim_end_matches('/') } else { url.as_str() };
        let url = url.to_owned();
        let WrittenClickHouse { database, engine, .. } = written;
        Ok(Self { url, database, user, password, tls, engine })
    }
}

/// The keys of a client that connects to ClickHouse with TLS.
pub const CLICKHOUSE_TLS: TlsKeys = TlsKeys {
    address: "clickhouse.url",
    ca: "clickhouse.ca_file",
    certificate: "clickhouse.certificate_file",
    key: "clickhouse.key_file",
};

impl WrittenEnrich {
    fn identity_secret(&self) -> Result<Secret, ConfigError> {
        self.identity_secret.clone().or_file("enrich.identity_secret_file", &self.identity_secret_file)
    }
}

impl Enrich {
    fn resolve(written: WrittenEnrich) -> Result<Self, ConfigError> {
        let identity_secret = written.identity_secret()?;
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

/// Whoever knows an `anonymous_id` and its key can find a shorter secret by trying.
const LEAST_SECRET_CHARACTERS: usize = 16;

impl Settings {
    /// The secret for `device_key` and `user_key`: whoever knows it can find a person in the tables. A secret that can be
    /// guessed is a mistake unless `insecure_demo` is set.
    ///
    /// # Errors
    /// There is no secret, or it is short.
    pub fn identity_secret(&self) -> Result<&Secret, ConfigError> {
        let secret = &self.enrich.identity_secret;
        let problem = match secret.expose() {
            "" => "is not set",
            secret if secret.chars().count() < LEAST_SECRET_CHARACTERS => "is shorter than 16 characters",
            _ => return Ok(secret),
        };
        if self.insecure_demo {
            return Ok(secret);
        }
        Err(ConfigError::of(
            "enrich.identity_secret",
            format!(
                "enrich.identity_secret {problem}: create one with `openssl rand -hex 32`, store it in a file, and set \
                 enrich.identity_secret_file (MILLRACE__ENRICH__IDENTITY_SECRET_FILE); for a demonstration start with \
                 --insecure-demo"
            ),
        ))
    }
}

impl Aggregate {
    fn resolve(written: WrittenAggregate) -> Result<Self, ConfigError> {
        Ok(Self {
            lanes: lanes(&written.lanes)?,
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

fn memory_limit(written: &str) -> Result<u64, ConfigError> {
    let parsed = written.parse::<bytesize::ByteSize>();
    parsed
        .map(|limit| limit.as_u64())
        .map_err(|_| ConfigError::value("memory_limit", written, "a size such as 1GiB"))
}

fn listen_address(listen: &str) -> Result<Option<SocketAddr>, ConfigError> {
    if listen.is_empty() {
        return Ok(None);
    }
    let expected = "an address and port such as 0.0.0.0:9464";
    listen.parse().map(Some).map_err(|_| ConfigError::value("http.listen", listen, expected))
}

/// Two workers of one lane would fence each other off, and a process without a lane does nothing.
fn lanes(written: &[String]) -> Result<Vec<Lane>, ConfigError> {
    let wrong = |problem: &str| ConfigError::of("aggregate.lanes", format!("aggregate.lanes {problem}"));
    let mut lanes = Vec::new();
    for name in written {
        let lane = Lane::from_name(name).ok_or_else(|| wrong("has an unknown lane"))?;
        if lanes.contains(&lane) {
            return Err(wrong(&format!("has {name:?} twice: remove one")));
        }
        lanes.push(lane);
    }
    if lanes.is_empty() { Err(wrong("is empty: name at least one lane")) } else { Ok(lanes) }
}

/// The broker would abort the transactions of a stage while it fills them.
fn check_transaction_timeout(kafka: &Kafka) -> Result<(), ConfigError> {
    let Kafka { batch_interval, transaction_timeout, .. } = kafka;
    if *transaction_timeout >= *batch_interval * 2 {
        return Ok(());
    }
    let problem = format!(
        "kafka.transaction_timeout = {transaction_timeout:?} is not at least twice kafka.batch_interval, which is \
         {batch_interval:?}"
    );
    Err(ConfigError::of("kafka.transaction_timeout", problem))
}
