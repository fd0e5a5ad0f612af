//! Configurations of Kafka clients, and the requests a process makes before it reads its first record.
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    client::DefaultClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use runtime::{config::Settings, shutdown::Shutdown};
use std::time::{Duration, Instant};

use crate::error::Error;

/// Largest batch of the topics between the stages, and largest message that a stage sends: a single row may be larger than
/// [`MESSAGE_BYTES`](event::StageLimits::MESSAGE_BYTES).
pub(crate) const MAX_MESSAGE_BYTES: u32 = 8 * 1024 * 1024;
/// Most bytes of one fetch, compressed. Kafka returns more only for a single batch that is larger.
const FETCH_BYTES: &str = "4194304";
/// librdkafka decompresses a zstd batch to at most this size, and to at least a third of it. There is no such limit for
/// the other codecs.
const RECEIVE_BYTES: &str = "50331648";
/// Timeout of one request; it is retried afterwards.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a worker that is rebuilt waits for Kafka before its next attempt.
const REBUILD_TIMEOUT: Duration = Duration::from_secs(10);
/// A broker that has just started may not know its topics yet.
const TOPICS_KNOWN_AFTER: Duration = Duration::from_secs(3);

/// Configuration that all clients share.
pub fn client(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.kafka.brokers)
        .set("client.id", format!("{}-{}", settings.pipeline, settings.instance))
        .set("message.max.bytes", MAX_MESSAGE_BYTES.to_string())
        .set("reconnect.backoff.max.ms", "2000")
        .set_log_level(RDKafkaLogLevel::Warning);
    config
}

/// Configuration of a consumer group member. The comments say what breaks without each setting.
pub(crate) fn consumer(settings: &Settings, group: &str, member: &str) -> ClientConfig {
    let mut config = client(settings);
    config
        .set("group.id", group)
        // A member that rejoins with the same instance ID keeps its partitions and its state.
        .set("group.instance.id", member)
        .set("partition.assignment.strategy", "range")
        .set("session.timeout.ms", settings.kafka.session_timeout.as_millis().to_string())
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Resetting to either end would lose or repeat records. A new group commits its start before it reads.
        .set("auto.offset.reset", "error")
        // New partitions of a topic are read within seconds; the default is 5 minutes.
        .set("topic.metadata.refresh.interval.ms", "3000")
        // With the default of 1000 ms a consumer that catches up stalls for a second again and again.
        .set("fetch.queue.backoff.ms", "10")
        // Fewer and larger fetches cost broker and consumer much less CPU; they delay records by 50 ms at most.
        .set("fetch.wait.max.ms", "50")
        .set("fetch.min.bytes", "262144")
        // A small prefetch queue stays in the CPU cache until it is read.
        .set("queued.max.messages.kbytes", prefetch_kib(settings).to_string())
        .set("max.partition.fetch.bytes", "524288")
        .set("statistics.interval.ms", "5000");
    decoding(&mut config);
    config
}

/// A small part of the memory limit for each of the workers; aggregate has them once per lane.
fn prefetch_kib(settings: &Settings) -> u64 {
    (settings.memory_limit / 64 / 1024 / settings.workers.max(1) as u64).clamp(1024, 16 * 1024)
}

/// What every consumer sets about the batches that it decodes. The memory they take is not limited by the bytes of a fetch:
/// librdkafka decompresses all batches of a fetch at once.
pub fn decoding(config: &mut ClientConfig) {
    config
        // Without it the records of a damaged batch are returned as they are.
        .set("check.crcs", "true")
        .set("receive.message.max.bytes", RECEIVE_BYTES)
        // librdkafka raises fetch.max.bytes to this one.
        .set("message.max.bytes", FETCH_BYTES)
        .set("fetch.max.bytes", FETCH_BYTES);
}

/// Configuration of a producer whose messages become visible when its transaction commits.
pub(crate) fn transactional_producer(settings: &Settings, transactional_id: &str) -> ClientConfig {
    let mut config = client(settings);
    config
        .set("transactional.id", transactional_id)
        .set("transaction.timeout.ms", settings.kafka.transaction_timeout.as_millis().to_string())
        .set("compression.type", "lz4")
        // The commit sends what is queued. Until then, fewer and larger requests cost client and broker less CPU.
        .set("linger.ms", "100")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.kbytes", "262144");
    config
}

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
        let cause = match consumer.fetch_metadata(Some(topic), REQUEST_TIMEOUT) {
            Ok(metadata) => match metadata.topics().first() {
                Some(found) if found.error().is_none() && !found.partitions().is_empty() => {
                    return Ok(found.partitions().len() as u32);
                }
                _ if started.elapsed() > TOPICS_KNOWN_AFTER => {
                    return Err(Error::MissingTopic(topic.to_owned()));
                }
                _ => "topic not known yet".to_owned(),
            },
            Err(error) => explain(&error),
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

/// The cause of a failed request, in words for an operator.
pub fn explain(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::OperationTimedOut) => {
            "no connection to any broker".to_owned()
        }
        Some(RDKafkaErrorCode::Resolve) => "the host name cannot be resolved".to_owned(),
        _ => error.to_string(),
    }
}
