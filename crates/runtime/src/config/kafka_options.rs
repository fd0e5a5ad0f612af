//! Section `kafka.options`: options of librdkafka by their own names, except those on which correctness or memory depends
//! and those that have a key of their own.
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt};

use super::error::{ConfigError, Mistakes};

/// Options of librdkafka by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KafkaOptions(BTreeMap<String, String>);

const RESULTS: &str = "exactly-once depends on it";
const MEMORY: &str = "it limits memory: set memory_limit";
const GROUPS: &str = "the names of groups and members come from pipeline and instance";
const REBALANCE: &str = "a stage handles rebalances of the classic protocol with the range assignor";
const CODE: &str = "it loads code into the process";
const CERTIFICATE: &str = "set kafka.ssl.certificate_file";
const KEY: &str = "set kafka.ssl.key_file";

/// Options that cannot be set here, and the reason.
const REFUSED: &[(&str, &str)] = &[
    ("acks", RESULTS),
    ("allow.auto.create.topics", "run `millrace topics create`"),
    ("auto.commit.enable", RESULTS),
    ("auto.commit.interval.ms", RESULTS),
    ("auto.offset.reset", "it would lose or repeat records: set kafka.start"),
    ("bootstrap.servers", "set kafka.brokers"),
    ("check.crcs", "the records of a damaged batch would be counted"),
    ("client.id", GROUPS),
    ("delivery.timeout.ms", RESULTS),
    ("enable.auto.commit", RESULTS),
    ("enable.auto.offset.store", RESULTS),
    ("enable.gapless.guarantee", RESULTS),
    ("enable.idempotence", RESULTS),
    ("enable.partition.eof", RESULTS),
    (
        "enable.ssl.certificate.verification",
        "anyone could pass for the broker: set kafka.ssl.ca_file to the CA that signed its certificate",
    ),
    ("fetch.max.bytes", MEMORY),
    ("fetch.message.max.bytes", MEMORY),
    ("group.id", GROUPS),
    ("group.instance.id", GROUPS),
    ("group.protocol", REBALANCE),
    ("group.remote.assignor", REBALANCE),
    ("internal.termination.signal", "a signal ends the process after its work is committed"),
    ("isolation.level", "the records of aborted transactions would be counted"),
    ("log.queue", "set log.level"),
    ("log_level", "set log.level"),
    ("max.in.flight", RESULTS),
    ("max.in.flight.requests.per.connection", RESULTS),
    ("max.partition.fetch.bytes", MEMORY),
    ("message.max.bytes", MEMORY),
    ("message.send.max.retries", RESULTS),
    ("message.timeout.ms", RESULTS),
    ("metadata.broker.list", "set kafka.brokers"),
    ("offset.store.method", RESULTS),
    ("partition.assignment.strategy", REBALANCE),
    ("plugin.library.paths", CODE),
    ("queue.buffering.max.kbytes", MEMORY),
    ("queued.max.messages.kbytes", MEMORY),
    ("receive.message.max.bytes", MEMORY),
    ("request.required.acks", RESULTS),
    ("retries", RESULTS),
    ("sasl.mechanism", "set kafka.sasl.mechanism"),
    ("sasl.mechanisms", "set kafka.sasl.mechanism"),
    ("sasl.password", "set kafka.sasl.password_file"),
    ("sasl.username", "set kafka.sasl.username"),
    ("security.protocol", "set kafka.security_protocol"),
    ("session.timeout.ms", "set kafka.session_timeout"),
    ("ssl.ca.location", "set kafka.ssl.ca_file"),
    ("ssl.ca.pem", "set kafka.ssl.ca"),
    ("ssl.certificate.location", CERTIFICATE),
    ("ssl.certificate.pem", CERTIFICATE),
    ("ssl.endpoint.identification.algorithm", "set kafka.ssl.verify_hostname"),
    ("ssl.engine.location", CODE),
    ("ssl.key.location", KEY),
    ("ssl.key.password", "set kafka.ssl.key_password_file"),
    ("ssl.key.pem", KEY),
    ("ssl.providers", CODE),
    ("statistics.interval.ms", "lag and outages are read from the statistics"),
    ("test.mock.num.brokers", "there would be no Kafka"),
    ("transaction.timeout.ms", "set kafka.transaction_timeout"),
    ("transactional.id", GROUPS),
];

impl KafkaOptions {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What librdkafka says about an option; none when the option is not set here. The name may be a misspelled one of a
    /// secret: the value is not quoted.
    pub fn problem(&self, name: &str, problem: &str) -> Option<ConfigError> {
        let key = self.0.contains_key(name).then(|| format!("kafka.options.{name}"))?;
        let sentence = format!("{key} does not work: {problem}");
        Some(ConfigError::of(key, sentence))
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let mut mistakes = Mistakes::default();
        for (name, _) in self.iter() {
            // To librdkafka, topic.acks is another name of acks.
            let option = name.strip_prefix("topic.").unwrap_or(name);
            if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == option) {
                let key = format!("kafka.options.{name}");
                let problem = format!("{key} cannot be set: {reason}");
                mistakes.add(ConfigError::of(key, problem));
            }
        }
        mistakes.into_result()
    }
}

/// A value, masked when it may be a secret.
fn shown<'v>(name: &str, value: &'v str) -> &'v str {
    let words = ["pass", "secret", "pem", "jaas", "token", ".key"];
    let is_secret = words.iter().any(|word| name.contains(word)) || value.contains("-----BEGIN");
    if is_secret && !value.is_empty() { "***" } else { value }
}

impl<'de> Deserialize<'de> for KafkaOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut options = BTreeMap::new();
        flatten("", Map::deserialize(deserializer)?, &mut options).map_err(D::Error::custom)?;
        Ok(Self(options))
    }
}

/// TOML reads an unquoted name with dots as tables within tables. Whole names go first: those of the environment are such,
/// and it overrides a file.
fn flatten(
    prefix: &str,
    table: Map<String, Value>,
    options: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let (tables, values): (Vec<_>, Vec<_>) = table.into_iter().partition(|(_, value)| value.is_object());
    for (name, value) in values.into_iter().chain(tables) {
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        let text = match value {
            Value::Object(table) => {
                flatten(&name, table, options)?;
                continue;
            }
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(is_on) => is_on.to_string(),
            Value::Array(_) | Value::Null => {
                return Err("expected a text, a number, true or false".to_owned());
            }
        };
        options.entry(name).or_insert(text);
    }
    Ok(())
}

impl Serialize for KafkaOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(name, value)| (name, shown(name, value))))
    }
}

impl fmt::Debug for KafkaOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (name, shown(name, value)))).finish()
    }
}
