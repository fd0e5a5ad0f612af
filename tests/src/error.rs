//! Errors that end a test run without a result. A wrong number is a result.

use rdkafka::error::KafkaError;

/// Why a test run ended without a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A server, a process or a query.
    #[error(transparent)]
    Stack(#[from] devstack::Error),
    /// Some events were not delivered, so the expected numbers are unknown.
    #[error("events were not delivered: {0}")]
    Produce(#[from] simulator::produce::Error),
    /// Reading the result from Kafka failed.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// A reply differs from the expected one.
    #[error("{what} is not {wanted}")]
    Answer {
        /// The reply.
        what: String,
        /// What was expected.
        wanted: &'static str,
    },
    /// A file, a socket or a thread.
    #[error("{doing}: {source}")]
    System {
        /// The operation.
        doing: &'static str,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A thread of the tests panicked; its message is in the output above.
    #[error("the thread {0} panicked")]
    Panicked(&'static str),
}
