//! Errors of Kafka calls. Each message is one line that says what failed and what to do.
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use runtime::config::Settings;

/// Why a client of Kafka cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A Kafka call failed with a permanent error.
    #[error("kafka: {action} failed: {source}{}", advice(source))]
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
    /// A broker does not accept the client, or the client does not accept the broker.
    #[error("kafka at {brokers} refuses the connection: {cause}")]
    Refused {
        /// The configured addresses.
        brokers: String,
        /// Why, and what to do.
        cause: String,
    },
    /// An ACL is missing.
    #[error(
        "kafka does not allow {user} to use {what}: add the ACLs that `millrace topics acls` prints for this process"
    )]
    Denied {
        /// Who the client is.
        user: String,
        /// A topic, a group or a transactional ID.
        what: String,
    },
    /// librdkafka does not accept an option.
    #[error("kafka configuration: {0}; check kafka.options, kafka.ssl and kafka.sasl")]
    Configuration(String),
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
            | Self::Refused { .. }
            | Self::FencedOff(_)
            | Self::System { .. }
            | Self::NoGroupMetadata(_) => true,
            Self::Stopped
            | Self::Denied { .. }
            | Self::Configuration(_)
            | Self::MissingTopic(_)
            | Self::WrongTopic { .. }
            | Self::RecordsGone { .. }
            | Self::PositionGone { .. }
            | Self::NameTaken { .. } => false,
        }
    }

    pub(crate) fn refused(settings: &Settings, cause: String) -> Self {
        Self::Refused { brokers: settings.kafka.brokers.clone(), cause }
    }

    /// The client may not use a topic, a group or a transactional ID.
    pub(crate) fn denied(settings: &Settings, what: String) -> Self {
        let sasl = &settings.kafka.sasl.username;
        let user = match settings.kafka.security_protocol {
            protocol if protocol.has_sasl() => format!("user {sasl}"),
            protocol if protocol.has_tls() => "the user of this certificate".to_owned(),
            _ => "a client without a user".to_owned(),
        };
        Self::Denied { user, what }
    }

    /// Whether an ACL is missing, so that retrying does not help.
    pub(crate) fn is_denied(&self) -> bool {
        match self {
            Self::Call { source, .. } => lacks_acl(source),
            other => matches!(other, Self::Denied { .. }),
        }
    }

    /// librdkafka's error when it reads a configuration.
    pub(crate) fn from_configuration(error: KafkaError) -> Self {
        Self::Configuration(match error {
            // Without the value, which may be a secret.
            KafkaError::ClientConfig(_, problem, name, _) => format!("{name}: {problem}"),
            KafkaError::ClientCreation(problem) => problem,
            error => error.to_string(),
        })
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
        match source {
            _ if is_fenced_off => Self::FencedOff(client.to_owned()),
            KafkaError::ClientConfig(..) => Self::from_configuration(source),
            source => Self::Call { action, source },
        }
    }
}

impl From<Error> for runtime::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::WrongTopic { .. } | Error::Configuration(_) => Self::WrongTopic(error.to_string()),
            error if error.is_transient() => Self::Unavailable(Box::new(error)),
            error => Self::Client(Box::new(error)),
        }
    }
}

/// What to do about an error, where its text does not say it.
pub fn advice(error: &KafkaError) -> &'static str {
    if lacks_acl(error) {
        "; an ACL is missing: add those that `millrace topics acls` prints for this process"
    } else {
        ""
    }
}

/// Whether the broker does not allow it to this user.
pub(crate) fn lacks_acl(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code(error),
        Some(
            Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
        )
    )
}

fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    }
}

/// The broker refuses what the configuration asks for.
fn is_misconfigured(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let is_refused = matches!(
        code(error),
        Some(
            Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::UnsupportedSASLMechanism
                | Code::InvalidTransactionTimeout
                | Code::UnsupportedVersion
                | Code::UnsupportedFeature
        )
    );
    is_refused || lacks_acl(error)
}
