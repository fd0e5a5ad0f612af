//! Errors of Kafka calls. Each message is one line that says what failed and what to do.
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why a client of Kafka cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A Kafka call failed with a permanent error.
    #[error("kafka: {action} failed: {source}")]
    Call {
        /// What failed.
        action: &'static str,
        /// librdkafka's error.
        source: KafkaError,
    },
    /// Kafka did not answer while the process was stopping.
    #[error(
        "kafka does not answer and a stop was requested: gave up {action} ({source}); nothing is lost, the records will \
         be read again at the next start"
    )]
    GivenUp {
        /// What failed.
        action: &'static str,
        /// librdkafka's last error.
        source: KafkaError,
    },
    /// No broker answered in time.
    #[error(
        "kafka does not answer at {brokers} after {seconds} s: {cause}; check kafka.brokers (MILLRACE__KAFKA__BROKERS)"
    )]
    Unreachable {
        /// The configured addresses.
        brokers: String,
        /// Time waited.
        seconds: u64,
        /// The last error.
        cause: String,
    },
    /// The process was asked to stop before a broker answered.
    #[error("stopped while waiting for kafka")]
    Stopped,
    /// A topic does not exist.
    #[error("topic {0} does not exist: run `millrace topics create`, or check kafka.topic_prefix")]
    MissingTopic(String),
    /// The settings of a topic do not fit the pipeline.
    #[error("topic {topic}: {problem}")]
    WrongTopic {
        /// Its name.
        topic: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The committed offset of a group is below the first offset of the partition.
    #[error(
        "the committed offset of group {group} for {topic}/{partition} is {offset}, but the partition now begins at {low}: \
         records were deleted before they were read; reset the group's offsets (kafka-consumer-groups --reset-offsets) to \
         go on without them"
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
        /// First offset that exists.
        low: i64,
    },
    /// The broker has no record at the position of the consumer.
    #[error(
        "the position of group {group} in {topic} no longer exists: records were deleted before they were read; reset the \
         group's offsets (kafka-consumer-groups --reset-offsets) to go on without them"
    )]
    PositionGone {
        /// Consumer group.
        group: String,
        /// Topic.
        topic: String,
    },
    /// The broker accepts nothing more from this client. Another client has its name, or the broker ended a transaction
    /// that took too long.
    #[error(
        "kafka fenced off {0}: another client has its name, or its transaction was open for longer than \
         kafka.transaction_timeout"
    )]
    FencedOff(String),
    /// Another living client has the name of a client that was fenced off.
    #[error(
        "kafka fenced off {member}: the group has another member of that name, client {client_id} on {host}. If two \
         processes of one stage run with the same `instance`, give each its own (MILLRACE__INSTANCE)"
    )]
    NameTaken {
        /// The name, which is a group instance ID.
        member: String,
        /// Client ID of the other member.
        client_id: String,
        /// Its host, as the broker sees it.
        host: String,
    },
    /// The consumer has no group metadata.
    #[error("{0} has no consumer group metadata, so a transaction cannot commit its offsets")]
    NoGroupMetadata(String),
    /// The operating system returned an error.
    #[error("{action}: {source}")]
    System {
        /// What failed.
        action: &'static str,
        /// The operating system's error.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether a new client may succeed where this one failed, perhaps after a time.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Call { source, .. } | Self::GivenUp { source, .. } => !is_misconfigured(source),
            Self::Unreachable { .. }
            | Self::FencedOff(_)
            | Self::System { .. }
            | Self::NoGroupMetadata(_) => true,
            Self::Stopped
            | Self::MissingTopic(_)
            | Self::WrongTopic { .. }
            | Self::RecordsGone { .. }
            | Self::PositionGone { .. }
            | Self::NameTaken { .. } => false,
        }
    }

    /// The error of a Kafka call by `client`; a client that was fenced off gets its own variant.
    pub(crate) fn call(action: &'static str, client: &str, source: KafkaError) -> Self {
        let is_fenced_off = matches!(
            source.rdkafka_error_code(),
            Some(
                // Hides the error that came first, which is nearly always one of the others.
                RDKafkaErrorCode::Fatal
                    | RDKafkaErrorCode::Fenced
                    | RDKafkaErrorCode::FencedInstanceId
                    | RDKafkaErrorCode::ProducerFenced
                    | RDKafkaErrorCode::InvalidProducerEpoch
            )
        );
        if is_fenced_off { Self::FencedOff(client.to_owned()) } else { Self::Call { action, source } }
    }
}

impl From<Error> for runtime::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::WrongTopic { .. } => Self::WrongTopic(error.to_string()),
            error if error.is_transient() => Self::Unavailable(Box::new(error)),
            error => Self::Client(Box::new(error)),
        }
    }
}

/// The broker refuses what the configuration asks for.
fn is_misconfigured(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let is_refused = |code| {
        matches!(
            code,
            Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::UnsupportedSASLMechanism
                | Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
                | Code::InvalidTransactionTimeout
                | Code::UnsupportedVersion
                | Code::UnsupportedFeature
        )
    };
    matches!(error, KafkaError::ClientConfig(..)) || error.rdkafka_error_code().is_some_and(is_refused)
}
