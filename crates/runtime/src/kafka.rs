//! Kafka clients as every part of Millrace makes them, and the questions asked before the first record flows.
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    client::DefaultClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};
use std::time::{Duration, Instant};

use crate::{Error, config::Settings, shutdown::Shutdown};

/// Every message between the stages fits, and so does every dead letter of a record the raw topic can hold.
const MAX_MESSAGE_BYTES: &str = "16777216";
/// How long one question to the broker may take before it is asked again.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Settings that every client shares.
pub fn client(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.kafka.brokers)
        .set("client.id", format!("{}-{}", settings.pipeline, settings.instance))
        .set("message.max.bytes", MAX_MESSAGE_BYTES)
        .set("reconnect.backoff.max.ms", "2000")
        .set_log_level(RDKafkaLogLevel::Warning);
    config
}

/// A consumer of a group; see the comments for what breaks without each setting.
pub(crate) fn consumer(settings: &Settings, group: &str, member: &str) -> ClientConfig {
    let mut config = client(settings);
    config
        .set("group.id", group)
        // A member that returns under its name keeps its partitions and its state.
        .set("group.instance.id", member)
        .set("partition.assignment.strategy", "range")
        .set("session.timeout.ms", settings.kafka.session_timeout.as_millis().to_string())
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Jumping to either end would lose or repeat records; the first start is decided by `kafka.start`.
        .set("auto.offset.reset", "error")
        // With the default of 1000 a consumer that catches up stalls for a second, again and again.
        .set("fetch.queue.backoff.ms", "10")
        // Fewer and larger answers cost the broker and us much less; the price is 50 ms of freshness at most.
        .set("fetch.wait.max.ms", "50")
        .set("fetch.min.bytes", "262144")
        // What waits longest is coldest: a small queue is read from the processor's cache.
        .set("queued.max.messages.kbytes", "16384")
        .set("max.partition.fetch.bytes", "524288")
        .set("statistics.interval.ms", "5000");
    config
}

/// A producer whose messages become visible when its transaction commits.
pub(crate) fn transactional_producer(settings: &Settings, transactional_id: &str) -> ClientConfig {
    let mut config = client(settings);
    config
        .set("transactional.id", transactional_id)
        .set("transaction.timeout.ms", settings.kafka.transaction_timeout.as_millis().to_string())
        .set("compression.type", "lz4")
        // The commit sends what is left; until then, fewer and larger requests cost everybody less.
        .set("linger.ms", "100")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.kbytes", "262144");
    config
}

/// Number of partitions of a topic; waits for a broker until `startup_timeout`.
///
/// # Errors
/// The topic is missing, no broker answered in time, or the process was asked to stop.
pub fn partition_count(settings: &Settings, topic: &str, shutdown: &Shutdown) -> Result<u32, Error> {
    let consumer: BaseConsumer =
        client(settings).create().map_err(|e| Error::kafka("creating a client", topic, e))?;
    wait_for_topic(&consumer, settings, topic, shutdown)
}

/// As [`partition_count`], asked through a client that is there: a new one takes 50 ms to connect.
pub(crate) fn wait_for_topic(
    consumer: &BaseConsumer,
    settings: &Settings,
    topic: &str,
    shutdown: &Shutdown,
) -> Result<u32, Error> {
    let started = Instant::now();
    let mut last_warning: Option<Instant> = None;
    loop {
        let cause = match consumer.fetch_metadata(Some(topic), ASK_TIMEOUT) {
            Ok(metadata) => match metadata.topics().first() {
                Some(found) if found.error().is_none() && !found.partitions().is_empty() => {
                    return Ok(found.partitions().len() as u32);
                }
                // A broker that just came up may not know its topics yet: ask a few times before believing it.
                _ if started.elapsed() > Duration::from_secs(3) => {
                    return Err(Error::MissingTopic(topic.to_owned()));
                }
                _ => "topic not known yet".to_owned(),
            },
            Err(error) => explain(&error),
        };
        if started.elapsed() >= settings.startup_timeout {
            let brokers = settings.kafka.brokers.clone();
            return Err(Error::KafkaUnreachable { brokers, seconds: started.elapsed().as_secs(), cause });
        }
        if shutdown.requested() {
            return Err(Error::Stage("stopped while waiting for kafka".into()));
        }
        if last_warning.is_none_or(|at| at.elapsed() > Duration::from_secs(10)) {
            tracing::warn!(brokers = settings.kafka.brokers, cause, "waiting for kafka; check kafka.brokers");
            last_warning = Some(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// First offset and the one behind the last of each of these partitions, in the order asked, as this consumer's isolation
/// level sees them.
///
/// All are asked about at once: `fetch_watermarks` takes them one after the other, and a restart would wait for each.
///
/// # Errors
/// A broker did not answer within `timeout`, or a partition does not exist or has no leader.
pub fn bounds<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[(&str, i32)],
    timeout: Duration,
) -> Result<Vec<(i64, i64)>, KafkaError> {
    let first = ends(consumer, partitions, Offset::Beginning, timeout)?;
    let next = ends(consumer, partitions, Offset::End, timeout)?;
    Ok(first.into_iter().zip(next).collect())
}

/// One end of each of these partitions, in the order asked: `Beginning` or `End`.
///
/// # Errors
/// As [`bounds`].
pub fn ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[(&str, i32)],
    end: Offset,
    timeout: Duration,
) -> Result<Vec<i64>, KafkaError> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut asked = TopicPartitionList::new();
    for &(topic, partition) in partitions {
        // Kafka's special times for both ends have the numbers of librdkafka's special offsets.
        asked.add_partition_offset(topic, partition, end)?;
    }
    let answer = consumer.offsets_for_times(asked, timeout)?;
    let found = partitions.iter().map(|&(topic, partition)| {
        let found = answer.find_partition(topic, partition);
        let found = found.ok_or(KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition))?;
        found.error()?;
        match found.offset() {
            Offset::Offset(offset) => Ok(offset),
            _ => Err(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset)),
        }
    });
    found.collect()
}

fn explain(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::OperationTimedOut) => {
            "no connection to any broker".to_owned()
        }
        Some(RDKafkaErrorCode::Resolve) => "the host name is not known".to_owned(),
        _ => error.to_string(),
    }
}

/// The settings of topics as the broker has them: one list of (key, value) per topic, in the order asked.
///
/// # Errors
/// The broker refused or did not answer.
pub async fn topic_settings(
    settings: &Settings,
    topics: &[String],
) -> Result<Vec<Vec<(String, String)>>, Error> {
    let failed = |e| Error::kafka("reading topic settings", "admin", e);
    let admin: AdminClient<DefaultClientContext> = client(settings).create().map_err(failed)?;
    let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(ASK_TIMEOUT));
    let answers = admin.describe_configs(&resources, &options).await.map_err(failed)?;
    let mut found = Vec::new();
    for answer in answers {
        let resource = answer.map_err(|code| failed(KafkaError::AdminOp(code)))?;
        let entries = resource.entries.into_iter();
        found.push(entries.map(|entry| (entry.name, entry.value.unwrap_or_default())).collect());
    }
    Ok(found)
}
