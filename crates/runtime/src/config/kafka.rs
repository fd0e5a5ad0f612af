//! Section `kafka`: where Kafka is, how a client proves who it is, and the topics.
use event::{Start, Topic};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::{
    error::{ConfigError, Mistakes},
    kafka_options::KafkaOptions,
    secret::Secret,
    tls::{Pem, Tls, TlsKeys},
};

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
    pub security_protocol: SecurityProtocol,
    pub ssl: Ssl,
    pub sasl: Sasl,
    pub options: KafkaOptions,
}

/// How a client connects to a broker: with TLS or not, with SASL or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProtocol {
    /// Neither.
    #[serde(alias = "PLAINTEXT")]
    Plaintext,
    /// TLS; a certificate of the client says who it is.
    #[serde(alias = "SSL")]
    Ssl,
    /// SASL over an unencrypted connection.
    #[serde(alias = "SASL_PLAINTEXT")]
    SaslPlaintext,
    /// SASL over TLS.
    #[serde(alias = "SASL_SSL")]
    SaslSsl,
}

/// Section `kafka.ssl`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct Ssl {
    pub ca: Secret,
    pub ca_file: String,
    /// Often one text with the private key.
    pub certificate: Secret,
    pub certificate_file: String,
    pub key: Secret,
    pub key_file: String,
    pub key_password: Secret,
    pub key_password_file: String,
    pub verify_hostname: bool,
    /// The same as rustls has it, to find out what is wrong with a certificate. Only with TLS.
    #[serde(skip)]
    pub tls: Option<Tls>,
}

/// Section `kafka.sasl`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "default.toml documents every key")]
pub struct Sasl {
    pub mechanism: SaslMechanism,
    pub username: String,
    pub username_file: String,
    pub password: Secret,
    pub password_file: String,
}

/// How a user and a password are proven to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum SaslMechanism {
    /// The password is sent as it is.
    #[serde(rename = "PLAIN")]
    Plain,
    /// The password is not sent.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The password is not sent.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// The keys of a client that connects to Kafka with TLS.
pub const KAFKA_TLS: TlsKeys = TlsKeys {
    address: "kafka.brokers",
    ca: "kafka.ssl.ca_file",
    certificate: "kafka.ssl.certificate_file",
    key: "kafka.ssl.key_file",
};

impl Kafka {
    /// What is accepted, although someone else could read a password or pass for a broker.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        let protocol = self.security_protocol;
        let names = protocol.has_tls() && !self.ssl.verify_hostname;
        let password =
            protocol == SecurityProtocol::SaslPlaintext && self.sasl.mechanism == SaslMechanism::Plain;
        let warnings = [
            (
                names,
                "kafka.ssl.verify_hostname = false: every server with a certificate of a trusted CA can pass for a broker",
            ),
            (
                password,
                "kafka.sasl.mechanism = \"PLAIN\" with kafka.security_protocol = \"sasl_plaintext\" sends the password \
                 unencrypted: set kafka.security_protocol to sasl_ssl",
            ),
        ];
        warnings.into_iter().filter(|(is_so, _)| *is_so).map(|(_, warning)| warning.to_owned())
    }

    /// The full name of a topic.
    pub fn topic(&self, topic: Topic) -> String {
        format!("{}{}", self.topic_prefix, topic.name())
    }

    /// Reads the secrets that are in files, and checks that what is set fits together.
    pub(super) fn resolve(mut self) -> Result<Self, ConfigError> {
        let protocol = self.security_protocol;
        let mut mistakes = Mistakes::default();
        mistakes.check(self.options.check());
        if protocol.has_tls() {
            mistakes.check(self.ssl.resolve());
        } else if let Some((key, value)) = self.ssl.first_set() {
            mistakes.add(unused(key, value, protocol, "ssl or sasl_ssl"));
        }
        if protocol.has_sasl() {
            mistakes.check(self.sasl.resolve(protocol));
        } else if let Some((key, value)) = self.sasl.first_set() {
            mistakes.add(unused(key, value, protocol, "sasl_ssl or sasl_plaintext"));
        }
        mistakes.into_result().map(|()| self)
    }
}

