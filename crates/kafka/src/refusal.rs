//! Why no broker accepts a connection, in words that say what to mend.
//!
//! A request that fails says only that no broker answered. The reason is in an event of the client, so a client of its own
//! connects once more and waits for that event.
use rdkafka::{
    ClientContext,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};
use runtime::config::{Kafka, Settings};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::client;

/// How long a client may take to connect and fail.
const WAIT: Duration = Duration::from_secs(3);

/// Why a connection failed.
pub(crate) enum Cause {
    /// A broker answered and does not accept the client, or the client does not accept the broker.
    Refused(String),
    /// Nobody answered.
    NoAnswer(String),
}

/// Finds out why requests fail with `error`. Blocks for a few seconds at most.
pub(crate) fn find_cause(settings: &Settings, error: &KafkaError) -> Cause {
    let no_answer = || Cause::NoAnswer(explain(error));
    let Ok(consumer) = client::client(settings).create_with_context(Failures::default()) else {
        return no_answer();
    };
    let consumer: BaseConsumer<Failures> = consumer;
    let started = Instant::now();
    while started.elapsed() < WAIT {
        let _ = consumer.poll(Duration::from_millis(50));
        let failure = consumer.context().0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((code, reason)) = failure else { continue };
        if let Some(text) = in_words(&settings.kafka, code, &reason) {
            let of_rustls = if is_about_tls(&reason) { certificate_problem(&settings.kafka) } else { None };
            return Cause::Refused(of_rustls.unwrap_or(text));
        }
        let detail = reason.split(" (after").next().unwrap_or_default();
        return Cause::NoAnswer(format!("{}: {detail}", explain(error)));
    }
    match has_tls(&settings.kafka) {
        true => Cause::Refused(format!(
            "it has TLS at this port: check kafka.security_protocol, which is {}",
            settings.kafka.security_protocol.as_str()
        )),
        false => no_answer(),
    }
}

/// The error of a request without an answer.
fn explain(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::OperationTimedOut) => {
            "no connection to any broker".to_owned()
        }
        Some(RDKafkaErrorCode::Resolve) => "the host name cannot be resolved".to_owned(),
        _ => error.to_string(),
    }
}

/// The first failure of a connection.
#[derive(Default)]
struct Failures(Mutex<Option<(RDKafkaErrorCode, String)>>);

