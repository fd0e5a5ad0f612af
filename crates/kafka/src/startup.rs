//! The requests a process makes before it reads its first record. They wait for Kafka, and end at once when it refuses the
//! connection.
use rdkafka::{
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    metadata::{Metadata, MetadataTopic},
    types::RDKafkaRespErr,
};
use runtime::{config::Settings, shutdown::Shutdown};
use std::time::{Duration, Instant};

use crate::{
    client::client,
    error::Error,
    refusal::{Cause, find_cause},
};

/// Timeout of one request; it is retried afterwards.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// librdkafka waits this long for a broker even if each of them refuses the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a worker that is rebuilt waits for Kafka before its next attempt.
const REBUILD_TIMEOUT: Duration = Duration::from_secs(10);
/// A broker that has just started may not know its topics yet.
const TOPICS_KNOWN_AFTER: Duration = Duration::from_secs(3);

/// The settings for a worker that is rebuilt after an error: it tries again and again, so one attempt may be short.
pub fn for_rebuild(settings: &Settings) -> Settings {
    Settings { startup_timeout: settings.startup_timeout.min(REBUILD_TIMEOUT), ..settings.clone() }
}

/// Number of partitions of a topic. Waits for a broker until `startup_timeout`.
///
/// # Errors
/// The topic does not exist, no broker answered in time, or a shutdown was requested.
pub fn partition_count(settings: &Settings, topic: &str, shutdown: &Shutdown) -> Result<u32, Error> {
    let consumer: BaseConsumer =
        client(settings).create().map_err(|e| Error::call("creating a client", topic, e))?;
    wait_for_topic(&consumer, settings, topic, shutdown)
}

/// As [`partition_count`], through an existing client: a new one takes 50 ms to connect.
pub(crate) fn wait_for_topic(
    consumer: &BaseConsumer,
    settings: &Settings,
    topic: &str,
    shutdown: &Shutdown,
) -> Result<u32, Error> {
    let started = Instant::now();
    let mut last_warning: Option<Instant> = None;
    loop {
        let cause = match consumer.fetch_metadata(Some(topic), CONNECT_TIMEOUT) {
            Ok(metadata) => match metadata.topics().first() {
                Some(found) if found.error().is_none() && !found.partitions().is_empty() => {
                    return Ok(found.partitions().len() as u32);
                }
                _ => match missing_topic(settings, topic, metadata.topics()) {
                    Error::MissingTopic(_) if started.elapsed() <= TOPICS_KNOWN_AFTER => {
                        "topic not known yet".to_owned()
                    }
                    error => return Err(error),
                },
            },
            Err(error) => match find_cause(settings, &error) {
                Cause::Refused(cause) => return Err(Error::refused(settings, cause)),
                Cause::NoAnswer(cause) => cause,
            },
        };
        if started.elapsed() >= settings.startup_timeout {
            let brokers = settings.kafka.brokers.clone();
            return Err(Error::Unreachable { brokers, seconds: started.elapsed().as_secs(), cause });
        }
        if shutdown.requested() {
            return Err(Error::Stopped);
        }
        if last_warning.is_none_or(|at| at.elapsed() > Duration::from_secs(10)) {
            tracing::warn!(brokers = settings.kafka.brokers, cause, "waiting for kafka; check kafka.brokers");
            last_warning = Some(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The metadata of a topic. Finds out soon whether Kafka refuses the connection.
///
/// # Errors
/// No broker answered within `timeout`, or none accepts the connection.
pub fn metadata<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    settings: &Settings,
    topic: &str,
    timeout: Duration,
) -> Result<Metadata, Error> {
    let started = Instant::now();
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        match consumer.fetch_metadata(Some(topic), left.min(CONNECT_TIMEOUT)) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => match unreachable(settings, started, &error) {
                Error::Unreachable { .. } if started.elapsed() < timeout => (),
                error => return Err(error),
            },
        }
    }
}

/// Why `found`, the reply to a request for a topic, has no partitions of it.
pub fn missing_topic(settings: &Settings, topic: &str, found: &[MetadataTopic]) -> Error {
    let denied = Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    if found.iter().any(|found| found.name() == topic && found.error() == denied) {
        Error::denied(settings, format!("the topic {topic}"))
    } else {
        Error::MissingTopic(topic.to_owned())
    }
}

/// The error of a request to which no broker answered after `started`. Looks for the cause for a few seconds.
pub fn unreachable(settings: &Settings, started: Instant, error: &KafkaError) -> Error {
    match find_cause(settings, error) {
        Cause::Refused(cause) => Error::refused(settings, cause),
        Cause::NoAnswer(cause) => {
            let brokers = settings.kafka.brokers.clone();
            Error::Unreachable { brokers, seconds: started.elapsed().as_secs(), cause }
        }
    }
}

/// The configurations of topics at the broker: one list of (key, value) per topic, in the order of `topics`.
///
/// # Errors
/// The broker returned an error or did not answer.
pub async fn topic_settings(
    settings: &Settings,
    topics: &[String],
) -> Result<Vec<Vec<(String, String)>>, Error> {
    let failed = |e| Error::call("reading topic settings", "admin", e);
    let admin: AdminClient<DefaultClientContext> = client(settings).create().map_err(failed)?;
    let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
    let answers = admin.describe_configs(&resources, &options).await.map_err(failed)?;
    let mut found = Vec::new();
    for answer in answers {
        let resource = answer.map_err(|code| failed(KafkaError::AdminOp(code)))?;
        let entries = resource.entries.into_iter();
        found.push(entries.map(|entry| (entry.name, entry.value.unwrap_or_default())).collect());
    }
    Ok(found)
}
