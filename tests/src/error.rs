//! Errors of the tests themselves: a run without a result. A wrong number is a result, not an error.

use rdkafka::error::KafkaError;

/// Something that the tests need does not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A server, a process or a query.
    #[error(transparent)]
    Stack(#[from] devstack::Error),
    /// Not every event was delivered, so the truth is unknown.
    #[error("events were not delivered: {0}")]
    Produce(#[from] simulator::produce::Error),
    /// Kafka did not respond when the result was read.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// A response that is not what was requested.
    #[error("{what} is not {wanted}")]
    Answer {
        /// The response.
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
