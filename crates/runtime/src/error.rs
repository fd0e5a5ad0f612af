//! Why a process cannot go on. Each message is one line that says what failed and what to do.
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::net::SocketAddr;

/// Why a process cannot go on; trouble with a single record is never one of these.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are wrong. Exit code 78.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// A Kafka call failed in a way that waiting does not heal.
    #[error("kafka: {action} failed: {source}")]
    Kafka {
        /// What was tried.
        action: &'static str,
        /// librdkafka's answer.
        source: KafkaError,
    },
    /// Kafka did not answer while the process was stopping.
    #[error(
        "kafka does not answer and a stop was requested: {action} is given up ({source}); nothing is lost, the records \
         will be read again at the next start"
    )]
    GivenUp {
        /// What was tried.
        action: &'static str,
        /// librdkafka's last answer.
        source: KafkaError,
    },
    /// No broker answered in time.
    #[error(
        "kafka does not answer at {brokers} after {seconds} s: {cause}; check kafka.brokers (MILLRACE__KAFKA__BROKERS)"
    )]
    KafkaUnreachable {
        /// The configured addresses.
        brokers: String,
        /// How long was waited.
        seconds: u64,
        /// The newest reason.
        cause: String,
    },
    /// A topic is not there.
    #[error("topic {0} does not exist: run `millrace topics create`, or check kafka.topic_prefix")]
    MissingTopic(String),
    /// A topic's settings break a promise.
    #[error("topic {topic}: {problem}")]
    WrongTopic {
        /// Its name.
        topic: String,
        /// What is wrong and the way out.
        problem: String,
    },
    /// The offsets a group stands at are gone.
    #[error(
        "group {group} stands at offset {offset} of {topic}/{partition}, but the topic now begins at {low}: records were \
         removed before they were read; set the group's offsets on purpose (kafka-consumer-groups --reset-offsets) to go on"
    )]
    RecordsGone {
        /// Consumer group.
        group: String,
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Committed offset.
        offset: i64,
        /// First offset that is still there.
        low: i64,
    },
    /// Another process runs under the same names.
    #[error(
        "another process took over {0}: two processes of one stage run with the same `instance`; give each its own \
         (MILLRACE__INSTANCE)"
    )]
    Fenced(String),
    /// The HTTP address cannot be used.
    #[error(
        "http.listen {address}: {cause}; set http.listen (MILLRACE__HTTP__LISTEN) to a free address, port 0 takes any"
    )]
    Listen {
        /// The address tried.
        address: SocketAddr,
        /// The system's answer.
        cause: std::io::Error,
    },
    /// A message between the stages could not be read.
    #[error("{topic}/{partition} offset {offset}: {source}")]
    Batch {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset of the message.
        offset: i64,
        /// What is wrong with it.
        source: event::BatchError,
    },
    /// A thread ended without an answer.
    #[error("worker {0} panicked; its last words are in the log above")]
    Panicked(String),
    /// Anything a stage itself has to say.
    #[error("{0}")]
    Stage(String),
    /// The operating system refused something at the start.
    #[error("{action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl Error {
    /// The exit code that fits: 78 for bad configuration, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => crate::process::EXIT_CONFIG,
            _ => 1,
        }
    }

    /// An error of a Kafka call; a fenced client is told apart.
    pub(crate) fn kafka(action: &'static str, member: &str, source: KafkaError) -> Self {
        let fenced = matches!(
            source.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::Fenced
                    | RDKafkaErrorCode::FencedInstanceId
                    | RDKafkaErrorCode::ProducerFenced
                    | RDKafkaErrorCode::InvalidProducerEpoch
            )
        );
        if fenced { Self::Fenced(member.to_owned()) } else { Self::Kafka { action, source } }
    }
}
