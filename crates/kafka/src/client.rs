//! Configurations of Kafka clients.
use rdkafka::{
    ClientConfig, config::RDKafkaLogLevel, consumer::BaseConsumer, error::KafkaError, producer::BaseProducer,
};
use runtime::config::{ConfigError, Kafka, Settings};

use crate::security::{set_options, set_security};

/// Largest batch of the topics between the stages, and largest message that a stage sends: a single row may be larger than
/// [`MESSAGE_BYTES`](event::StageLimits::MESSAGE_BYTES).
pub(crate) const MAX_MESSAGE_BYTES: u32 = 8 * 1024 * 1024;
/// Most bytes of one fetch, compressed. Kafka returns more only for a single batch that is larger.
const FETCH_BYTES: &str = "4194304";
/// librdkafka decompresses a zstd batch to at most this size, and to at least a third of it. There is no such limit for
/// the other codecs.
const RECEIVE_BYTES: &str = "50331648";

/// Configuration that all clients share.
pub fn client(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.kafka.brokers)
        .set("client.id", format!("{}-{}", settings.pipeline, settings.instance))
        .set("message.max.bytes", MAX_MESSAGE_BYTES.to_string())
        .set("reconnect.backoff.max.ms", "2000")
        .set_log_level(RDKafkaLogLevel::Warning);
    set_security(&mut config, &settings.kafka);
    set_options(&mut config, &settings.kafka);
    config
}

/// Checks that librdkafka accepts the configuration of every client, without connecting to anything.
///
/// # Errors
/// An option does not exist or has a wrong value, options do not fit together, or a TLS file does not work.
pub fn check_clients(settings: &Settings) -> Result<(), ConfigError> {
    let refused = |error| refused_configuration(&settings.kafka, error);
    let mut consumer = consumer(settings, "check", "check");
    consumer.remove("bootstrap.servers");
    let _consumer: BaseConsumer = consumer.create().map_err(refused)?;
    let mut producer = transactional_producer(settings, "check");
    producer.remove("bootstrap.servers");
    let _producer: BaseProducer = producer.create().map_err(refused)?;
    Ok(())
}

fn refused_configuration(kafka: &Kafka, error: KafkaError) -> ConfigError {
    let problem = match error {
        KafkaError::ClientConfig(_, problem, name, _) => match kafka.options.problem(&name, &problem) {
            Some(error) => return error,
            None => format!("{name}: {problem}"),
        },
        KafkaError::ClientCreation(problem) => problem,
        error => error.to_string(),
    };
    let advice = "check kafka.options, kafka.ssl and kafka.sasl";
    ConfigError::of(
        "kafka",
        format!("kafka: librdkafka does not accept the configuration: {problem}; {advice}"),
    )
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
    set_options(&mut config, &settings.kafka);
    config
}

/// A small part of the memory limit for each of the workers; aggregate has them once per lane.
pub(crate) fn prefetch_kib(settings: &Settings) -> u64 {
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
    set_options(&mut config, &settings.kafka);
    config
}
