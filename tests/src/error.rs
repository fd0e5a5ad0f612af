//! Why a run cannot be judged. What it found wrong is no error but its result.

use rdkafka::error::KafkaError;

/// Something the tests themselves need does not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A server, a process or a question to ClickHouse.
    #[error(transparent)]
    Stack(#[from] devstack::Error),
    /// What the clients sent did not all arrive, so their truth is none.
    #[error("the truth is lost: {0}")]
    Produce(#[from] simulator::produce::Error),
    /// Kafka does not answer when asked about the result.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// ClickHouse or Kafka answer something that is not what was asked for.
    #[error("{what} is not {wanted}")]
    Answer {
        /// What was read.
        what: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A file, a socket or a thread.
    #[error("{doing}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A thread of the tests panicked; its message stands above.
    #[error("the thread {0} panicked")]
    Panicked(&'static str),
}