impl ClientContext for Failures {
    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) =
            error.rdkafka_error_code().filter(|&code| code != RDKafkaErrorCode::AllBrokersDown)
        {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((code, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Failures {}

/// What a refused connection means; none when nobody answered. librdkafka has one code for all problems with TLS, and for
/// some none of its own, so its texts decide.
fn in_words(kafka: &Kafka, code: RDKafkaErrorCode, reason: &str) -> Option<String> {
    let has = |text: &str| reason.contains(text);
    let protocol = kafka.security_protocol.as_str();
    let user = &kafka.sasl.username;
    let mechanism = kafka.sasl.mechanism.as_str();
    Some(if has("mechanism handshake failed") {
        let supported = reason.rsplit("supported mechanisms: ").next().unwrap_or_default();
        let supported = supported.split(" (after").next().unwrap_or_default().trim();
        format!("it does not accept kafka.sasl.mechanism {mechanism}, it accepts {supported}")
    } else if has("certificate verify failed") {
        "its certificate is not valid: check kafka.ssl.ca_file".to_owned()
    } else if let Some(alert) = alert(reason) {
        let is_about_client = alert.contains("certificate") || alert.contains("unknown ca");
        match (is_about_client, kafka.ssl.has_no_certificate()) {
            (true, true) => {
                "it requires a certificate of the client: set kafka.ssl.certificate_file and kafka.ssl.key_file"
                    .to_owned()
            }
            (true, false) => format!(
                "it does not accept the certificate of the client ({alert}): check kafka.ssl.certificate_file"
            ),
            (false, _) => format!(
                "it does not accept the TLS connection ({alert}): check ssl.enabled.protocols and ssl.cipher.suites of the \
                 broker, and the options ssl.* in kafka.options"
            ),
        }
    } else if has("wrong version number") || has("PLAINTEXT broker listener?") {
        format!(
            "it does not speak TLS at this port: check kafka.brokers and kafka.security_protocol, which is {protocol}"
        )
    } else if has("connecting to a SSL listener?") || has("might require SASL authentication") {
        format!("it closes the connection: check kafka.security_protocol, which is {protocol}")
    } else if matches!(code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) {
        format!(
            "it does not accept user {user} with {mechanism}: check kafka.sasl.username, kafka.sasl.password_file and \
             kafka.sasl.mechanism"
        )
    } else {
        return None;
    })
}

/// Whether the certificate of the server or that of the client may be the cause. A wrong password is not: the reply to it
/// comes after the handshake.
fn is_about_tls(reason: &str) -> bool {
    reason.contains("certificate verify failed") || alert(reason).is_some()
}

/// The TLS alert of the server, as OpenSSL calls it.
fn alert(reason: &str) -> Option<&str> {
    let (_, alert) = reason.split_once("SSL routines::")?;
    let alert = alert.split(':').next().unwrap_or_default();
    alert.contains(" alert ").then_some(alert)
}

/// What rustls says about the certificate of the first broker that answers.
#[cfg(feature = "tls")]
fn certificate_problem(kafka: &Kafka) -> Option<String> {
    let tls = kafka.ssl.tls.as_ref()?;
    kafka.brokers.split(',').find_map(|address| {
        let error = runtime::tls::handshake(tls, kafka.ssl.verify_hostname, address.trim(), WAIT).err()?;
        runtime::tls::explain(&error, &runtime::config::KAFKA_TLS)
    })
}

/// Whether a broker has TLS and the client has not. Kafka then closes the connection without an answer.
#[cfg(feature = "tls")]
fn has_tls(kafka: &Kafka) -> bool {
    let is_plain = !kafka.security_protocol.has_tls();
    is_plain && kafka.brokers.split(',').any(|address| runtime::tls::speaks_tls(address.trim(), WAIT))
}

#[cfg(not(feature = "tls"))]
fn has_tls(_: &Kafka) -> bool {
    false
}

#[cfg(not(feature = "tls"))]
fn certificate_problem(_: &Kafka) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::config::load_from;

    #[test]
    fn a_refused_connection_says_which_key_to_check() {
        let settings = load_from(
            None,
            [
                ("MILLRACE__KAFKA__SECURITY_PROTOCOL", "sasl_plaintext"),
                ("MILLRACE__KAFKA__SASL__USERNAME", "ingest"),
                ("MILLRACE__KAFKA__SASL__PASSWORD", "x"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        let kafka = settings.unwrap().kafka;
        for (code, reason, expected) in [
            (
                RDKafkaErrorCode::Authentication,
                "sasl_ssl://127.0.0.1:1/bootstrap: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL \
                 mechanism: broker's supported mechanisms: SCRAM-SHA-512 (after 4ms in state AUTH_HANDSHAKE)",
                "it does not accept kafka.sasl.mechanism SCRAM-SHA-512, it accepts SCRAM-SHA-512",
            ),
            (
                RDKafkaErrorCode::Authentication,
                "SASL authentication error: Authentication failed during authentication due to invalid credentials with \
                 SASL mechanism SCRAM-SHA-512 (after 40ms in state AUTH_REQ)",
                "it does not accept user ingest with SCRAM-SHA-512: check kafka.sasl.username",
            ),
            (
                RDKafkaErrorCode::SSL,
                "SSL handshake failed: error:0A00010B:SSL routines::wrong version number: (after 2ms)",
                "does not speak TLS at this port",
            ),
            (
                RDKafkaErrorCode::BrokerTransportFailure,
                "Receive failed: error:0A00045C:SSL routines::tlsv13 alert certificate required: SSL alert number 116",
                "set kafka.ssl.certificate_file and kafka.ssl.key_file",
            ),
            (
                RDKafkaErrorCode::SSL,
                "SSL handshake failed: error:0A00042E:SSL routines::tlsv1 alert protocol version: SSL alert number 70",
                "it does not accept the TLS connection (tlsv1 alert protocol version): check ssl.enabled.protocols",
            ),
            (
                RDKafkaErrorCode::BrokerTransportFailure,
                "Disconnected: requesting ApiVersion: might be caused by incorrect security.protocol configuration \
                 (connecting to a SSL listener?) or broker version is < 0.10",
                "check kafka.security_protocol, which is sasl_plaintext",
            ),
        ] {
            let found = in_words(&kafka, code, reason).unwrap();
            assert!(found.contains(expected), "{found}");
        }
        for (reason, expected) in [
            (
                "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: (after 8ms)",
                true,
            ),
            ("error:0A00045C:SSL routines::tlsv13 alert certificate required: SSL alert number 116", true),
            (
                "SASL authentication error: Authentication failed: invalid credentials with SCRAM-SHA-512",
                false,
            ),
            ("SSL handshake failed: error:0A00010B:SSL routines::wrong version number: (after 2ms)", false),
        ] {
            assert_eq!(is_about_tls(reason), expected, "{reason}");
        }
        let away = "Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)";
        assert_eq!(in_words(&kafka, RDKafkaErrorCode::BrokerTransportFailure, away), None);
    }
}