/// Someone who sets it believes that it protects the connection.
fn unused(key: &str, value: &str, protocol: SecurityProtocol, needed: &str) -> ConfigError {
    let expected = format!(
        "used with kafka.security_protocol = {:?}: set that to {needed}, or remove this key",
        protocol.as_str()
    );
    ConfigError::value(key, value, expected)
}

impl SecurityProtocol {
    /// As librdkafka names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    /// Whether the connection is encrypted.
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether a user and a password say who the client is.
    pub fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

impl SaslMechanism {
    /// As Kafka names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Ssl {
    /// A key that is set, with what may be shown of its value.
    fn first_set(&self) -> Option<(&'static str, &str)> {
        let set = |secret: &Secret| if secret.is_empty() { "" } else { "***" };
        [
            ("kafka.ssl.ca_file", &*self.ca_file),
            ("kafka.ssl.ca", set(&self.ca)),
            ("kafka.ssl.certificate_file", &self.certificate_file),
            ("kafka.ssl.certificate", set(&self.certificate)),
            ("kafka.ssl.key_file", &self.key_file),
            ("kafka.ssl.key", set(&self.key)),
            ("kafka.ssl.key_password_file", &self.key_password_file),
            ("kafka.ssl.key_password", set(&self.key_password)),
        ]
        .into_iter()
        .find(|(_, value)| !value.is_empty())
    }

    /// Whether the client has none.
    pub fn has_no_certificate(&self) -> bool {
        self.certificate.is_empty() && self.certificate_file.is_empty()
    }

    fn resolve(&mut self) -> Result<(), ConfigError> {
        let password = std::mem::take(&mut self.key_password);
        self.key_password = password.or_file("kafka.ssl.key_password_file", &self.key_password_file)?;
        let ca = Pem::new("kafka.ssl.ca", self.ca.expose(), &self.ca_file);
        let certificate =
            Pem::new("kafka.ssl.certificate", self.certificate.expose(), &self.certificate_file);
        let key = Pem::new("kafka.ssl.key", self.key.expose(), &self.key_file);
        self.tls = Some(Tls::new(ca, certificate, key, !self.key_password.expose().is_empty())?);
        Ok(())
    }
}

impl Sasl {
    /// A key that is set, with what may be shown of its value.
    fn first_set(&self) -> Option<(&'static str, &str)> {
        let password = if self.password.expose().is_empty() { "" } else { "***" };
        [
            ("kafka.sasl.username", &*self.username),
            ("kafka.sasl.username_file", &self.username_file),
            ("kafka.sasl.password", password),
            ("kafka.sasl.password_file", &self.password_file),
        ]
        .into_iter()
        .find(|(_, value)| !value.is_empty())
    }

    fn resolve(&mut self, protocol: SecurityProtocol) -> Result<(), ConfigError> {
        let username = Secret::new(std::mem::take(&mut self.username));
        let username = username.or_file("kafka.sasl.username_file", &self.username_file)?;
        username.expose().clone_into(&mut self.username);
        let password = std::mem::take(&mut self.password);
        self.password = password.or_file("kafka.sasl.password_file", &self.password_file)?;
        let protocol = protocol.as_str();
        if self.username.is_empty() {
            let expected = format!("a user: kafka.security_protocol = {protocol:?} needs one");
            return Err(ConfigError::value("kafka.sasl.username", "", expected));
        }
        if self.password.expose().is_empty() {
            let expected = format!(
                "a password: kafka.security_protocol = {protocol:?} needs one; set kafka.sasl.password_file"
            );
            return Err(ConfigError::value("kafka.sasl.password", "", expected));
        }
        Ok(())
    }
}
